"""The hub's events, read by the unmodified azure-eventhub over TLS, blocking and asyncio."""

import asyncio
import contextlib
import itertools
import threading
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio
from azure.eventhub import EventData, EventHubConsumerClient, EventHubProducerClient
from azure.eventhub.aio import EventHubConsumerClient as AsyncConsumerClient
from azure.eventhub.aio._eventprocessor.in_memory_checkpoint_store import InMemoryCheckpointStore
from azure.eventhub.exceptions import AuthenticationError, ConnectError, EventHubError
from events_endpoint import PATIENCE_S, EventsEndpoint, events_endpoint

from duco_workbench.local.hub.amqp import connection
from duco_workbench.local.hub.journal import Journal, partition_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

DEVICES = [next(f"m{n}" for n in itertools.count() if partition_of(f"m{n}", 4) == p) for p in range(4)]


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory):
    """Five messages "0" to "4" in partition 0, at least 2 ms apart; nobody else writes there."""
    with events_endpoint(tmp_path_factory.mktemp("hub")) as endpoint:
        for n in range(5):
            endpoint.append(b"%d" % n, device=DEVICES[0])
            threading.Event().wait(0.002)
        yield endpoint


@pytest_asyncio.fixture(loop_scope="module")
async def fresh(tmp_path):
    endpoint = await asyncio.to_thread(EventsEndpoint, tmp_path)
    yield endpoint
    await asyncio.to_thread(endpoint.close)  # while clients still answer


ON_0 = {"partition_id": "0", "starting_position": "-1"}
CLOSING = set()


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def clients_closed(endpoint):
    """The SDK takes up to a second to close a client (its keep-alive sleeps): the next test need not wait for it."""
    yield
    await asyncio.gather(*CLOSING)


class Collector:
    """Takes batches and errors of one client; ``async with`` it while it receives.

    Args:
        gone: leave the block when the client is closed, not while it closes.
    """

    def __init__(self, client, gone=False, **how):
        self.client, self.how, self.gone = client, how, gone
        self.events, self.errors = [], []
        self._changed = asyncio.Event()

    async def __aenter__(self):
        self._task = asyncio.create_task(
            self.client.receive_batch(self._on_batch, on_error=self._on_error, max_wait_time=0.1, **self.how)
        )
        return self

    async def __aexit__(self, *_):
        closing = asyncio.create_task(self._close())
        CLOSING.add(closing)
        if self.gone:
            await closing

    async def _close(self):
        await self.client.close()
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _on_batch(self, context, batch):
        self.events += [(context.partition_id, event) for event in batch]
        await self.on_taken(context, batch)
        self._changed.set()

    async def on_taken(self, context, batch):
        """For subclasses."""

    async def _on_error(self, context, error):
        self.errors.append(error)
        self._changed.set()

    async def until(self, ready):
        async with asyncio.timeout(PATIENCE_S):
            while not ready():
                self._changed.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), 0.1)

    @property
    def bodies(self):
        return [body_of(event) for _, event in self.events]


def body_of(event):
    return b"".join(event.body)


async def collect(client, count, **how):
    """The first ``count`` events."""
    async with Collector(client, **how) as collector:
        await collector.until(lambda: len(collector.events) >= count or collector.errors)
    assert not collector.errors
    return [event for _, event in collector.events]


async def refusal(client, **how):
    """The first error of a consumer that is refused."""
    async with Collector(client, **how) as collector:
        await collector.until(lambda: collector.errors)
    assert not collector.events
    return collector.errors[0]


def readers(endpoint, group="$default"):
    """The receivers of the group that are attached."""
    at = endpoint.server._endpoint.readers._at
    return {reader for place, present in list(at.items()) if place.group == group for reader in list(present)}


# -- what there is


async def test_properties_of_hub_and_partitions(endpoint):
    async with endpoint.client(AsyncConsumerClient) as client:
        assert (await client.get_eventhub_properties())["eventhub_name"] == "duco-hub"
        assert await client.get_partition_ids() == ["0", "1", "2", "3"]
        known, empty = await client.get_partition_properties("0"), await client.get_partition_properties("3")
    last = endpoint.call(endpoint.journal.read(0, 3))[0]
    assert (known["beginning_sequence_number"], known["last_enqueued_sequence_number"]) == (0, 4)
    assert (known["last_enqueued_offset"], known["is_empty"]) == ("4", False)
    assert known["last_enqueued_time_utc"] == moment(last)
    assert (empty["last_enqueued_sequence_number"], empty["is_empty"]) == (-1, True)


async def test_properties_by_the_blocking_client(endpoint):
    with endpoint.client(EventHubConsumerClient) as client:
        assert await asyncio.to_thread(client.get_partition_ids) == ["0", "1", "2", "3"]
        assert (await asyncio.to_thread(client.get_partition_properties, "0"))["last_enqueued_sequence_number"] == 4


def moment(stored):
    """As consumers see the time of a stored message: whole milliseconds."""
    return datetime.fromtimestamp(stored.enqueued // 1000 / 1000, UTC)


async def test_a_message_is_what_iot_hub_makes_of_it(fresh):
    system = {
        "message_id": "wl-1:7:1",
        "correlation_id": "c",
        "user_id": "u",
        "content_type": "application/json",
        "content_encoding": "utf-8",
    }
    properties = {"msgType": "vehicle_can", "tenant": "nörd"}
    (stored,) = fresh.append(b'{"v":1}', device=DEVICES[2], system=system, properties=properties)
    (event,) = await collect(fresh.client(AsyncConsumerClient), 1, starting_position="-1")
    milliseconds = stored.enqueued // 1000
    assert event.system_properties == {
        b"x-opt-sequence-number": 0,
        b"x-opt-offset": b"0",
        b"x-opt-enqueued-time": milliseconds,
        b"iothub-connection-device-id": DEVICES[2].encode(),
        b"iothub-connection-auth-method": (
            b'{"scope":"device","type":"sas","issuer":"iothub","acceptingIpFilterRule":null}'
        ),
        b"iothub-connection-auth-generation-id": b"638",
        b"iothub-enqueuedtime": milliseconds,
        b"iothub-message-source": b"Telemetry",
        b"message-id": b"wl-1:7:1",
        b"correlation-id": b"c",
        b"user-id": b"u",
        b"content-type": b"application/json",
        b"content-encoding": b"utf-8",
    }
    assert event.properties == {b"msgType": b"vehicle_can", b"tenant": "nörd".encode()}
    assert (event.body_as_str(), event.offset, event.sequence_number) == ('{"v":1}', "0", 0)
    assert event.enqueued_time == moment(stored)


async def test_messages_of_every_size(fresh):
    sizes = (1, 0, 499, 65_400, 65_536, 131_072, 256 * 1024)
    bodies = [bytes(n % 251 for n in range(size)) for size in sizes]
    fresh.fill(bodies, device=DEVICES[1])
    events = await collect(fresh.client(AsyncConsumerClient), len(bodies), starting_position="-1")
    assert [body_of(event) for event in events] == bodies


# -- where a consumer starts

POSITIONS = [
    ("the start", "-1", False, "01234"),
    ("the start, inclusive", "-1", True, "01234"),
    ("an offset", "1", False, "234"),
    ("an offset, inclusive", "1", True, "1234"),
    ("a sequence number", 3, False, "4"),
    ("a sequence number, inclusive", 3, True, "34"),
    ("before the first sequence number", -1, False, "01234"),
]


async def test_every_group_reads_from_where_it_wants(endpoint):
    """All at once, each position in a consumer group of its own, groups reading the same messages."""

    async def read(group, position, inclusive, expected):
        client = endpoint.client(AsyncConsumerClient, group)
        how = {"starting_position": position, "starting_position_inclusive": inclusive, "partition_id": "0"}
        events = await collect(client, len(expected), **how)
        return b"".join(map(body_of, events)).decode()

    stored = endpoint.call(endpoint.journal.read(0, -1))
    times = [
        ("a time", moment(stored[1]), False, "234"),
        ("a time, inclusive", moment(stored[1]), True, "1234"),
        ("a time before all", datetime.now(UTC) - timedelta(days=2), True, "01234"),
    ]
    positions = POSITIONS + times
    found = await asyncio.gather(*[read(*position) for position in positions])
    assert dict(zip([each[0] for each in positions], found, strict=True)) == {each[0]: each[3] for each in positions}


async def test_start_at_the_end_and_hear_what_comes(endpoint):
    async with Collector(endpoint.client(AsyncConsumerClient, "end"), starting_position="@latest") as collector:
        await collector.until(lambda: len(readers(endpoint, "end")) == 4)
        for n, device in enumerate(DEVICES[1:3]):
            await asyncio.to_thread(endpoint.append, b"new %d" % n, device=device)
            await collector.until(lambda n=n: len(collector.events) > n)
    assert collector.bodies == [b"new 0", b"new 1"]
    assert [partition for partition, _ in collector.events] == ["1", "2"]


async def test_positions_that_retention_removed_mean_the_first_that_is_kept(tmp_path):
    with events_endpoint(tmp_path, max_age_s=3600) as endpoint:
        now = endpoint.journal._now
        endpoint.journal._now = lambda: now() - 7200 * 1_000_000
        endpoint.fill([b"old"] * 10, device=DEVICES[0])
        endpoint.journal._now = now
        endpoint.fill([b"kept"] * 2, device=DEVICES[0])
        endpoint.call(endpoint.journal.trim())
        reads = [
            collect(endpoint.client(AsyncConsumerClient), 2, starting_position=position, partition_id="0")
            for position in ("3", 3, "-1", datetime.now(UTC) - timedelta(hours=3))
        ]
        for events in await asyncio.gather(*reads):
            assert [event.sequence_number for event in events] == [10, 11]
        async with endpoint.client(AsyncConsumerClient) as client:
            known = await client.get_partition_properties("0")
        assert (known["beginning_sequence_number"], known["last_enqueued_sequence_number"]) == (10, 11)


# -- who reads


async def test_the_blocking_client_reads_too(endpoint):
    client, seen, done = endpoint.client(EventHubConsumerClient), [], threading.Event()

    def on_event(context, event):
        seen.append(body_of(event))
        if len(seen) == 5:
            done.set()

    receiving = asyncio.create_task(asyncio.to_thread(client.receive, on_event, **ON_0))
    try:
        assert await asyncio.to_thread(done.wait, PATIENCE_S)
    finally:
        await asyncio.to_thread(client.close)
        await receiving
    assert seen == [b"0", b"1", b"2", b"3", b"4"]


class Checkpointer(Collector):
    async def on_taken(self, context, batch):
        if batch:
            await context.update_checkpoint(batch[-1])

    @property
    def partitions(self):
        return {partition for partition, _ in self.events}


async def test_consumers_share_the_partitions_by_checkpoint_store(fresh):
    """Two balance the load; when one goes, the other goes on from its checkpoints: nothing twice, nothing missing."""
    store = InMemoryCheckpointStore()
    sharing = {
        "checkpoint_store": store,
        "load_balancing_interval": 0.3,
        "partition_ownership_expiration_interval": 10,  # none lapses because the machine is slow
    }

    def another():
        return Checkpointer(fresh.client(AsyncConsumerClient, **sharing), gone=True, starting_position="-1")

    async def append(text):
        for device in DEVICES:
            await asyncio.to_thread(fresh.append, text, device=device)

    def owners():
        owned = store._checkpoint_store_impl.list_ownership(fresh.address, "duco-hub", "$Default")
        return [sum(each["owner_id"] == owner for each in owned) for owner in {each["owner_id"] for each in owned}]

    async with another() as first:
        await append(b"alone")
        await first.until(lambda: len(first.events) == 4)
        firsts = readers(fresh)
        async with another() as second:
            await second.until(lambda: owners() == [2, 2])
            await second.until(lambda: (len(readers(fresh) & firsts), len(readers(fresh) - firsts)) == (2, 2))
            before = len(first.events)
            await append(b"shared")
            await second.until(lambda: second.bodies.count(b"shared") + first.bodies.count(b"shared") >= 4)
            assert len(second.partitions) == 2
            assert len(first.events) == before + 2
        await append(b"alone again")
        await first.until(lambda: first.bodies.count(b"alone again") >= 4)
    assert sorted(first.bodies + second.bodies) == sorted([b"alone", b"shared", b"alone again"] * 4)


async def test_an_owner_steals_the_partition(endpoint):
    """One of a higher level, of the same, or of any where there was none."""

    async def steal(old, new):
        group = f"levels {old} {new}"
        async with Collector(endpoint.client(AsyncConsumerClient, group), owner_level=old, **ON_0) as loser:
            await loser.until(lambda: len(loser.events) == 5)
            async with Collector(endpoint.client(AsyncConsumerClient, group), owner_level=new, **ON_0) as winner:
                await loser.until(lambda: loser.errors)
                await winner.until(lambda: len(winner.events) == 5)
        assert "amqp:link:stolen" in str(loser.errors[0])
        assert f"higher epoch of '{new}'" in str(loser.errors[0])
        assert not winner.errors

    await asyncio.gather(steal(1, 2), steal(1, 1), steal(None, 0))


async def test_who_comes_below_an_owner_is_refused(endpoint):
    async with Collector(endpoint.client(AsyncConsumerClient, "low"), owner_level=5, **ON_0) as owner:
        await owner.until(lambda: len(owner.events) == 5)
        below = [
            refusal(endpoint.client(AsyncConsumerClient, "low", retry_total=0), owner_level=level, **ON_0)
            for level in (4, None)
        ]
        for error in await asyncio.gather(*below):
            assert "amqp:link:stolen" in str(error)
        assert not owner.errors


async def test_the_end_of_the_partition_is_tracked(endpoint):
    client = endpoint.client(AsyncConsumerClient, "tracking")
    stored = endpoint.call(endpoint.journal.read(0, 3))[0]
    async with Collector(client, track_last_enqueued_event_properties=True, **ON_0) as collector:
        await collector.until(lambda: len(collector.events) == 5)
    said = [event._last_enqueued_event_properties or last_of(event) for _, event in collector.events]
    assert {(each["sequence_number"], each["offset"], each["enqueued_time"]) for each in said} == {
        (4, "4", moment(stored))
    }


def last_of(event):
    from azure.eventhub._utils import get_last_enqueued_event_properties

    return get_last_enqueued_event_properties(event)


# -- who may not


async def test_a_wrong_key_is_refused(endpoint):
    wrong = endpoint.connection_string.replace(endpoint.identity.key, "d3Jvbmc=")
    async with endpoint.client(AsyncConsumerClient, conn_str=wrong, retry_total=0) as client:
        with pytest.raises(AuthenticationError, match="another key made it"):
            await client.get_partition_ids()


async def test_a_wrong_ca_is_refused_by_the_client(endpoint, tmp_path):
    from duco_workbench.local.hub.identity import prepare

    other = prepare(tmp_path, endpoint.address)
    client = AsyncConsumerClient.from_connection_string(
        endpoint.connection_string, "$Default", connection_verify=str(other.ca), retry_total=0
    )
    async with client:
        with pytest.raises(ConnectError):
            await client.get_partition_ids()


async def test_another_event_hub_is_not_found(endpoint):
    elsewhere = endpoint.connection_string.replace("EntityPath=duco-hub", "EntityPath=elsewhere")
    async with endpoint.client(AsyncConsumerClient, conn_str=elsewhere, retry_total=0) as client:
        with pytest.raises(EventHubError, match="could not be found"):
            await client.get_partition_ids()


async def test_nobody_sends_here(endpoint):
    producer = EventHubProducerClient.from_connection_string(
        endpoint.connection_string, connection_verify=str(endpoint.identity.ca), retry_total=0
    )
    with producer, pytest.raises(EventHubError, match="'Send' claim"):
        await asyncio.to_thread(producer.send_batch, [EventData(b"x")])
    assert endpoint.journal.bounds(0) == (0, 4)


async def test_a_token_that_expires_ends_the_link_and_a_new_one_goes_on(fresh, monkeypatch):
    monkeypatch.setattr(connection, "BEAT_S", 0.05)
    client = fresh.client(AsyncConsumerClient, retry_total=30, retry_backoff_factor=0.01, retry_backoff_max=0.1)
    async with Collector(client, starting_position="-1", partition_id="0") as collector:
        await asyncio.to_thread(fresh.append, b"before", device=DEVICES[0])
        await collector.until(lambda: collector.events)
        fresh.refusal = "it has expired"
        await collector.until(lambda: not readers(fresh))
        await asyncio.to_thread(fresh.append, b"after", device=DEVICES[0])
        fresh.refusal = None
        await collector.until(lambda: len(collector.events) == 2)
    assert collector.bodies == [b"before", b"after"]


# -- over time


async def test_consumers_go_on_after_the_hub_was_away(fresh):
    patient = {"retry_total": 30, "retry_backoff_factor": 0.05, "retry_backoff_max": 0.5}
    async with Collector(fresh.client(AsyncConsumerClient, **patient), starting_position="-1") as collector:
        for device in DEVICES:
            await asyncio.to_thread(fresh.append, b"before", device=device)
        await collector.until(lambda: len(collector.events) == 4)
        await asyncio.to_thread(fresh.stop)
        await asyncio.sleep(0.3)
        await asyncio.to_thread(fresh.start)
        for device in DEVICES:
            await asyncio.to_thread(fresh.append, b"after", device=device)
        await collector.until(lambda: len(collector.events) >= 8)
    assert sorted(collector.bodies) == [b"after"] * 4 + [b"before"] * 4


async def test_an_idle_consumer_stays_connected(fresh, monkeypatch):
    """The hub hangs up on who is silent for four seconds here; the SDK has nothing to say but its heartbeats."""
    monkeypatch.setattr(connection, "IDLE_S", 0.4)
    monkeypatch.setattr(connection, "SILENCE_S", 4.0)
    monkeypatch.setattr(connection, "BEAT_S", 0.4)
    async with Collector(fresh.client(AsyncConsumerClient), starting_position="-1", partition_id="0") as collector:
        await collector.until(lambda: len(readers(fresh)) == 1)
        connections = set(fresh.server._connections)
        await asyncio.sleep(5.5)
        await asyncio.to_thread(fresh.append, b"at last", device=DEVICES[0])
        await collector.until(lambda: collector.events)
        assert set(fresh.server._connections) == connections
    assert not collector.errors


async def test_a_backlog_arrives_whole_and_in_order_while_more_is_written(fresh):
    """With little prefetch, so that credit runs out again and again."""
    fresh.fill([b"%d" % n for n in range(700)], device=DEVICES[3])
    client = fresh.client(AsyncConsumerClient)
    async with Collector(client, starting_position="-1", partition_id="3", prefetch=50) as collector:
        await asyncio.to_thread(fresh.fill, [b"%d" % n for n in range(700, 1000)], device=DEVICES[3])
        await collector.until(lambda: len(collector.events) >= 1000)
    assert collector.bodies == [b"%d" % n for n in range(1000)]


async def test_a_journal_that_fails_ends_the_link_not_the_hub(fresh, monkeypatch):
    async def fails(*_):
        raise OSError("disk")

    fresh.append(b"x", device=DEVICES[0])
    read = Journal.read
    monkeypatch.setattr(Journal, "read", fails)
    client = fresh.client(AsyncConsumerClient, retry_total=30, retry_backoff_factor=0.05, retry_backoff_max=0.2)
    async with Collector(client, **ON_0) as collector:
        await collector.until(lambda: collector.errors or fresh.server.connections)
        await asyncio.sleep(0.3)
        monkeypatch.setattr(Journal, "read", read)
        await collector.until(lambda: collector.events)
    assert collector.bodies == [b"x"]

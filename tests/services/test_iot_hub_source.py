"""The hub as a source: the SDK against a real local hub, checkpoints on a real Valkey."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from azure.core.exceptions import ServiceRequestError
from azure.eventhub.aio import CheckpointStore, EventHubConsumerClient, PartitionContext
from azure.eventhub.aio._consumer_async import EventHubConsumer
from azure.iot.device import IoTHubDeviceClient
from azure.iot.device import Message as DeviceMessage
from hub_kit import HubThread, free_address, running_hub
from records import T, encoded

from duco_workbench import hops, pulse, testing, wire
from duco_workbench.errors import ConfigError, ServiceError
from duco_workbench.flows.ingestor import IngestorSinks, ingestor
from duco_workbench.flows.realtime import realtime
from duco_workbench.flows.validate import validator
from duco_workbench.health.unread import unread
from duco_workbench.local import supervision
from duco_workbench.local.hub.identity import prepare
from duco_workbench.model import Record
from duco_workbench.parsing.logic import Knowledge, ManifestLogic
from duco_workbench.runtime import Stop, run_flow
from duco_workbench.sinks import handover
from duco_workbench.sinks.handover import HandOver, beside
from duco_workbench.sinks.live import LiveSink, stream_key
from duco_workbench.sources import hub_session
from duco_workbench.sources.checkpoints import RedisCheckpoints
from duco_workbench.sources.hub_session import Part
from duco_workbench.sources.iot_hub import IoTHubSource
from duco_workbench.sources.redis_streams import RedisSource
from duco_workbench.topics import RAW

LONG_S = 60  # only ends what hangs
ROOT = Path(__file__).parents[2]
MACHINES = tuple(f"m{n}" for n in range(8))  # in every one of the hub's partitions


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubThread]:
    with running_hub(tmp_path / "hub", free_address(15)) as running:
        yield running


def body(chassis_id: str, seq: int, name: str = "key_on", **changes: Any) -> bytes:
    return encoded("vehicle_event", wire.EventBody(name), seq=seq, chassis_id=chassis_id, **changes)


def send(hub: HubThread, first: int, last: int, machines: Sequence[str] = MACHINES, **changes: Any) -> None:
    """Messages ``first`` .. ``last`` of each machine into the hub's journal, as its devices' side does it."""

    async def append() -> None:
        journal = hub.hub.journal
        for seq in range(first, last + 1):
            bodies = [(m, body(m, seq, **changes)) for m in machines]
            await asyncio.gather(*(journal.append(m, "1", {}, {"tenant": "demo"}, one) for m, one in bodies))

    hub.call(append)


def source_of(hub: HubThread, checkpoints: str | CheckpointStore, **changes: str) -> IoTHubSource:
    """``checkpoints``: the URL of the log that has them beside it, or the store."""
    known = {"connection_string": hub.identity.hub_events, "group": "$Default", "tenant": "none"}
    settings = {**known, "ca": str(hub.identity.ca), **changes}
    store = RedisCheckpoints(checkpoints) if isinstance(checkpoints, str) else checkpoints
    return IoTHubSource(checkpoints=store, **settings)


class Reading:
    """A source that is read: what was committed, in order, and what was delivered but not committed."""

    def __init__(self, source: IoTHubSource) -> None:
        self.source = source
        self.records: list[Record] = []

    async def until(self, count: int, commit: bool = True) -> list[Record]:
        """Read until ``count`` records are there."""
        async with asyncio.timeout(LONG_S):
            await self.source.open()
            while len(self.records) < count:
                async for delivery in self.source.deliveries():
                    self.records += delivery.items
                    if delivery.items and commit:
                        await self.source.commit(delivery)
                    if len(self.records) >= count:
                        break
        return self.records

    async def idle(self, seconds: float) -> None:
        """Read on, and find nothing."""
        deadline = time.monotonic() + seconds
        async for delivery in self.source.deliveries():
            assert not delivery.items
            if time.monotonic() > deadline:
                break


def sequences(records: Sequence[Record]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for record in records:
        found.setdefault(record.chassis_id, []).append(int(record.message_id.rpartition(":")[2]))
    return found


def newest_of_each(records: Sequence[Record]) -> list[int]:
    """By partition, when the hub took its last message."""
    return [max(r.ts_enqueued for r in records if r.hub_partition == p) for p in range(4)]


def all_once(last: int, machines: Sequence[str] = MACHINES) -> dict[str, list[int]]:
    return {machine: list(range(1, last + 1)) for machine in machines}


async def test_everything_comes_once_and_in_order_per_machine(hub: HubThread, fresh_valkey: str) -> None:
    send(hub, 1, 30)
    reading = Reading(source_of(hub, fresh_valkey))
    assert sequences(await reading.until(240)) == all_once(30)
    send(hub, 31, 40)
    assert sequences(await reading.until(320)) == all_once(40)
    assert {r.tenant for r in reading.records} == {"demo"}
    facts = reading.source.facts()
    assert (facts["partitions"], facts["behind"], facts["behind_s"]) == (["0", "1", "2", "3"], 0, 0.0)
    assert facts["hub_partitions"] == 4
    ends = [(hub.hub.journal.bounds(p)[1], newest) for p, newest in enumerate(newest_of_each(reading.records))]
    assert [facts["committed"][str(p)] for p in range(4)] == ends
    assert facts["messages_s"] > 0
    await reading.source.close()


async def test_how_far_it_is_behind_is_unknown_until_the_hub_has_told_it(
    hub: HubThread, fresh_valkey: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an empty partition the first word comes with a look at the hub."""
    monkeypatch.setattr(hub_session, "WATCH_S", 2.0)
    source = source_of(hub, fresh_valkey)
    assert source.facts()["behind"] is None
    await source.open()
    async with asyncio.timeout(LONG_S):
        while len(source.facts()["partitions"]) < 4:
            assert unread([source.facts()]) is None
            await asyncio.sleep(0.05)
        parts = source._parts.values()
        while (behind := source.facts()["behind"]) is None:
            await asyncio.sleep(0.05)
    assert (behind, [part.asked for part in parts]) == (0, [True] * 4)
    source.trouble = "the hub is away"
    assert source.facts()["behind"] is None
    await source.close()


async def test_what_nobody_takes_does_not_pile_up(
    hub: HubThread, fresh_valkey: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub has three times as much as an ingestor lets wait, in batches that may be small."""
    monkeypatch.setattr(hub_session, "BATCHES", 10_000)
    each = 100_000
    last = 3 * hub_session.BYTES // each // len(MACHINES)
    send(hub, 1, last, name="x" * each)
    source = source_of(hub, fresh_valkey)
    await source.open()
    assert source._session
    waiting = source._session._batches
    async with asyncio.timeout(LONG_S):
        while sum(batch.weight for batch in waiting) < hub_session.BYTES:
            await asyncio.sleep(0.1)
    await asyncio.sleep(2)
    assert sum(batch.weight for batch in list(waiting)[:-1]) < hub_session.BYTES
    reading = Reading(source)
    assert sequences(await reading.until(last * len(MACHINES))) == all_once(last)
    await source.close()


async def test_what_waits_is_given_up_with_a_lost_link(
    hub: HubThread, fresh_valkey: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody takes anything while every link is stolen: what came over them is given up, and comes again."""
    monkeypatch.setattr(hub_session, "BATCHES", 1)
    send(hub, 1, 40)  # less in a partition than the SDK lets wait before it looks no more at its link
    source = source_of(hub, fresh_valkey)
    async with asyncio.timeout(LONG_S):
        await source.open()
        await all_wait(source)
        before = set(source._parts.values())
        await steal_links(hub)
        await all_wait(source, before)
    delivering = [task for task in asyncio.all_tasks() if "_callback_task" in repr(task.get_coro())]
    assert len(delivering) == 4  # one of each link there is, with what it has in hand
    reading = Reading(source)
    assert sequences(await reading.until(40 * len(MACHINES))) == all_once(40)
    await source.close()


async def all_wait(source: IoTHubSource, before: Collection[Part] = ()) -> None:
    """Until four partitions, each claimed anew, have a batch that waits, be it to be taken or for room."""
    while [p.expected > 0 and p not in before for p in source._parts.values()] != [True] * 4:
        await asyncio.sleep(0.05)


async def steal_links(hub: HubThread) -> None:
    """By a reader of a higher level, for a moment: to the SDK a link that is lost for good, without trying again."""
    thief = EventHubConsumerClient.from_connection_string(
        hub.identity.hub_events, "$Default", connection_verify=str(hub.identity.ca)
    )
    robbed: set[str] = set()

    async def on_batch(context: PartitionContext, events: object) -> None:
        robbed.add(context.partition_id)

    stealing = asyncio.create_task(thief.receive_batch(on_batch, owner_level=7, starting_position="-1"))
    while len(robbed) < 4:
        await asyncio.sleep(0.05)
    stealing.cancel()
    await asyncio.wait([stealing])
    await thief.close()


async def test_what_was_written_but_not_committed_comes_again_and_nothing_else(
    hub: HubThread, fresh_valkey: str
) -> None:
    send(hub, 1, 10)
    first = Reading(source_of(hub, fresh_valkey))
    await first.until(80)
    send(hub, 11, 20)
    await first.until(120, commit=False)
    await first.source.close()  # killed between the write and the commit, but for the ownership given up
    second = Reading(source_of(hub, fresh_valkey))
    again = sequences(await second.until(80))
    assert again == {machine: list(range(11, 21)) for machine in MACHINES}
    await second.source.close()


async def test_a_devices_message_as_a_record(hub: HubThread, fresh_valkey: str) -> None:
    texts = hub.add("tagged", {"tenant": "acme"}), hub.add("plain")
    sent = body("tagged", 7, ts=T + 5), b'{"v": 1'
    for text, content in zip(texts, sent, strict=True):
        await asyncio.to_thread(tell, hub, text, content)
    reading = Reading(source_of(hub, fresh_valkey))
    before = time.time_ns() // 1000
    found = {record.chassis_id: record for record in await reading.until(2)}
    await reading.source.close()
    tagged, plain = found["tagged"], found["plain"]
    assert (tagged.tenant, tagged.msg_type, tagged.message_id, tagged.ts, tagged.v, tagged.body) == (
        *("acme", "vehicle_event", "tagged:1:7", T + 5, 1),
        sent[0],
    )
    stored = {message.device_id: message for message in hub.messages()}
    assert (plain.tenant, plain.msg_type, plain.ts, plain.body) == ("none", "unknown", plain.ts_enqueued, sent[1])
    assert plain.message_id == f"{stored['plain'].partition}:{stored['plain'].sequence}"
    for record in found.values():
        origin = stored[record.chassis_id]
        assert (record.hub_partition, record.hub_sequence) == (origin.partition, origin.sequence)
        assert record.ts_enqueued == origin.enqueued // 1000 * 1000
        assert before - LONG_S * 1_000_000 < record.ts_ingested < before + LONG_S * 1_000_000


def tell(hub: HubThread, connection_string: str, content: bytes) -> None:
    client = IoTHubDeviceClient.create_from_connection_string(connection_string, server_verification_cert=hub.ca_text)
    message = DeviceMessage(content)
    message.content_type, message.content_encoding = "application/json", "utf-8"
    client.send_message(message)
    client.shutdown()


async def test_a_body_that_cannot_be_read_is_a_record_all_the_same(hub: HubThread, fresh_valkey: str) -> None:
    deep = b'{"msgType":"x","chassisId":"m1","messageId":"i","ts":1,"more":' + b"[" * 100_000
    bodies = [b"", b"\xff\xfe", b"[]", deep, b"{}", body("m1", 1).replace(b"vehicle_event", b"v" * 100_000)]
    for content in bodies:
        hub.call(hub.hub.journal.append, "m1", "1", {}, {"tenant": "$twin.tags.tenant"}, content)
    reading = Reading(source_of(hub, fresh_valkey))
    records = await reading.until(len(bodies))
    await reading.source.close()
    assert [record.body for record in records] == bodies
    assert {(r.tenant, r.chassis_id, r.msg_type) for r in records} == {("none", "m1", "unknown")}
    for record in records[:-1]:
        assert (record.message_id, record.ts) == (f"{record.hub_partition}:{record.hub_sequence}", record.ts_enqueued)
    assert records[-1].message_id == "m1:1:1"


async def test_it_reads_on_when_the_hub_is_back(
    hub: HubThread, fresh_valkey: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(hub_session, "WATCH_S", 0.3)
    send(hub, 1, 10)
    reading = Reading(source_of(hub, fresh_valkey))
    await reading.until(80)
    await asyncio.to_thread(hub.stop)
    async with asyncio.timeout(LONG_S):
        while not reading.source.facts()["trouble"]:
            await reading.idle(0.5)
    await reading.idle(3)
    assert "does not answer" in reading.source.facts()["trouble"]
    await asyncio.to_thread(hub.start)
    send(hub, 11, 20)
    assert sequences(await reading.until(160)) == all_once(20)
    assert reading.source.facts()["trouble"] is None
    said = [r.getMessage() for r in caplog.records if r.name.startswith("duco_workbench.sources") and r.levelno >= 30]
    assert len(said) == 1, said
    await reading.source.close()


async def test_a_hub_restarted_in_a_moment_is_hardly_noticed(hub: HubThread, fresh_valkey: str) -> None:
    reading = Reading(source_of(hub, fresh_valkey))
    for step in range(3):
        send(hub, 20 * step + 1, 20 * step + 20)
        await reading.until(160 * step + 60)  # in the middle of it
        await asyncio.to_thread(hub.stop)
        await asyncio.to_thread(hub.start)
    assert sequences(await reading.until(480)) == all_once(60)
    await reading.source.close()


async def test_two_ingestors_share_and_take_over(hub: HubThread, fresh_valkey: str) -> None:
    one, two, stops = Collect(), Collect(), (Stop(), Stop())
    sources = source_of(hub, fresh_valkey), source_of(hub, fresh_valkey)
    running = [asyncio.create_task(ingest(*parts)) for parts in zip(sources, (one, two), stops, strict=True)]
    async with asyncio.timeout(LONG_S):
        while [len(source.facts()["partitions"]) for source in sources] != [2, 2]:
            await asyncio.sleep(0.05)
        send(hub, 1, 20)
        while len(one.items) + len(two.items) < 160:
            await asyncio.sleep(0.05)
        assert one.items
        assert two.items
        assert not {r.hub_partition for r in one.items[-10:]} & {r.hub_partition for r in two.items[-10:]}
        stops[0].set()
        await running[0]
        send(hub, 21, 40)
        while len({r.message_id for r in [*one.items, *two.items]}) < 320:
            await asyncio.sleep(0.05)
    stops[1].set()
    await running[1]
    for items in (one.items, two.items):
        assert all(numbers == sorted(set(numbers)) for numbers in sequences(items).values())
    both = sequences([*one.items, *two.items])
    assert {machine: sorted(set(numbers)) for machine, numbers in both.items()} == all_once(40)


class Collect:
    """A sink that keeps what it was given."""

    def __init__(self) -> None:
        self.items: list[Record] = []

    async def open(self) -> None: ...

    async def write(self, batch: Sequence[Record]) -> None:
        self.items += batch

    async def close(self) -> None: ...


async def ingest(source: IoTHubSource, raw: Collect, stop: Stop) -> None:
    await run_flow(source, lambda records: ingestor(records, IngestorSinks(raw, Collect())), (raw,), stop)


async def test_a_clean_stop_gives_the_partitions_up_and_a_killed_ones_lapse(hub: HubThread, fresh_valkey: str) -> None:
    send(hub, 1, 5)
    reading = Reading(source_of(hub, fresh_valkey))
    await reading.until(40)
    await reading.source.close()
    store, place = RedisCheckpoints(fresh_valkey), (hub.identity.address, "duco-hub", "$Default")
    held = list(await store.list_ownership(*place))
    assert [o["owner_id"] for o in held] == [""] * 4
    assert len(list(await store.claim_ownership([{**o, "owner_id": "killed at once"} for o in held]))) == 4
    send(hub, 6, 10)
    following = Reading(source_of(hub, fresh_valkey))
    assert sequences(await following.until(40)) == {machine: list(range(6, 11)) for machine in MACHINES}
    await following.source.close()


ANEW = "was read up to message 900, which the hub does not have"


def places(hub: HubThread) -> list[dict[str, str]]:
    """The partitions, as a checkpoint store knows them."""
    names = "fully_qualified_namespace", "eventhub_name", "consumer_group"
    place = dict(zip(names, (hub.identity.address, "duco-hub", "$Default"), strict=True))
    return [{**place, "partition_id": str(partition)} for partition in range(4)]


async def read_another_hub(hub: HubThread, log_url: str) -> None:
    """Checkpoints further than this hub has messages."""
    for place in places(hub):
        await RedisCheckpoints(log_url).update_checkpoint({**place, "offset": "900", "sequence_number": 900})


class Absent(RedisCheckpoints):
    """What an account does that is away when each question is asked for the first time."""

    def __init__(self, log_url: str) -> None:
        super().__init__(log_url)
        self.asked: list[str] = []

    def _ask(self, question: str) -> None:
        self.asked.append(question)
        if self.asked.count(question) == 1:
            raise ServiceRequestError("no route to it")

    async def list_checkpoints(self, *place: str, **kwargs: Any) -> Any:
        self._ask("list")
        return await super().list_checkpoints(*place, **kwargs)

    async def update_checkpoint(self, checkpoint: Any, **kwargs: Any) -> None:
        self._ask("begin anew" if checkpoint["sequence_number"] < 0 else "commit")
        await super().update_checkpoint(checkpoint, **kwargs)


async def test_another_hub_under_the_same_address_is_read_from_its_beginning(
    hub: HubThread, fresh_valkey: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Checkpoints that are away are waited for; those of a partition that another has are left to it until then."""
    monkeypatch.setattr(hub_session, "WATCH_S", 0.3)
    send(hub, 1, 3)
    await read_another_hub(hub, fresh_valkey)
    ours, theirs, raw, stop = Absent(fresh_valkey), RedisCheckpoints(fresh_valkey), Collect(), Stop()
    [once] = await ours.claim_ownership([{**places(hub)[2], "owner_id": "ours"}])
    [now] = await theirs.claim_ownership([{**once, "owner_id": "theirs"}])
    running = asyncio.create_task(ingest(source_of(hub, ours), raw, stop))
    async with asyncio.timeout(LONG_S):
        while caplog.text.count(ANEW) < 3:
            assert not running.done()
            await asyncio.sleep(0.05)
        await theirs.claim_ownership([{**now, "owner_id": ""}])
        while len(raw.items) < 24 or ours.asked.count("commit") < 5:
            assert not running.done()
            await asyncio.sleep(0.05)
    stop.set()
    await running
    assert sequences(raw.items) == all_once(3)
    assert caplog.text.count(ANEW) == 4
    for what in ("how far the hub was read", "the checkpoint of partition 0"):
        assert f"{what}: the Blobs of DUCO_HUB_CHECKPOINTS do not answer: no route to it" in caplog.text


async def test_closing_waits_for_nobody_longer_than_it_may(
    hub: HubThread, fresh_valkey: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Links that do not end, whatever is done."""

    async def hang(consumer: EventHubConsumer) -> None:
        await asyncio.Event().wait()

    assert hops.LAST_WORD_S + hub_session.CLOSE_S + handover.LAST_WORD_S < supervision.DRAIN_S
    send(hub, 1, 3)
    reading = Reading(source_of(hub, fresh_valkey))
    await reading.until(24)
    monkeypatch.setattr(EventHubConsumer, "close", hang)
    before = time.monotonic()
    await reading.source.close()
    assert time.monotonic() - before < 1.6 * hub_session.CLOSE_S


async def test_what_the_hub_no_longer_keeps_is_counted(
    hub: HubThread, fresh_valkey: str, caplog: pytest.LogCaptureFixture
) -> None:
    send(hub, 1, 2, ["m1"])
    reading = Reading(source_of(hub, fresh_valkey))
    await reading.until(2)
    await reading.source.close()
    send(hub, 3, 7, ["m1"])
    hub.hub.journal._max_age = 0
    hub.call(hub.hub.journal.trim)
    hub.hub.journal._max_age = 10**12
    send(hub, 8, 9, ["m1"])
    following = Reading(source_of(hub, fresh_valkey))
    assert sequences(await following.until(2)) == {"m1": [8, 9]}
    await following.source.close()
    assert "5 messages were older than the hub keeps them before they were read; they are lost" in caplog.text


async def test_a_partition_that_another_program_keeps_is_said(
    hub: HubThread, fresh_valkey: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody tells the SDK's user when a link is refused, be it for an owner level or for a group that is none."""
    monkeypatch.setattr(hub_session, "WATCH_S", 0.3)
    send(hub, 1, 5)
    other = EventHubConsumerClient.from_connection_string(
        hub.identity.hub_events, "$Default", connection_verify=str(hub.identity.ca)
    )
    seen: list[object] = []

    async def on_event(context: object, event: object) -> None:
        seen.append(event)

    keeping = asyncio.create_task(other.receive(on_event, owner_level=7, starting_position="-1"))
    source = source_of(hub, fresh_valkey)
    try:
        async with asyncio.timeout(LONG_S):
            while len(seen) < 40:
                await asyncio.sleep(0.05)
            await source.open()
            async for delivery in source.deliveries():
                assert not delivery.items
                if source.facts()["trouble"]:
                    break
        assert "that it does not give to consumer group '$Default'" in source.facts()["trouble"]
        assert "DUCO_HUB_GROUP" in source.facts()["trouble"]
    finally:
        await source.close()
        keeping.cancel()
        await other.close()


async def test_a_wrong_setting_is_named(hub: HubThread, fresh_valkey: str, tmp_path: Path) -> None:
    other = prepare(tmp_path / "other", hub.identity.address)
    events = hub.identity.hub_events
    wrong: dict[str, dict[str, str]] = {
        r"DUCO_HUB_EVENTS: .*refuses the key": {"connection_string": events.replace(hub.identity.key, other.key)},
        r"DUCO_HUB_CA: .*other/ca\.pem": {"ca": str(other.ca)},
        r"DUCO_HUB_CA: .*any that this computer knows": {"ca": ""},
        r"DUCO_HUB_EVENTS: .*no EntityPath 'another'": {"connection_string": events.replace("duco-hub", "another")},
    }

    async def refused(changes: dict[str, str]) -> Exception:
        source = source_of(hub, fresh_valkey, **changes)
        with pytest.raises(ConfigError) as caught:
            await source.open()
        await source.close()
        return caught.value

    errors = await asyncio.gather(*map(refused, wrong.values()))
    for said, error in zip(wrong, errors, strict=True):
        assert re.search(said, str(error))


def test_a_setting_that_is_none_is_said_at_once(hub: HubThread, tmp_path: Path) -> None:
    for said, changes in {
        "DUCO_HUB_EVENTS is not set": {"connection_string": ""},
        "DUCO_HUB_CA = .*nowhere": {"ca": str(tmp_path / "nowhere")},
        "DUCO_HUB_CA = .*is no file of certificates": {"ca": __file__},
    }.items():
        with pytest.raises(ConfigError, match=said):
            source_of(hub, "redis://127.0.0.1:1/0", **changes)


async def test_a_connection_string_without_its_hub_is_said(hub: HubThread, fresh_valkey: str) -> None:
    source = source_of(hub, fresh_valkey, connection_string=hub.identity.hub_events.partition(";EntityPath")[0])
    with pytest.raises(ConfigError, match=r"DUCO_HUB_EVENTS.*EntityPath"):
        await source.open()
    await source.close()


async def test_a_hub_that_is_away_is_a_service_error(fresh_valkey: str, tmp_path: Path) -> None:
    away = HubThread(tmp_path / "hub", free_address(15))
    source = source_of(away, fresh_valkey)
    with pytest.raises(ServiceError, match="does not answer"):
        await source.open()
    await source.close()


async def test_realtime_messages_reach_the_live_stream(hub: HubThread, fresh_valkey: str) -> None:
    logic = ManifestLogic(Knowledge(1, frozenset({("demo", "m1")})))
    raw, records, stop = Collect(), HandOver[Record](), Stop()
    to = IngestorSinks(raw, records)

    async def branch() -> None:
        live = LiveSink(fresh_valkey)
        await run_flow(records.source, lambda r: realtime(r, validator(), logic, live), (live,), Stop())

    now = time.time_ns() // 1000
    for seq, is_realtime in ((1, False), (2, True), (3, False), (4, True)):
        content = body("m1", seq, ts=now, realtime=is_realtime)
        hub.call(hub.hub.journal.append, "m1", "1", {}, {"tenant": "demo"}, content)
    source = source_of(hub, fresh_valkey)
    async with beside("the branch", branch), asyncio.timeout(LONG_S):
        running = asyncio.create_task(run_flow(source, lambda r: ingestor(r, to), (raw, records), stop))
        with redis.Redis.from_url(fresh_valkey) as client:
            while client.xlen(stream_key("demo", "m1", "vehicle_event")) < 2:
                await asyncio.sleep(0.02)
            entries = client.xrange(stream_key("demo", "m1", "vehicle_event"))
        stop.set()
        await running
    assert [json.loads(fields[b"json"])["messageId"] for _, fields in entries] == ["m1:1:2", "m1:1:4"]
    assert len(raw.items) == 4


async def test_the_process_writes_the_raw_log_whatever_is_away_besides(
    hub: HubThread, fresh_valkey: str, tmp_path: Path
) -> None:
    """No live server, no meta API; and killed in the middle of it."""
    dead = f"127.0.0.1:{testing.free_port()}"
    settings = {"LOG_URL": fresh_valkey, "LIVE_URL": f"redis://{dead}/0", "META_URL": f"http://{dead}"}
    settings |= {"HUB_EVENTS": hub.identity.hub_events, "HUB_CA": str(hub.identity.ca), "DATA": str(tmp_path)}
    environment = {**os.environ, **{f"DUCO_{name}": value for name, value in settings.items()}}
    command = [sys.executable, "pipelines/ingestor.py"]
    for step in range(2):
        send(hub, 20 * step + 1, 20 * step + 20)
        with ending(subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)) as process:
            async with asyncio.timeout(LONG_S):
                while len(raw := await raw_log(fresh_valkey)) < 160 * step + (160 if step else 60):
                    await asyncio.sleep(0.05)
                if step:
                    beat = await settled_beat(fresh_valkey)
            process.send_signal(signal.SIGTERM if step else signal.SIGKILL)
            _, said = await asyncio.to_thread(process.communicate, timeout=LONG_S)
    assert process.returncode == 0, said
    assert {m: sorted(set(numbers)) for m, numbers in sequences(raw).items()} == all_once(40)
    assert (beat["partitions"], beat["behind"], beat["trouble"]) == (["0", "1", "2", "3"], 0, None)
    marks = (await hops.read(fresh_valkey))["raw"]
    assert {(w.chassis_id, mark.epoch, mark.seq) for w, mark in marks.items()} == {(m, 1, 40) for m in MACHINES}
    async with asyncio.timeout(pulse.LIFE_S + 5):  # that of one that was killed lapses
        while await pulse.read("ingestor", fresh_valkey):
            await asyncio.sleep(0.2)


@contextmanager
def ending(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """A test that fails inside would wait for it for ever."""
    with process:
        try:
            yield process
        finally:
            process.kill()


async def raw_log(url: str) -> list[Record]:
    """From its beginning, for nothing of it is committed."""
    source = RedisSource(url, RAW, "test")
    await source.open()
    delivery = await anext(source.deliveries())
    await source.close()
    return list(delivery.items)


async def settled_beat(url: str) -> dict[str, Any]:
    while not (beat := await pulse.read("ingestor", url)) or len(beat["partitions"]) < 4 or beat["behind"] != 0:
        await asyncio.sleep(0.1)
    return beat

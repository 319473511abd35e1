"""What is slow, full or away holds back what needs it and nothing else: flows on a real log, store and live server.

Between the flow and the store stands a door of the test: it lets through, waits, or answers as a server whose disk is
full does.
"""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any

import httpx
import log_ends
import pytest
import redis
import uvicorn
from records import T, parsed, record
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from duco_workbench import redis_log
from duco_workbench.columns import Parsed
from duco_workbench.flows.distributor import DistributorSinks, distributor
from duco_workbench.flows.processor import ProcessorSinks, processor
from duco_workbench.flows.validate import validator
from duco_workbench.live import LiveReader
from duco_workbench.local.store.process import StoreProcess, running
from duco_workbench.log import lag, log_sink, log_source
from duco_workbench.log_address import LogAddress
from duco_workbench.model import SECOND
from duco_workbench.ops import Watch
from duco_workbench.parsing.logic import Knowledge, ManifestLogic
from duco_workbench.ports import Sink
from duco_workbench.runtime import Stop, run_flow
from duco_workbench.schema import migrate
from duco_workbench.sinks import lossy
from duco_workbench.sinks.clickhouse import DeadLetterTable, RawArchive, SampleTable, connect
from duco_workbench.sinks.snapshot import SnapshotSink
from duco_workbench.sources import portion
from duco_workbench.topics import DEAD_LETTERS, PARSED, RAW

MEMORY = 256 << 20
LONG_S = 60
FULL = "Code: 243. DB::Exception: Cannot reserve 1.00 MiB, not enough space. (NOT_ENOUGH_SPACE)"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreProcess]:
    with running(tmp_path_factory.mktemp("store")) as process:
        migrate(connect(process.url))
        yield process


class Door:
    """In front of the store. ``asked`` and ``at_once``: inserts that came, and how many there were at a time."""

    def __init__(self, store: StoreProcess) -> None:
        self._store = f"http://127.0.0.1:{store.port}"
        self.open, self.full = asyncio.Event(), False
        self.open.set()
        self.asked = self.waiting = self.at_once = 0
        self._client = httpx.AsyncClient(trust_env=False, timeout=LONG_S)

    async def answer(self, request: Request) -> Response:
        body = await request.body()
        if b"INSERT" in body[:200] or "INSERT" in request.url.query:
            self.asked += 1
            self.waiting += 1
            self.at_once = max(self.at_once, self.waiting)
            try:
                await self.open.wait()
            finally:
                self.waiting -= 1
            if self.full:
                return Response(FULL, 500, {"X-ClickHouse-Exception-Code": "243"})
        headers = {name: value for name, value in request.headers.items() if name != "host"}
        url = f"{self._store}/?{request.url.query}"
        found = await self._client.request(request.method, url, content=body, headers=headers)
        return Response(found.content, found.status_code, dict(found.headers))


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """They are the test run's."""
        yield


@asynccontextmanager
async def door_to(store: StoreProcess) -> AsyncIterator[tuple[Door, str]]:
    """The door and the store's address through it."""
    door = Door(store)
    app = Starlette(routes=[Route("/", door.answer, methods=["GET", "POST"])])
    server = _Server(uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=1))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(server.serve([listener]))
        yield door, f"http://127.0.0.1:{listener.getsockname()[1]}/duco"
        server.should_exit = True
        await serving


until = partial(log_ends.until, seconds=LONG_S)


@asynccontextmanager
async def processing(log_url: str, store_url: str) -> AsyncIterator[Watch]:
    """The processor as its pipeline runs it; drained at the end."""
    watch, stop = Watch("processor"), Stop()
    log = LogAddress(log_url, MEMORY)
    to = watch.sinks(ProcessorSinks(RawArchive(store_url), log_sink(log, PARSED), log_sink(log, DEAD_LETTERS)))
    logic = ManifestLogic(Knowledge(1, frozenset({("demo", "m1")})))
    source = watch.source(log_source(log, RAW, "processor"), lambda item: item)
    ends = (to.raw_archive, to.parsed_topic, to.dead_letters)
    flow = run_flow(source, lambda records: processor(records, validator(), logic, to), ends, stop)
    task = asyncio.create_task(flow)
    yield watch
    stop.set()
    await asyncio.wait_for(task, LONG_S)


async def write(url: str, topic: Any, items: list[Any]) -> None:
    sink: Sink[Any] = log_sink(LogAddress(url, MEMORY), topic)
    await sink.write(items)
    await sink.close()


def offsets(url: str, topic: str, group: str) -> dict[bytes, bytes]:
    with redis.Redis.from_url(url) as client:
        return client.hgetall(redis_log.offsets_key(topic, group))  # type: ignore[return-value]


def stored(store: StoreProcess, machine: str) -> int:
    sql = "SELECT count(), uniqExact(message_id) FROM raw_data_cache_store FINAL WHERE chassis_id = {machine:String}"
    with connect(store.url) as client:
        rows, ids = client.query(sql, parameters={"machine": machine}).result_rows[0]
    assert rows == ids
    return int(rows)


async def test_a_slow_store_holds_one_batch_and_moves_no_offset(
    store: StoreProcess, fresh_valkey: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(portion, "ITEMS", 100)
    many = [record(n, chassis_id="slow") for n in range(1, 301)]
    async with door_to(store) as (door, url):
        door.open.clear()
        await write(fresh_valkey, RAW, many)
        async with processing(fresh_valkey, url) as watch:
            await until(lambda: door.waiting)
            held = len(watch._batch)
            await write(fresh_valkey, RAW, [record(n, chassis_id="slow") for n in range(301, 601)])
            await asyncio.sleep(1.0)  # four times as long as an idle reader waits: one that read on would have by now
            assert 0 < held == len(watch._batch) < 300
            assert (door.asked, offsets(fresh_valkey, "raw", "processor")) == (1, {})
            assert await lag(LogAddress(fresh_valkey), RAW, "processor") == 600
            door.open.set()
            await until(lambda: watch.figures.messages.total() == 600)
    assert door.at_once == 1
    assert stored(store, "slow") == 600


async def test_a_store_whose_disk_is_full_is_asked_again_until_it_has_room(
    store: StoreProcess, fresh_valkey: str
) -> None:
    async with door_to(store) as (door, url):
        door.full = True
        await write(fresh_valkey, RAW, [record(n, chassis_id="full") for n in range(1, 101)])
        async with processing(fresh_valkey, url) as watch:
            await until(lambda: door.asked >= 3)
            assert offsets(fresh_valkey, "raw", "processor") == {}
            assert ["NOT_ENOUGH_SPACE" in said for said in watch.wrong()] == [True]
            assert watch.figures.retries["raw_archive"] >= 2
            door.full = False
            await until(lambda: watch.figures.messages.total() == 100)
            assert list(watch.wrong()) == []
    assert stored(store, "full") == 100


@asynccontextmanager
async def distributing(log_url: str, store_url: str, live_url: str) -> AsyncIterator[tuple[Watch, SnapshotSink]]:
    watch, stop, snapshot = Watch("distributor"), Stop(), SnapshotSink(live_url)
    to = watch.sinks(DistributorSinks(SampleTable(store_url), snapshot, DeadLetterTable(store_url)))
    source = watch.source(log_source(LogAddress(log_url), PARSED, "distributor"), lambda item: item.record)
    flow = run_flow(source, lambda batches: distributor(batches, to), (to.store, to.snapshot, to.letters), stop)
    task = asyncio.create_task(flow)
    yield watch, snapshot
    stop.set()
    await asyncio.wait_for(task, LONG_S)


async def test_a_live_server_that_swallows_everything_delays_no_history(
    store: StoreProcess, fresh_valkey: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sink that waited for it would wait two minutes for each of the batches."""
    monkeypatch.setattr(lossy, "TIMEOUT_S", 120.0)
    monkeypatch.setattr(lossy, "LAST_WORD_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as hole:  # it connects, and never answers
        live_url = f"redis://127.0.0.1:{hole.getsockname()[1]}/0"
        async with distributing(fresh_valkey, store.url, live_url) as (watch, snapshot):
            for n in range(3):
                await write(fresh_valkey, PARSED, [parsed(n, chassis_id="hole", start=T + n * SECOND)])
                await until(lambda n=n: watch.figures.messages.total() == n + 1)
            assert list(watch.wrong()) == []
    assert snapshot.dropped
    assert len(values(store, "hole")) == 120


def values(store: StoreProcess, machine: str) -> list[Any]:
    sql = """SELECT signal, source, toUnixTimestamp64Micro(ts) AS at, value, status FROM ce_technology FINAL
             WHERE chassis_id = {machine:String} AND is_deleted = 0 ORDER BY signal, source, at"""
    with connect(store.url) as client:
        return [tuple(map(str, row)) for row in client.query(sql, parameters={"machine": machine}).result_rows]


async def test_late_and_disordered_messages_land_where_they_belong(store: StoreProcess, fresh_valkey: str) -> None:
    """A day late, shuffled, and a third of them twice: the rows are those of the order they happened in, and the
    snapshot shows what is newest at every moment of it."""

    def messages(machine: str) -> list[Parsed]:
        times = [T - 86_400 * SECOND + n * SECOND for n in range(6)] + [T + n * SECOND for n in range(6)]
        return [parsed(n, chassis_id=machine, start=ts, ts=ts) for n, ts in enumerate(times)]

    shuffled = messages("disorder")
    random.Random(5).shuffle(shuffled)
    shuffled += shuffled[::3]
    newest, seen = 0, []
    async with distributing(fresh_valkey, store.url, fresh_valkey) as (watch, _):
        await write(fresh_valkey, PARSED, messages("order"))
        await until(lambda: watch.figures.messages.total() == 12)
        reader = LiveReader(fresh_valkey)
        for n, message in enumerate(shuffled, start=1):
            await write(fresh_valkey, PARSED, [message])
            await until(lambda n=n: watch.figures.messages.total() == 12 + n)
            newest = max(newest, int(message.samples.ts.max()))
            await until(lambda: (found := reader.snapshot("demo", "disorder")) and max(r.ts for r in found.values()))
            seen.append(max(r.ts for r in reader.snapshot("demo", "disorder").values()))
        await until(lambda: max(r.ts for r in reader.snapshot("demo", "disorder").values()) == newest)
        reader.close()
    assert seen == sorted(seen)
    assert values(store, "disorder") == values(store, "order") != []

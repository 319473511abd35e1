"""The log's contract, on memory, on a real Valkey and on a real Kafka: order, durability, redelivery, failure."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from log_ends import next_delivery, opened, written
from records import parsed, record

from duco_workbench import testing
from duco_workbench.errors import ConfigError, ServiceError
from duco_workbench.local.kafka import Broker
from duco_workbench.log import log_gauge, log_sink, log_source
from duco_workbench.log_address import LogAddress
from duco_workbench.model import DeadLetter
from duco_workbench.sinks import kafka as kafka_sink
from duco_workbench.sources import kafka as kafka_source
from duco_workbench.sources import portion
from duco_workbench.sources.memory import MemoryLog
from duco_workbench.topics import DEAD_LETTERS, PARSED, RAW


@dataclass
class Log:
    """A new sink and a new source of one log, and its server, which can be killed and comes back."""

    sink: Callable[..., Any]
    source: Callable[..., Any]
    kill: Callable[[], None]
    start: Callable[[], None]
    address: LogAddress | None = None


@pytest.fixture(params=["memory", "redis", "kafka"])
def log(request: pytest.FixtureRequest) -> Log:
    if request.param == "memory":
        memory: MemoryLog[Any] = MemoryLog()
        return Log(lambda topic=RAW: memory, lambda topic=RAW: memory, lambda: None, lambda: None)
    return request.getfixturevalue(f"{request.param}_server")


@pytest.fixture(params=["redis", "kafka"])
def server(request: pytest.FixtureRequest) -> Log:
    return request.getfixturevalue(f"{request.param}_server")


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[Log]:
    port = testing.free_port()
    running = contextlib.ExitStack()

    def start() -> None:
        running.enter_context(testing.valkey(tmp_path, "--appendonly", "yes", port=port))

    start()
    yield _log(LogAddress(f"redis://127.0.0.1:{port}/0"), running.close, start)
    running.close()


@pytest.fixture
def kafka_server(kafka: Broker, on_kafka: LogAddress) -> Iterator[Log]:
    yield _log(on_kafka, kafka.kill, kafka.start)
    if not kafka.is_running():
        kafka.start()


def _log(address: LogAddress, kill: Callable[[], None], start: Callable[[], None]) -> Log:
    return Log(
        lambda topic=RAW: log_sink(address, topic),
        lambda topic=RAW: log_source(address, topic, "g"),
        kill,
        start,
        address,
    )


async def test_one_machine_stays_in_order_and_all_machines_come(log: Log) -> None:
    items = [record(i, chassis_id=f"m{i % 20}") for i in range(400)]
    await written(log.sink(), items[:77])
    await written(log.sink(), items[77:])
    got: list[Any] = []
    async with opened(log.source()) as source:
        while len(got) < len(items):
            delivery = await next_delivery(source)
            got += delivery.items
            await source.commit(delivery)
    for machine in range(20):
        name = f"m{machine}"
        assert [r for r in got if r.chassis_id == name] == [r for r in items if r.chassis_id == name]


async def test_what_was_not_committed_comes_again_and_what_was_does_not(log: Log) -> None:
    await written(log.sink(), [record(i) for i in range(3)])
    async with opened(log.source()) as source:
        seen = await next_delivery(source)
        assert (await next_delivery(source)).items == seen.items  # to the same reader
    async with opened(log.source()) as source:
        again = await next_delivery(source)
        assert again.items == seen.items  # and to its successor
        await source.commit(again)
        await source.commit(again)  # a commit whose answer was lost is tried again
    await written(log.sink(), [record(9)])
    async with opened(log.source()) as source:
        assert (await next_delivery(source)).items == [record(9)]


async def test_nothing_new_is_an_empty_delivery(log: Log) -> None:
    async with opened(log.source()) as source:
        delivery = await asyncio.wait_for(anext(source.deliveries()), 2)
        assert not delivery.items


async def test_headers_and_bodies_come_as_they_were(log: Log) -> None:
    items = [
        record(1, "fährt – 走行".encode(), chassis_id="Bagger Ä", msg_type="vehicle_log"),
        record(2, b""),
        record(3, bytes(range(256)) * 800),  # 200 kB
        record(4, hub_partition=-1, ts=-1, message_id=""),
    ]
    await written(log.sink(), items)
    async with opened(log.source()) as source:
        got: list[Any] = []
        while len(got) < len(items):
            delivery = await next_delivery(source)
            got += delivery.items
            await source.commit(delivery)
    assert sorted(got, key=lambda r: r.hub_sequence) == items


@pytest.mark.parametrize(
    ("topic", "item", "items_of_an_entry"), [(RAW, record(1, bytes(100_000)), 1), (PARSED, parsed(1), 50)]
)
async def test_a_backlog_comes_in_portions_that_memory_holds(
    server: Log, monkeypatch: pytest.MonkeyPatch, topic: Any, item: Any, items_of_an_entry: int
) -> None:
    """Whatever came before them: a reader that guessed would take many after small ones."""
    weight = topic.weight(item)
    monkeypatch.setattr(portion, "BYTES", 100 * weight)
    small = [record(i, b"", chassis_id=f"m{i % 20}") for i in range(200)] if topic is RAW else []
    async with opened(server.sink(topic)) as sink:
        await sink.write(small)
        for _ in range(400 // items_of_an_entry):
            await sink.write([item] * items_of_an_entry)
    seen = 0
    async with opened(server.source(topic)) as source:
        while seen < len(small) + 400:
            delivery = await next_delivery(source)
            heavy = [one for one in delivery.items if topic.weight(one)]
            assert len(heavy) < 100 + topic.round * items_of_an_entry
            await source.commit(delivery)
            seen += len(delivery.items)


@pytest.mark.parametrize(
    ("topic", "item"), [(DEAD_LETTERS, DeadLetter(record(1), "bad", "größer")), (PARSED, parsed(1))]
)
async def test_each_topic_carries_its_own(server: Log, topic: Any, item: Any) -> None:
    await written(server.sink(topic), [item])
    async with opened(server.source(topic)) as source:
        got = (await next_delivery(source)).items
    assert list(topic.encode(got)) == list(topic.encode([item]))


async def test_a_server_that_was_killed_has_what_write_returned_for_and_both_ends_go_on(
    server: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_sink, "WRITE_S", 1.0)
    monkeypatch.setattr(kafka_source, "PROBE_S", 0.5)
    monkeypatch.setattr(kafka_source, "COMMIT_S", 1.0)
    async with opened(server.sink()) as sink, opened(server.source()) as source:
        await sink.write([record(1)])
        first = await next_delivery(source)
        await sink.write([record(2), record(3)])
        server.kill()
        with pytest.raises(ServiceError):
            await sink.write([record(4)])
        with pytest.raises(ServiceError):
            await source.commit(first)
        with pytest.raises(ServiceError):
            await asyncio.wait_for(_read_until_it_fails(source), 20)
        await asyncio.to_thread(server.start)
        await asyncio.wait_for(_until_it_works(lambda: sink.write([record(4)])), 30)
        got: set[int] = set()
        async with asyncio.timeout(40):
            async for delivery in _patiently(source):
                if delivery.items:
                    await source.commit(delivery)
                got |= {item.hub_sequence for item in delivery.items}
                if got >= {2, 3, 4}:
                    break


async def _read_until_it_fails(source: Any) -> None:
    async for _ in source.deliveries():
        pass


async def _until_it_works(call: Callable[[], Any]) -> None:
    while True:
        with contextlib.suppress(ServiceError):
            return await call()
        await asyncio.sleep(0.1)


async def _patiently(source: Any) -> AsyncIterator[Any]:
    while True:
        with contextlib.suppress(ServiceError):
            async for delivery in source.deliveries():
                yield delivery
        await asyncio.sleep(0.1)


async def test_a_gauge_says_how_far_a_group_is(server: Log) -> None:
    assert server.address is not None
    async with log_gauge(server.address) as gauge:
        assert await gauge.lag("raw", "g") == 0  # before there is anything
        await written(server.sink(), [record(i, chassis_id=f"m{i}") for i in range(40)])
        marks = await gauge.tails("raw")
        assert await gauge.lag("raw", "g") == 40
        assert not await gauge.has_passed("raw", "g", marks)
        await written(server.sink(), [record(99)])
        async with opened(server.source()) as source:
            while await gauge.lag("raw", "g") > 1:
                await source.commit(await next_delivery(source))
                if await gauge.has_passed("raw", "g", marks):
                    break
        assert await gauge.has_passed("raw", "g", marks)
        assert await gauge.lag("raw", "g") <= 1
        assert await gauge.lag("raw", "other") > 1 or "redis" in server.address.url


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "kafka://127.0.0.1:1"])
async def test_a_log_that_is_away_is_a_service_error(url: str) -> None:
    address = LogAddress(url)
    for end in (log_sink(address, RAW), log_source(address, RAW, "g")):
        with pytest.raises(ServiceError, match="does not answer"):
            await end.open()
        await end.close()
    with pytest.raises(ServiceError, match="does not answer"):
        async with log_gauge(address) as gauge:
            await gauge.lag("raw", "g")


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("http://127.0.0.1:1", "DUCO_LOG_URL.*redis:// or kafka://"),
        ("kafka://127.0.0.1", "DUCO_LOG_URL.*kafka://host:port"),
        ("kafka://", "DUCO_LOG_URL.*kafka://host:port"),
    ],
)
def test_an_address_that_is_no_log_is_said(url: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        LogAddress(url)

"""The log's contract, on memory and on a real Valkey: order, commit, redelivery; and what only Redis Streams have."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import redis
from records import record

from duco_workbench import redis_log
from duco_workbench.errors import ConfigError, ServiceError
from duco_workbench.ports import Delivery
from duco_workbench.sinks.log import LogSink
from duco_workbench.sources import log as log_source
from duco_workbench.sources.log import LogSource
from duco_workbench.sources.memory import MemoryLog
from duco_workbench.topics import RAW

MEMORY = 64 << 20


@pytest.fixture(params=["memory", "redis"])
def ends(request: pytest.FixtureRequest, fresh_valkey: str) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """(a new sink, a new source) of one log."""
    if request.param == "memory":
        log: MemoryLog[Any] = MemoryLog()
        return (lambda: log), (lambda: log)
    return (lambda: LogSink(fresh_valkey, RAW, MEMORY)), (lambda: LogSource(fresh_valkey, RAW, "g"))


async def written(sink: Any, items: list[Any]) -> None:
    await sink.open()
    await sink.write(items)
    await sink.close()


async def next_delivery(source: Any) -> Delivery[Any]:
    async for delivery in source.deliveries():
        if delivery.items:
            return delivery
    raise AssertionError("the source ended")


async def test_one_machine_stays_in_order(ends: Any) -> None:
    make_sink, make_source = ends
    items = [record(i) for i in range(200)]
    await written(make_sink(), items[:77])
    await written(make_sink(), items[77:])
    source = make_source()
    await source.open()
    got: list[Any] = []
    while len(got) < 200:
        delivery = await next_delivery(source)
        got += delivery.items
        await source.commit(delivery)
    await source.close()
    assert got == items


async def test_what_was_not_committed_comes_again(ends: Any) -> None:
    make_sink, make_source = ends
    await written(make_sink(), [record(i) for i in range(3)])
    first = make_source()
    await first.open()
    seen = await next_delivery(first)
    await first.close()
    second = make_source()
    await second.open()
    again = await next_delivery(second)
    assert again.items == seen.items
    await second.commit(again)
    await second.close()
    await written(make_sink(), [record(9)])
    third = make_source()
    await third.open()
    assert (await next_delivery(third)).items == [record(9)]
    await third.close()


async def test_nothing_new_is_an_empty_delivery(ends: Any) -> None:
    _, make_source = ends
    source = make_source()
    await source.open()
    delivery = await asyncio.wait_for(anext(source.deliveries()), 2)
    assert not delivery.items
    await source.close()


async def test_machines_are_spread_and_all_delivered(fresh_valkey: str) -> None:
    items = [record(i, chassis_id=f"m{i}") for i in range(40)]
    await written(LogSink(fresh_valkey, RAW, MEMORY), items)
    source = LogSource(fresh_valkey, RAW, "g")
    await source.open()
    delivery = await next_delivery(source)
    assert sorted(delivery.items, key=lambda r: r.hub_sequence) == items
    assert len(delivery.position) > 1
    await source.close()


async def test_a_second_reader_of_a_group_is_refused_in_a_sentence(
    fresh_valkey: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_source, "LEASE_MS", 400)
    first, second = LogSource(fresh_valkey, RAW, "g"), LogSource(fresh_valkey, RAW, "g")
    await first.open()
    with pytest.raises(ServiceError, match="another reader of raw is running as group 'g'"):
        await second.open()
    await first.close()
    await second.open()  # released, so at once
    await second.close()


async def test_a_reader_that_lost_its_lease_commits_nothing(fresh_valkey: str) -> None:
    await written(LogSink(fresh_valkey, RAW, MEMORY), [record()])
    source = LogSource(fresh_valkey, RAW, "g")
    await source.open()
    delivery = await next_delivery(source)
    with redis.Redis.from_url(fresh_valkey) as client:
        client.set(redis_log.lease_key("raw", "g"), "somebody else")
        with pytest.raises(ConfigError, match="another reader"):
            await source.commit(delivery)
        assert not client.exists(redis_log.offsets_key("raw", "g"))
    await source.close()


async def test_it_is_trimmed_behind_the_slowest_group(fresh_valkey: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_source, "TRIM_S", -1.0)
    await written(LogSink(fresh_valkey, RAW, MEMORY), [record(i) for i in range(5)])
    fast, slow = LogSource(fresh_valkey, RAW, "fast"), LogSource(fresh_valkey, RAW, "slow")
    await fast.open()
    await slow.open()

    def length() -> int:
        with redis.Redis.from_url(fresh_valkey) as client:
            return sum(client.xlen(name) for name in redis_log.streams("raw"))

    await fast.commit(await next_delivery(fast))
    assert length() == 5
    assert await redis_log.lag(fresh_valkey, "raw", "slow") == 5
    await slow.commit(await next_delivery(slow))
    assert length() == 0
    assert await redis_log.lag(fresh_valkey, "raw", "slow") == 0
    await fast.close()
    await slow.close()


async def test_a_writer_waits_while_the_log_is_full(fresh_valkey: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_source, "TRIM_S", -1.0)
    with redis.Redis.from_url(fresh_valkey) as client:
        idle = client.info("memory")["used_memory"]
    sink = LogSink(fresh_valkey, RAW, 2 * (idle + (1 << 20)))  # room for one more megabyte
    await sink.open()
    await sink.write([record(1, body=bytes(3 << 20))])
    waiting = asyncio.create_task(sink.write([record(2)]))
    await asyncio.sleep(0.3)
    assert not waiting.done()
    source = LogSource(fresh_valkey, RAW, "g")
    await source.open()
    await source.commit(await next_delivery(source))
    await asyncio.wait_for(waiting, 5)
    await source.close()
    await sink.close()


async def test_a_log_that_is_away_is_a_service_error() -> None:
    with pytest.raises(ServiceError, match="does not answer"):
        await LogSink("redis://127.0.0.1:1/0", RAW, MEMORY).open()
    with pytest.raises(ServiceError, match="does not answer"):
        await LogSource("redis://127.0.0.1:1/0", RAW, "g").open()


def test_an_address_that_is_no_log_is_said() -> None:
    with pytest.raises(ConfigError, match=r"DUCO_LOG_URL.*redis://"):
        LogSink("http://127.0.0.1:1", RAW, MEMORY)

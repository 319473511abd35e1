"""A log on Redis Streams whose server loses its data, or whose link swallows what is said."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from faults.proxy import BLACK_HOLE, HALF_OPEN, PASS, Mode, Proxy
from log_ends import held_on_redis, next_delivery, opened, until, written
from records import record

from duco_workbench import hops, pulse, redis_log, runtime, testing
from duco_workbench.errors import ServiceError
from duco_workbench.local.supervision import DRAIN_S
from duco_workbench.model import Record
from duco_workbench.sinks.redis_streams import RedisSink
from duco_workbench.sources import redis_streams as source_of
from duco_workbench.sources.redis_streams import RedisSource
from duco_workbench.topics import RAW, partition_of

MEMORY = 64 << 20


@asynccontextmanager
async def flowing(source: Any) -> AsyncIterator[tuple[list[Record], runtime.Stop]]:
    """A flow that keeps what it reads in the list, as :mod:`runtime` runs it."""
    got: list[Record] = []
    stop = runtime.Stop()
    task = asyncio.create_task(runtime.run_flow(source, lambda records: records.sink(got.extend), (), stop))
    try:
        yield got, stop
    finally:
        stop.set()
        async with asyncio.timeout(DRAIN_S):
            await task


async def test_a_log_that_was_flushed_is_read_and_trimmed_from_its_new_beginning(
    fresh_valkey: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_of, "TRIM_S", -1.0)
    async with (
        opened(RedisSink(fresh_valkey, RAW, MEMORY)) as sink,
        flowing(RedisSource(fresh_valkey, RAW, "g")) as (got, _),
    ):
        await sink.write([record(0)])
        await until(lambda: got and held_on_redis(fresh_valkey, "raw") == 0)
        with redis.Redis.from_url(fresh_valkey) as client:
            client.flushall()
            await sink.write([record(i, chassis_id=f"m{i}") for i in range(1, 40)])
            await until(lambda: {r.hub_sequence for r in got} == set(range(40)))
            await until(lambda: held_on_redis(fresh_valkey, "raw") == 0)
            assert client.smembers(redis_log.groups_key("raw")) == {b"g"}


async def test_a_server_that_came_back_empty_is_read_whatever_its_clock_says(tmp_path: Path) -> None:
    """Before, it was in the future: what it writes now has ids that are lower than the last that was read."""
    port, [old] = testing.free_port(), RAW.encode([record(0)])
    with testing.valkey(tmp_path, port=port) as url:
        with redis.Redis.from_url(url) as client:
            fields = {**old.headers, "body": old.body}
            client.xadd(redis_log.stream_key("raw", partition_of(old.key)), fields, id="9999999999999-0")
        async with flowing(RedisSource(url, RAW, "g")) as (got, _):
            await until(lambda: got and offsets_of(url))
            with redis.Redis.from_url(url) as client:
                client.shutdown(nosave=True)
            with testing.valkey(tmp_path, port=port):
                await written(RedisSink(url, RAW, MEMORY), [record(1)])
                await until(lambda: {r.hub_sequence for r in got} == {0, 1})


def offsets_of(url: str) -> dict[bytes, bytes]:
    with redis.Redis.from_url(url) as client:
        return client.hgetall(redis_log.offsets_key("raw", "g"))  # type: ignore[return-value]


async def test_a_log_that_was_flushed_while_a_batch_was_in_hand_is_read_from_its_new_beginning(
    fresh_valkey: str,
) -> None:
    async with (
        opened(RedisSink(fresh_valkey, RAW, MEMORY)) as sink,
        opened(RedisSource(fresh_valkey, RAW, "g")) as source,
    ):
        await sink.write([record(1)])
        await source.commit(await next_delivery(source))
        await sink.write([record(2)])
        in_hand = await next_delivery(source)
        with redis.Redis.from_url(fresh_valkey) as client:
            client.flushall()
        await sink.write([record(3)])
        await source.commit(in_hand)
        assert offsets_of(fresh_valkey) == {}  # the old ones mean nothing here
        assert (await next_delivery(source)).items == [record(3)]


async def test_a_flushed_log_is_not_trimmed_before_its_other_groups_are_back(
    fresh_valkey: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_of, "LEASE_MS", 60_000)
    monkeypatch.setattr(source_of, "TRIM_S", 30.0)
    async with (
        opened(RedisSource(fresh_valkey, RAW, "early")) as early,
        opened(RedisSource(fresh_valkey, RAW, "late")) as late,
    ):
        with redis.Redis.from_url(fresh_valkey) as client:
            client.flushall()
        await written(RedisSink(fresh_valkey, RAW, MEMORY), [record(1)])
        await early.commit(await next_delivery(early))
        assert (await next_delivery(late)).items == [record(1)]


@pytest.mark.parametrize("mode", [HALF_OPEN, BLACK_HOLE], ids=lambda mode: mode.name)
async def test_a_link_that_swallows_everything_is_said_and_both_ends_go_on_after(
    fresh_valkey: str, monkeypatch: pytest.MonkeyPatch, mode: Mode
) -> None:
    monkeypatch.setattr(redis_log, "TIMEOUT_S", 2.0)
    with Proxy(fresh_valkey) as proxy:
        async with (
            opened(RedisSink(proxy.url, RAW, MEMORY)) as sink,
            opened(RedisSource(proxy.url, RAW, "g")) as source,
        ):
            await sink.write([record(1)])
            in_hand = await next_delivery(source)
            proxy.set(mode)
            calls = sink.write([record(2)]), source.commit(in_hand), next_delivery(source)
            async with asyncio.timeout(20):
                said = await asyncio.gather(*calls, return_exceptions=True)
            assert [type(error) for error in said] == [ServiceError] * 3
            proxy.set(PASS)
            await source.commit(in_hand)
            await sink.write([record(3)])
            got: list[int] = []
            while 3 not in got:
                delivery = await next_delivery(source)
                got += [item.hub_sequence for item in delivery.items]
                await source.commit(delivery)
            assert 1 not in got


async def test_who_is_told_to_stop_ends_in_time_though_the_log_is_a_black_hole(fresh_valkey: str) -> None:
    """With all that a pipeline has there: its reader, its notes, its pulse."""
    await written(RedisSink(fresh_valkey, RAW, MEMORY), [record(1)])
    with Proxy(fresh_valkey) as proxy:
        source = hops.Noted(RedisSource(proxy.url, RAW, "g"), hops.HopNotes(proxy.url, "parsed"), lambda item: item)
        async with (
            asyncio.timeout(30) as patience,
            pulse.beating("processor", proxy.url),
            flowing(source) as (got, stop),
        ):
            await until(lambda: got)
            proxy.set(BLACK_HOLE)
            stop.set()
            patience.reschedule(asyncio.get_running_loop().time() + DRAIN_S)


async def test_who_is_told_to_stop_before_the_log_answers_waits_for_one_of_its_ends_only(
    fresh_valkey: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_log, "TIMEOUT_S", 0.5)
    stop, asked = runtime.Stop(), []

    class End(RedisSink[Record]):
        async def open(self) -> None:
            asked.append(self)
            stop.set()
            await super().open()

    with Proxy(fresh_valkey) as proxy:
        proxy.set(HALF_OPEN)
        ends = [End(proxy.url, RAW, MEMORY) for _ in range(3)]
        source = RedisSource(proxy.url, RAW, "g")
        await runtime.run_flow(source, lambda records: records.sink(print), ends, stop)
    assert asked == ends[:1]

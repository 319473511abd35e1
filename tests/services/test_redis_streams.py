"""What only a log on Redis Streams has: the lease of its one reader, trimming, a size."""

from __future__ import annotations

import asyncio

import pytest
import redis
from faults.proxy import Proxy, slow
from log_ends import held_on_redis, next_delivery, opened, until, written
from records import record

from duco_workbench import redis_log, runtime
from duco_workbench.errors import ConfigError, ServiceError
from duco_workbench.sinks import redis_streams as sink_of
from duco_workbench.sinks.redis_streams import RedisSink
from duco_workbench.sources import redis_streams as source_of
from duco_workbench.sources.memory import MemoryLog
from duco_workbench.sources.redis_streams import RedisSource
from duco_workbench.topics import RAW, partition_of

MEMORY = 64 << 20
LONG_MS = 60_000  # of a lease that neither lapses nor is kept while a test runs


async def test_machines_are_spread_and_all_delivered(fresh_valkey: str) -> None:
    items = [record(i, chassis_id=f"m{i}") for i in range(40)]
    await written(RedisSink(fresh_valkey, RAW, MEMORY), items)
    source = RedisSource(fresh_valkey, RAW, "g")
    await source.open()
    delivery = await next_delivery(source)
    assert sorted(delivery.items, key=lambda r: r.hub_sequence) == items
    assert len(delivery.position) > 1
    await source.close()


async def test_a_second_reader_of_a_group_is_refused_in_a_sentence(
    fresh_valkey: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_of, "LEASE_MS", 400)
    first, second = RedisSource(fresh_valkey, RAW, "g"), RedisSource(fresh_valkey, RAW, "g")
    await first.open()
    with pytest.raises(ServiceError, match="another reader of raw is running as group 'g'"):
        await second.open()
    await first.close()
    await second.open()  # released, so at once
    await second.close()


async def test_a_reader_comes_back_by_its_name_at_once(fresh_valkey: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_of, "LEASE_MS", LONG_MS)
    killed, back = (RedisSource(fresh_valkey, RAW, "g", "processor-1") for _ in range(2))
    await written(RedisSink(fresh_valkey, RAW, MEMORY), [record()])
    await killed.open()
    delivery = await next_delivery(killed)
    async with asyncio.timeout(LONG_MS / 2000):
        await back.open()
    with pytest.raises(ConfigError, match="another reader"):  # were it only thought dead
        await killed.commit(delivery)
    assert (await next_delivery(back)).items == delivery.items
    await killed.close()
    await back.commit(delivery)  # what the other closed was not its own
    await back.close()


async def test_a_reader_whose_open_failed_does_not_wait_for_itself(
    fresh_valkey: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_of, "LEASE_MS", LONG_MS)
    source = RedisSource(fresh_valkey, RAW, "g")
    with redis.Redis.from_url(fresh_valkey) as client:
        client.set(redis_log.groups_key("raw"), "no set")  # so that what comes after the lease fails
        with pytest.raises(ServiceError, match="WRONGTYPE"):
            await source.open()
        client.delete(redis_log.groups_key("raw"))
        async with asyncio.timeout(LONG_MS / 2000):
            await source.open()
    await source.close()


async def test_a_name_is_no_key_to_the_place_of_others(fresh_valkey: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_of, "LEASE_MS", 400)
    for first, second in (("processor-1", "processor-2"), ("", "processor-1"), ("processor-1", "")):
        async with opened(RedisSource(fresh_valkey, RAW, "g", first)):
            with pytest.raises(ServiceError, match="another reader"):
                await RedisSource(fresh_valkey, RAW, "g", second).open()


@pytest.mark.parametrize("committed", [0, 1, 999, 1000, 2400, 2500])
async def test_how_far_a_group_is_behind_however_far_that_is(fresh_valkey: str, committed: int) -> None:
    items = [record(i) for i in range(2500)]
    await written(RedisSink(fresh_valkey, RAW, MEMORY), items)
    with redis.Redis.from_url(fresh_valkey) as client:
        stream = redis_log.stream_key("raw", partition_of("demo/m1"))
        passed = client.xrange(stream, count=committed) if committed else []
        if passed:
            client.hset(redis_log.offsets_key("raw", "g"), stream, passed[-1][0])
    assert await redis_log.RedisGauge(fresh_valkey).lag("raw", "g") == 2500 - committed


async def test_a_reader_that_lost_its_lease_commits_nothing(fresh_valkey: str) -> None:
    await written(RedisSink(fresh_valkey, RAW, MEMORY), [record()])
    source = RedisSource(fresh_valkey, RAW, "g")
    await source.open()
    delivery = await next_delivery(source)
    with redis.Redis.from_url(fresh_valkey) as client:
        client.set(redis_log.lease_key("raw", "g"), "somebody else")
        with pytest.raises(ConfigError, match="another reader"):
            await source.commit(delivery)
        assert not client.exists(redis_log.offsets_key("raw", "g"))
    await source.close()


async def test_a_lease_that_lapsed_and_nobody_took_is_taken_again(
    fresh_valkey: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_of, "LEASE_MS", LONG_MS)
    await written(RedisSink(fresh_valkey, RAW, MEMORY), [record()])
    async with opened(RedisSource(fresh_valkey, RAW, "g")) as source:
        delivery = await next_delivery(source)
        with redis.Redis.from_url(fresh_valkey) as client:
            lease = client.getdel(redis_log.lease_key("raw", "g"))
            await source.commit(delivery)
            assert client.get(redis_log.lease_key("raw", "g")) == lease
    assert await redis_log.RedisGauge(fresh_valkey).lag("raw", "g") == 0


async def test_a_reader_goes_on_behind_who_held_its_lease_meanwhile(
    fresh_valkey: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_of, "LEASE_MS", LONG_MS)
    monkeypatch.setattr(source_of, "TRIM_S", 1e9)  # an offset that went back would show
    async with (
        opened(RedisSink(fresh_valkey, RAW, MEMORY)) as sink,
        opened(RedisSource(fresh_valkey, RAW, "g")) as stopped,
    ):
        await sink.write([record(1)])
        in_hand = await next_delivery(stopped)
        with redis.Redis.from_url(fresh_valkey) as client:
            client.delete(redis_log.lease_key("raw", "g"))  # as it lapses while a process stands still
        await sink.write([record(2)])
        async with opened(RedisSource(fresh_valkey, RAW, "g")) as other:
            await other.commit(await next_delivery(other))
        await stopped.commit(in_hand)
        assert await redis_log.RedisGauge(fresh_valkey).lag("raw", "g") == 0
        await sink.write([record(3)])
        assert (await next_delivery(stopped)).items == [record(3)]


async def test_who_keeps_a_lease_takes_it_from_nobody(fresh_valkey: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another takes it while the keeper waits for an answer, as when a process stands still between two calls."""
    monkeypatch.setattr(source_of, "LEASE_MS", 2_000)
    with redis.Redis.from_url(fresh_valkey) as client, Proxy(fresh_valkey) as proxy:

        def looked() -> int:
            return int(client.info("commandstats").get("cmdstat_get", {}).get("calls", 0))

        async with opened(RedisSource(proxy.url, RAW, "g")):
            proxy.set(slow(latency=0.5))
            before = looked()
            await until(lambda: looked() > before)
            client.set(redis_log.lease_key("raw", "g"), "somebody else")
            await until(lambda: looked() > before + 1)
            assert client.get(redis_log.lease_key("raw", "g")) == b"somebody else"


async def test_it_is_trimmed_behind_the_slowest_group(fresh_valkey: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_of, "TRIM_S", -1.0)
    await written(RedisSink(fresh_valkey, RAW, MEMORY), [record(i) for i in range(5)])
    fast, slow = RedisSource(fresh_valkey, RAW, "fast"), RedisSource(fresh_valkey, RAW, "slow")
    await fast.open()
    await slow.open()

    await fast.commit(await next_delivery(fast))
    assert held_on_redis(fresh_valkey, "raw") == 5
    assert await redis_log.RedisGauge(fresh_valkey).lag("raw", "slow") == 5
    await slow.commit(await next_delivery(slow))
    assert held_on_redis(fresh_valkey, "raw") == 0
    assert await redis_log.RedisGauge(fresh_valkey).lag("raw", "slow") == 0
    await fast.close()
    await slow.close()


async def test_a_writer_waits_while_the_log_is_full(fresh_valkey: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_of, "TRIM_S", -1.0)
    with redis.Redis.from_url(fresh_valkey) as client:
        idle = client.info("memory")["used_memory"]
    sink = RedisSink(fresh_valkey, RAW, 2 * (idle + (1 << 20)))  # room for one more megabyte
    await sink.open()
    await sink.write([record(1, body=bytes(3 << 20))])
    waiting = asyncio.create_task(sink.write([record(2)]))
    await asyncio.sleep(0.3)
    assert not waiting.done()
    source = RedisSource(fresh_valkey, RAW, "g")
    await source.open()
    await source.commit(await next_delivery(source))
    await asyncio.wait_for(waiting, 5)
    await source.close()
    await sink.close()


async def test_a_writer_that_waits_in_vain_is_told_for_whom(fresh_valkey: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sink_of, "PATIENCE_S", 0.2)
    with redis.Redis.from_url(fresh_valkey) as client:
        idle = client.info("memory")["used_memory"]
    async with (
        opened(RedisSource(fresh_valkey, RAW, "gone")) as gone,
        opened(RedisSource(fresh_valkey, RAW, "g")) as g,
        opened(RedisSink(fresh_valkey, RAW, 2 * (idle + (1 << 20)))) as sink,
    ):
        await sink.write([record(1, body=bytes(3 << 20))])
        await g.commit(await next_delivery(g))
        with pytest.raises(ServiceError, match="full for raw: it waits for group 'gone' of raw, which is 1 entr"):
            await sink.write([record(2)])
        await gone.close()
        with pytest.raises(ServiceError, match=r"has no reader: .* `SREM raw:groups gone`"):
            await sink.write([record(2)])
        with redis.Redis.from_url(fresh_valkey) as client:
            assert client.execute_command("SREM raw:groups gone") == 1  # as the sentence says
        monkeypatch.setattr(source_of, "TRIM_S", -1.0)
        await written(RedisSink(fresh_valkey, RAW, MEMORY), [record(3)])
        await g.commit(await next_delivery(g))
        await sink.write([record(2)])


async def test_a_full_log_holds_the_hub_and_goes_on_when_its_readers_do(
    fresh_valkey: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An ingestor's flow from a source that keeps what is not committed, as the hub does."""
    monkeypatch.setattr(sink_of, "PATIENCE_S", 0.2)
    monkeypatch.setattr(source_of, "TRIM_S", -1.0)
    with redis.Redis.from_url(fresh_valkey) as client:
        idle = client.info("memory")["used_memory"]
    hub = MemoryLog([record(i, body=bytes(1 << 20)) for i in range(12)], batch=1, ends=True)
    raw, stop = RedisSink(fresh_valkey, RAW, 2 * (idle + (4 << 20))), runtime.Stop()
    ingestor = asyncio.create_task(runtime.run_flow(hub, lambda records: records.sink(raw.write), (raw,), stop))
    await until(lambda: "the log is full for raw" in caplog.text)
    held = hub.committed
    await asyncio.sleep(1.0)  # it has tried again by then
    assert 4 <= held == hub.committed < 7
    got: list[int] = []
    async with opened(RedisSource(fresh_valkey, RAW, "processor")) as source:
        while len(got) < 12:
            delivery = await asyncio.wait_for(next_delivery(source), 20)
            got += [item.hub_sequence for item in delivery.items]
            await source.commit(delivery)
    await asyncio.wait_for(ingestor, 10)
    assert got == list(range(12))

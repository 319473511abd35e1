"""What a log on Kafka survives besides a broker that dies: one that comes back without its data, and a slow link."""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import log_ends
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from faults.proxy import BLACK_HOLE, PASS, Mode, Proxy, slow
from log_ends import next_delivery, opened
from records import record

from duco_workbench import kafka_log, runtime
from duco_workbench.errors import ConfigError, ServiceError
from duco_workbench.local.kafka import Broker
from duco_workbench.log import log_gauge, log_sink, log_source
from duco_workbench.log_address import KafkaAccess, LogAddress
from duco_workbench.model import Record
from duco_workbench.ports import Delivery
from duco_workbench.sinks import kafka as sink_of
from duco_workbench.sources import kafka as source_of
from duco_workbench.testing import free_port
from duco_workbench.topics import DEAD_LETTERS, PARTITIONS, RAW, Topic

MACHINES = [f"m{i}" for i in range(40)]  # they are in all partitions


@dataclass
class Plant:
    """A broker, and the link that all its clients reach it by."""

    broker: Broker
    link: Proxy

    def address(self, prefix: str) -> LogAddress:
        return LogAddress(self.link.url, kafka=KafkaAccess(prefix=prefix))

    def lose(self) -> None:
        """It is back, and has nothing of what it had."""
        self.broker.kill()
        shutil.rmtree(self.broker.folder / "data")
        self.broker.start()


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    port = free_port()
    with Proxy(f"kafka://127.0.0.1:{port}") as link:
        told = {"advertised.listeners": link.url.replace("kafka", "PLAINTEXT")}
        broker = Broker(tmp_path_factory.mktemp("kafka"), port, free_port(), told)
        broker.start()
        yield Plant(broker, link)
        broker.kill()


def rounds(*numbers: int) -> list[Record]:
    """One message of each machine for each number."""
    return [record(number, chassis_id=name) for number in numbers for name in MACHINES]


def ids(items: Any) -> set[str]:
    return {item.message_id for item in items}


until = partial(log_ends.until, seconds=60)


async def written_in_the_end(sink: Any, items: list[Record]) -> None:
    async with asyncio.timeout(60):
        assert await runtime.retry(lambda: sink.write(items), runtime.Stop())


async def all_of(source: Any, wanted: set[str]) -> set[str]:
    """What comes, committed, until all of ``wanted`` have come. What fails is read again, as a flow does."""
    seen: set[str] = set()
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(ServiceError):
                async for delivery in source.deliveries():
                    seen |= ids(delivery.items)
                    if delivery.items:
                        await source.commit(delivery)
                    if seen >= wanted:
                        return seen


@contextlib.asynccontextmanager
async def reading(address: LogAddress, topic: Topic[Any], group: str) -> AsyncIterator[set[str]]:
    """A process's flow, in this one; what it has read."""
    got: set[str] = set()
    stop = runtime.Stop()

    async def take(items: list[Record]) -> None:
        got.update(ids(items))

    source = log_source(address, topic, group)
    task = asyncio.create_task(runtime.run_flow(source, lambda stream: stream.sink(take), (), stop))
    try:
        yield got
    finally:
        stop.set()
        await asyncio.wait_for(task, 20)


@contextlib.asynccontextmanager
async def one_in_hand(address: LogAddress) -> AsyncIterator[tuple[Any, Any, Delivery[Record]]]:
    """Both ends of the raw log, and its first round, which was read and is not committed."""
    async with opened(log_sink(address, RAW)) as sink, opened(log_source(address, RAW, "g")) as source:
        await sink.write(rounds(1))
        yield sink, source, await next_delivery(source)


async def test_after_a_loss_of_all_data_the_log_is_made_again_and_read_from_its_beginning(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sink_of, "WRITE_S", 2.0)
    monkeypatch.setattr(source_of, "PROBE_S", 2.0)
    monkeypatch.setattr(source_of, "HAND_OVER_S", 60.0)  # a busy machine gets its broker back late
    address = plant.address("lost.")
    holder = log_source(address, RAW, "holds")
    async with (
        opened(log_sink(address, RAW)) as sink,
        opened(holder),
        reading(address, RAW, "reads") as got,
        reading(address, DEAD_LETTERS, "waits"),
        log_gauge(address) as gauge,
    ):
        await sink.write(rounds(1))
        held = await next_delivery(holder)
        await until(lambda: got >= ids(rounds(1)))
        await asyncio.to_thread(plant.lose)
        await written_in_the_end(sink, rounds(2))
        await sink.write(rounds(3, 4))  # so what was in hand ends within the new log
        await until(lambda: holder._consumer._coordinator.generation < 0)  # the new broker does not know it
        await holder.commit(held)
        new = ids(rounds(2, 3, 4))
        assert await all_of(holder, new) == new
        await until(lambda: got >= new)
        async with asyncio.timeout(60):
            while not await gauge.tails("dead-letters"):  # nobody writes it: its reader has made it
                await asyncio.sleep(0.1)


async def test_a_topic_that_comes_back_with_fewer_partitions_ends_both_sides_with_a_sentence(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_of, "PROBE_S", 0.5)
    address = plant.address("fewer.")
    async with one_in_hand(address) as (sink, source, held):
        await source.commit(held)
        await make_anew(address, 1)
        await sink._producer.client.force_metadata_update()
        with pytest.raises(ServiceError, match=r"fewer\.raw has no partition \d any more"):
            await sink.write([record(2, chassis_id=name) for name in MACHINES])
        with pytest.raises(ConfigError, match=r"fewer\.raw has 1 partitions and must have 8"):
            await sink.write(rounds(2))
        with pytest.raises(ConfigError, match=r"fewer\.raw has 1 partitions and must have 8"):
            await all_of(source, ids(rounds(2)))


async def make_anew(address: LogAddress, partitions: int) -> None:
    """As a broker does by itself that may create what it is asked for."""
    name = kafka_log.topic_name(address, "raw")
    admin = AIOKafkaAdminClient(**kafka_log.client_options(address))
    await admin.start()
    await admin.delete_topics([name])
    async with asyncio.timeout(20):
        while (await admin.create_topics([NewTopic(name, partitions, 1)])).topic_errors[0][1]:
            await asyncio.sleep(0.1)
    await admin.close()


async def test_a_batch_from_before_a_division_is_not_committed_after_it(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its offsets may be those of a log that is gone, also where the partitions are the reader's own again."""
    monkeypatch.setattr(source_of, "HAND_OVER_S", 0.2)
    address = plant.address("divided.")
    async with one_in_hand(address) as (_, source, held):
        async with opened(log_source(address, RAW, "g")) as other:
            await next_delivery(other)
        await until(lambda: len(source._consumer.assignment()) == PARTITIONS and not source._turn.is_divided_anew())
        await source.commit(held)
        async with log_gauge(address) as gauge:
            assert await gauge.lag("raw", "g") == len(held.items)
            assert await all_of(source, ids(held.items)) == ids(rounds(1))
            assert await gauge.lag("raw", "g") == 0


async def test_a_slow_link_takes_a_batch_once_and_a_dead_one_ends_the_write(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """8 requests of half a megabyte at 1 MB/s: an answer each half second, and twice the time-out for all of them."""
    acknowledged = counted(monkeypatch)
    monkeypatch.setattr(sink_of, "WRITE_S", 2.0)
    address = plant.address("slow.")
    items = [record(i, body=random.Random(i).randbytes(250_000)) for i in range(16)]
    async with opened(log_sink(address, RAW)) as sink:
        with during(plant.link, slow(rate=1 << 20)):
            await sink.write(items)
        async with log_gauge(address) as gauge:
            assert sum((await gauge.tails("raw")).values()) == len(items)
        acknowledged.clear()
        with during(plant.link, slow(rate=1 << 20)):
            writing = asyncio.create_task(sink.write(items))
            await until(lambda: bool(acknowledged))
            with during(plant.link, BLACK_HOLE), pytest.raises(ServiceError, match="topic raw: no answer in time"):
                await asyncio.wait_for(writing, 20)
        assert len(acknowledged) < len(items)


def counted(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Gets every record that is acknowledged."""
    seen: list[Any] = []
    done = sink_of._done

    def note(patience: asyncio.Timeout, sent: asyncio.Future[Any]) -> None:
        if not sent.cancelled() and sent.exception() is None:
            seen.append(sent)
        done(patience, sent)

    monkeypatch.setattr(sink_of, "_done", note)
    return seen


@contextlib.contextmanager
def during(link: Proxy, mode: Mode) -> Iterator[None]:
    link.set(mode)
    try:
        yield
    finally:
        link.set(PASS)

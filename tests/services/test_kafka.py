"""What only a log on Kafka has: readers that share, hand-over, retention, limits of a topic, TLS and passwords."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import log_ends
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from kafka_kit import PASSWORD, SCRAM, USER, Doors
from log_ends import next_delivery, opened, written
from records import record

from duco_workbench import kafka_log, runtime
from duco_workbench.errors import ConfigError, ServiceError
from duco_workbench.local import kafka
from duco_workbench.log import log_gauge, log_sink, log_source
from duco_workbench.log_address import KafkaAccess, LogAddress
from duco_workbench.model import Record
from duco_workbench.sources import kafka as source_of
from duco_workbench.testing import free_port
from duco_workbench.topics import PARTITIONS, RAW, partition_of

MACHINES = [f"m{i}" for i in range(40)]


def test_a_broker_whose_id_looks_like_an_option_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka, "_new_id", lambda: "-oecKj6ZSRCLqbjd2kdLCg")
    broker = kafka.Broker(tmp_path, free_port(), free_port())
    broker.start()
    broker.stop()


def test_a_broker_says_where_it_is_told_that_a_setting_is_wrong(tmp_path: Path) -> None:
    broker = kafka.Broker(tmp_path, free_port(), free_port(), {"node.id": "one"})
    with pytest.raises(ServiceError, match=f"does not take its settings; its log: {tmp_path}/kafka.log"):
        broker.start()
    assert "Invalid value one" in (tmp_path / "kafka.log").read_text()


def round_of(number: int) -> list[Record]:
    """One message of each machine; they are in all partitions."""
    return [record(number, chassis_id=name) for name in MACHINES]


def ids(items: Any) -> list[str]:
    return [item.message_id for item in items]


until = partial(log_ends.until, seconds=15)


class Reader:
    """A process's flow, in this one."""

    def __init__(self, address: LogAddress) -> None:
        self.got: list[str] = []
        self._stop = runtime.Stop()
        source = log_source(address, RAW, "g")
        self._task = asyncio.create_task(runtime.run_flow(source, lambda s: s.sink(self._take), (), self._stop))

    async def _take(self, items: list[Record]) -> None:
        self.got += ids(items)

    async def stop(self) -> None:
        self._stop.set()
        await asyncio.wait_for(self._task, 10)


def test_machines_of_tests_are_in_all_partitions() -> None:
    assert {partition_of(f"demo/{name}") for name in MACHINES} == set(range(PARTITIONS))


async def test_each_machine_has_the_partition_it_has_on_redis(on_kafka: LogAddress) -> None:
    await written(log_sink(on_kafka, RAW), round_of(1))
    async with log_gauge(on_kafka) as gauge:
        tails = {place.partition: tail for place, tail in (await gauge.tails("raw")).items()}
    assert tails == Counter(partition_of(f"demo/{name}") for name in MACHINES)


async def test_readers_share_and_hand_over_without_loss_or_repetition(on_kafka: LogAddress) -> None:
    async with opened(log_sink(on_kafka, RAW)) as sink:
        sent: list[str] = []

        async def send() -> None:
            batch = round_of(len(sent) // len(MACHINES))
            await sink.write(batch)
            sent.extend(ids(batch))

        async def keep_sending_until(check: Callable[[], bool]) -> None:
            async with asyncio.timeout(15):
                while not check():
                    await send()
                    await asyncio.sleep(0.02)

        first = Reader(on_kafka)
        await keep_sending_until(lambda: len(first.got) > 0)
        second = Reader(on_kafka)
        await keep_sending_until(lambda: len(second.got) > 200)
        machines = len({name.split(":")[0] for name in second.got})
        assert 0 < machines < len(MACHINES)
        await first.stop()
        started = time.monotonic()
        since = len(sent)
        await send()
        await until(lambda: set(sent[since:]) <= set(second.got))
        assert time.monotonic() - started < 15
        await until(lambda: len(first.got) + len(second.got) >= len(sent))
        await second.stop()
    assert Counter(first.got + second.got) == Counter(sent)  # each once
    for name in MACHINES:
        seen = [one for one in first.got + second.got if one.startswith(f"{name}:")]
        assert seen == [one for one in sent if one.startswith(f"{name}:")]


async def test_a_batch_in_hand_is_committed_before_its_machines_go(on_kafka: LogAddress) -> None:
    await written(log_sink(on_kafka, RAW), round_of(1))
    async with opened(log_source(on_kafka, RAW, "g")) as first:
        mine = await next_delivery(first)  # before there is another to share with
        async with opened(log_source(on_kafka, RAW, "g")) as second:
            theirs: list[str] = []

            async def read() -> None:
                async for delivery in second.deliveries():
                    theirs.extend(ids(delivery.items))

            reading = asyncio.create_task(read())
            await until(first._turn.is_divided_anew)  # and waits for the batch
            await first.commit(mine)
            await until(lambda: not first._turn.is_divided_anew())
            await written(log_sink(on_kafka, RAW), round_of(2))
            rest = await next_delivery(first)
            await until(lambda: len(theirs) + len(rest.items) >= len(MACHINES))
            reading.cancel()
    assert sorted(theirs + ids(rest.items)) == sorted(set(ids(round_of(1) + round_of(2))) - set(ids(mine.items)))


async def test_a_batch_its_group_did_not_wait_for_is_read_again_and_ends_nobody(
    on_kafka: LogAddress, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(source_of, "HAND_OVER_S", 0.2)
    await written(log_sink(on_kafka, RAW), round_of(1))
    async with opened(log_source(on_kafka, RAW, "g")) as slow:
        held = await next_delivery(slow)
        async with opened(log_source(on_kafka, RAW, "g")) as other:
            again = await asyncio.wait_for(next_delivery(other), 15)
            assert set(ids(again.items)) < set(ids(held.items))
            await slow.commit(held)
            assert "divided anew before a batch of 40 was committed" in caplog.text
            await other.commit(again)
            rest = await asyncio.wait_for(next_delivery(slow), 15)
            await slow.commit(rest)
    assert sorted(ids([*again.items, *rest.items])) == sorted(ids(held.items))
    async with log_gauge(on_kafka) as gauge:
        assert await gauge.lag("raw", "g") == 0


HOLDS = """
import asyncio, sys
from duco_workbench.log import log_source
from duco_workbench.log_address import KafkaAccess, LogAddress
from duco_workbench.sources import kafka
from duco_workbench.topics import RAW

async def main():
    kafka.SESSION_S = float(sys.argv[4])
    address = LogAddress(sys.argv[1], instance=sys.argv[3], kafka=KafkaAccess(prefix=sys.argv[2]))
    source = log_source(address, RAW, "g")
    await source.open()
    async for delivery in source.deliveries():
        if delivery.items:
            print("holds", len(delivery.items), flush=True)
            await asyncio.sleep(600)

asyncio.run(main())
"""


async def kill_a_reader_of(address: LogAddress, session_s: float = source_of.SESSION_S) -> None:
    """After one round was written, which it has in hand; brokers think it alive for ``session_s``."""
    await written(log_sink(address, RAW), round_of(1))
    command = [sys.executable, "-c", HOLDS, address.url, address.kafka.prefix, address.instance, str(session_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert (await asyncio.to_thread(process.stdout.readline)).startswith("holds")
        process.send_signal(signal.SIGKILL)


async def test_a_killed_reader_that_comes_back_by_its_name_reads_on_at_once(on_kafka: LogAddress) -> None:
    named = replace(on_kafka, instance="processor-1")
    await kill_a_reader_of(named, session_s=120)
    reader = Reader(named)
    await until(lambda: set(reader.got) == set(ids(round_of(1))))  # before anybody missed it
    await reader.stop()
    again = Reader(named)  # and after a stop, which does not give its place away either
    await written(log_sink(on_kafka, RAW), round_of(2))
    await until(lambda: set(again.got) == set(ids(round_of(2))))
    await again.stop()


async def test_what_a_killed_reader_had_is_read_on_within_15_s(on_kafka: LogAddress) -> None:
    await kill_a_reader_of(on_kafka)
    killed = time.monotonic()
    reader = Reader(on_kafka)
    await until(lambda: set(reader.got) == set(ids(round_of(1))))
    assert time.monotonic() - killed < 15
    await reader.stop()


async def topic_of(address: LogAddress, partitions: int, **settings: str) -> None:
    admin = AIOKafkaAdminClient(**kafka_log.client_options(address))
    await admin.start()
    names = {name.replace("_", "."): text for name, text in settings.items()}
    await admin.create_topics([NewTopic(kafka_log.topic_name(address, "raw"), partitions, 1, topic_configs=names)])
    await admin.close()


async def test_a_topic_with_other_partitions_is_refused(on_kafka: LogAddress) -> None:
    await topic_of(on_kafka, 3)
    for end in (log_sink(on_kafka, RAW), log_source(on_kafka, RAW, "g")):
        with pytest.raises(ConfigError, match=r"\.raw has 3 partitions and must have 8: .*DUCO_KAFKA_PREFIX"):
            await end.open()


async def test_a_record_too_large_for_its_topic_is_said_and_nothing_else_is_hurt(on_kafka: LogAddress) -> None:
    await topic_of(on_kafka, PARTITIONS, max_message_bytes="20000")
    async with opened(log_sink(on_kafka, RAW)) as sink:
        for size in (30_000, 17 << 20):
            with pytest.raises(ConfigError, match=r"\.raw does not take a record this large.*max\.message\.bytes"):
                await sink.write([record(1, body=random_bytes(size))])
        await sink.write([record(2)])
    async with opened(log_source(on_kafka, RAW, "g")) as source:
        assert (await next_delivery(source)).items == [record(2)]


def random_bytes(size: int) -> bytes:
    import random

    return random.Random(1).randbytes(size)


async def test_a_producer_whose_numbering_broke_is_replaced(on_kafka: LogAddress) -> None:
    async with opened(log_sink(on_kafka, RAW)) as sink:
        await sink.write([record(1)])
        place = TopicPartition(kafka_log.topic_name(on_kafka, "raw"), partition_of("demo/m1"))
        sink._producer._txn_manager.increment_sequence_number(place, 7)  # as if seven had got lost
        with pytest.raises(ServiceError, match="OutOfOrderSequenceNumber"):
            await sink.write([record(2)])
        await sink.write([record(2)])
    async with opened(log_source(on_kafka, RAW, "g")) as source:
        assert (await next_delivery(source)).items == [record(1), record(2)]


async def test_a_topic_of_ours_takes_large_records(on_kafka: LogAddress) -> None:
    items = [record(i, body=random_bytes(3 << 20)) for i in range(3)]
    await written(log_sink(on_kafka, RAW), items)
    got: list[Record] = []
    async with opened(log_source(on_kafka, RAW, "g")) as source:
        while len(got) < 3:
            delivery = await next_delivery(source)
            got += delivery.items
            await source.commit(delivery)
    assert got == items


async def test_what_was_deleted_before_it_was_read_is_said(
    on_kafka: LogAddress, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(log_sink(on_kafka, RAW)) as sink:
        await sink.write([record(0)])
        async with opened(log_source(on_kafka, RAW, "g")) as source:
            await source.commit(await next_delivery(source))
        await sink.write([record(i) for i in range(1, 6)])
        await delete_before(on_kafka, partition_of("demo/m1"), 4)
        async with opened(log_source(on_kafka, RAW, "g")) as source:
            assert (await next_delivery(source)).items == [record(4), record(5)]
    assert "3 messages of" in caplog.text
    assert "were deleted before" in caplog.text


async def delete_before(address: LogAddress, partition: int, offset: int) -> None:
    admin = AIOKafkaAdminClient(**kafka_log.client_options(address))
    await admin.start()
    place = TopicPartition(kafka_log.topic_name(address, "raw"), partition)
    await admin.delete_records({place: RecordsToDelete(before_offset=offset)})
    await admin.close()


def secured(doors: Doors, log: LogAddress, security: str, **access: str) -> LogAddress:
    port = doors.password if security == "SASL_SSL" else doors.certificate
    known = {"prefix": log.kafka.prefix, "ca": str(doors.folder / "ca.pem"), **access}
    return LogAddress(f"kafka://127.0.0.1:{port}", kafka=KafkaAccess(security=security, **known))


async def test_certificates_and_passwords_open_the_log(kafka_doors: Doors, on_kafka: LogAddress) -> None:
    client = str(kafka_doors.folder / "client.pem")
    by_certificate = secured(kafka_doors, on_kafka, "SSL", cert=client)
    by_password = secured(kafka_doors, on_kafka, "SASL_SSL", user=USER, password=PASSWORD)
    await written(log_sink(by_certificate, RAW), [record(1)])
    async with opened(log_source(by_password, RAW, "g")) as source:
        await source.commit(await next_delivery(source))
    async with log_gauge(by_password) as gauge:
        assert await gauge.lag("raw", "g") == 0


@pytest.mark.parametrize("mechanism", SCRAM)
async def test_a_password_that_stays_at_home_opens_the_log(
    kafka_doors: Doors, on_kafka: LogAddress, mechanism: str
) -> None:
    mine = secured(kafka_doors, on_kafka, "SASL_SSL", mechanism=mechanism, user=USER, password=SCRAM[mechanism])
    await written(log_sink(mine, RAW), [record(1)])
    async with opened(log_source(mine, RAW, "g")) as source:
        await source.commit(await next_delivery(source))
    async with log_gauge(mine) as gauge:
        assert await gauge.lag("raw", "g") == 0
    for wrong in ({"password": PASSWORD}, {"user": "nobody"}):
        other = replace(mine, kafka=replace(mine.kafka, **wrong))
        with pytest.raises(ServiceError, match="the log does not answer"):
            await log_sink(other, RAW).open()


async def test_a_door_that_stays_shut_says_so(kafka_doors: Doors, on_kafka: LogAddress) -> None:
    for access in ({"user": USER, "password": "wrong"}, {"user": USER, "password": PASSWORD, "ca": ""}):
        with pytest.raises(ServiceError, match="the log does not answer"):
            await log_sink(secured(kafka_doors, on_kafka, "SASL_SSL", **access), RAW).open()
    with pytest.raises(ConfigError, match=r"DUCO_KAFKA_CA.*nowhere"):
        log_sink(secured(kafka_doors, on_kafka, "SSL", ca="/nowhere/ca.pem"), RAW)
    for changes, name in (
        ({"security": "TLS"}, "DUCO_KAFKA_SECURITY"),
        ({"security": "SASL_SSL"}, "DUCO_KAFKA_USER"),
        ({"security": "SASL_SSL", "mechanism": "LDAP", "user": USER}, "DUCO_KAFKA_MECHANISM"),
    ):
        with pytest.raises(ConfigError, match=name):
            replace(on_kafka, kafka=KafkaAccess(**changes))

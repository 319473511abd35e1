"""Reads one topic of the log from Kafka for one group: each machine in order, shared with the group's other readers.

A reader that comes or goes makes all of them stop, finish and commit the batch in hand, and divide the partitions
anew: nothing is read twice. Only what a reader was killed with, or had in hand for longer than its group waits, is
delivered again, to the partition's new reader.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Generic, TypeVar

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import CommitFailedError, IllegalGenerationError, IllegalStateError

from .. import kafka_log
from ..errors import ServiceError
from ..log_address import LogAddress
from ..ports import Delivery
from ..topics import PARTITIONS, Topic
from .portion import Portion

T = TypeVar("T")
log = logging.getLogger(__name__)

SESSION_S = 6.0  # brokers allow no less; a killed reader's machines are read on after some 7 s
HEARTBEAT_S = 1.5
HAND_OVER_S = 9.0  # what a reader gets to finish its batch when partitions are divided anew …
REBALANCE_S = 12.0  # … which is over when all have said so, or after this
POLL_MS = 250  # an idle reader gives an empty delivery this often
PROBE_S = 5.0  # an idle client does not say that its brokers are away: it is asked this often
STUCK_S = 60.0  # a group that has not agreed by then is joined anew
COMMIT_S = 5.0
BYTES = 8 << 20  # fetched at once, of which a partition's share is
SHARE = 1 << 20
ENDLESS_MS = 7 * 86_400_000


class KafkaSource(Generic[T]):
    """At least once: what was not committed is delivered again after a restart, or to another reader.

    ``open``, ``deliveries`` and ``commit`` raise ServiceError when the log is away; the first two also what
    :func:`kafka_log.prepare` does: a broker that comes back without its data has its topic made again.
    """

    def __init__(self, address: LogAddress, topic: Topic[T], group: str) -> None:
        self._address, self._topic = address, topic
        self._name = kafka_log.topic_name(address, topic.name)
        self._group = kafka_log.group_name(address, topic.name, group)
        self._options = kafka_log.client_options(address)
        self._consumer: AIOKafkaConsumer | None = None
        self._in_hand: dict[TopicPartition, int] = {}  # the first offsets of what is not committed
        self._next: dict[TopicPartition, int] = {}  # the offset that should come; unknown after a division
        self._turn = _Turn(self._forget)
        self._asked = 0.0

    async def open(self) -> None:
        await self._started()

    async def _started(self) -> AIOKafkaConsumer:
        if self._consumer is not None:
            return self._consumer
        await kafka_log.prepare(self._address, self._topic.name)
        consumer = self._make()
        try:
            with kafka_log.service_errors("the log does not answer"):
                async with asyncio.timeout(kafka_log.REQUEST_S):
                    await consumer.start()
        except ServiceError:
            await kafka_log.closed(consumer)
            raise
        self._forget()
        self._turn = _Turn(self._forget)
        consumer.subscribe([self._name], listener=self._turn)
        _commit_as_member_only(consumer)
        self._consumer, self._asked = consumer, time.monotonic()
        return consumer

    def _forget(self) -> None:
        """After a division all begins at what is committed. Offsets from before it may be those of a log that is gone:
        a broker that came back without its data counts from 0 again."""
        self._in_hand.clear()
        self._next.clear()

    def _make(self) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            group_id=self._group,
            # A member that comes back by this name has its partitions at once, without a division.
            group_instance_id=self._address.instance or None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            # Every division makes all readers start from what is committed, so nothing is gained by keeping partitions
            # where they were; of one topic this assignor makes an even division, and it has no state to get wrong.
            partition_assignment_strategy=(RangePartitionAssignor,),
            session_timeout_ms=round(SESSION_S * 1000),
            heartbeat_interval_ms=round(HEARTBEAT_S * 1000),
            rebalance_timeout_ms=round(REBALANCE_S * 1000),
            # A batch may wait for a store for hours. A reader whose loop runs is alive: its heartbeat says so.
            max_poll_interval_ms=ENDLESS_MS,
            fetch_max_bytes=BYTES,
            max_partition_fetch_bytes=SHARE,
            **self._options,
        )

    async def deliveries(self) -> AsyncIterator[Delivery[T]]:
        """An empty delivery means that nothing was new. Raises: ServiceError, ConfigError."""
        while True:
            consumer = await self._started()
            delivery = await self._read(consumer)
            if not delivery.items:
                await self._probe(consumer)
            yield delivery

    async def _read(self, consumer: AIOKafkaConsumer) -> Delivery[T]:
        """Raises: ServiceError; then the client is of no use any more, and the group is joined anew."""
        try:
            with kafka_log.service_errors(f"reading the log's topic {self._topic.name}"):
                if self._turn.is_divided_anew():
                    await asyncio.sleep(POLL_MS / 1000)
                    return Delivery([])
                self._rewind(consumer)
                return (await self._portion(consumer)).delivery()
        except ServiceError:
            await self._drop()
            raise

    async def _portion(self, consumer: AIOKafkaConsumer) -> Portion[T]:
        """Waits for the first records only; nor for partitions to be divided anew, which waits for this batch."""
        portion, wait = Portion(self._topic), POLL_MS
        while not portion.is_full and not self._turn.is_divided_anew():
            found = await _records(consumer, self._topic.round, wait)
            if not found:
                break
            self._turn.take()
            await self._warn_of_lost(consumer, {place: records[0].offset for place, records in found.items()})
            self._add(portion, found)
            wait = 0
        return portion

    def _rewind(self, consumer: AIOKafkaConsumer) -> None:
        """What was delivered and not committed is delivered again."""
        for place, offset in self._in_hand.items():
            if place in consumer.assignment():
                consumer.seek(place, offset)
        self._in_hand.clear()

    async def _probe(self, consumer: AIOKafkaConsumer) -> None:
        """Raises: ServiceError; the client goes on by itself once its brokers are back, unless they lost the topic."""
        if time.monotonic() > self._asked + PROBE_S:
            with kafka_log.service_errors("the log does not answer"):
                async with asyncio.timeout(PROBE_S):
                    await consumer.committed(TopicPartition(self._name, 0))
            if len(consumer.partitions_for_topic(self._name) or ()) < PARTITIONS:
                await self._drop()  # the next client makes it again, or says what is wrong with it
                raise ServiceError(f"Kafka has lost its topic {self._name}, or partitions of it")
            self._asked = time.monotonic()

    def _add(self, portion: Portion[T], found: dict[TopicPartition, list[Any]]) -> None:
        self._asked = time.monotonic()
        for place, records in found.items():
            self._in_hand.setdefault(place, records[0].offset)
            for record in records:
                headers = {name: text.decode() for name, text in record.headers}
                portion.add(str(place.partition), record.offset + 1, headers, record.value)
            self._next[place] = records[-1].offset + 1

    async def _warn_of_lost(self, consumer: AIOKafkaConsumer, firsts: dict[TopicPartition, int]) -> None:
        """Offsets have no gaps, so one says that the brokers' retention was shorter than this group was behind."""
        for place, offset in firsts.items():
            if place not in self._next:
                async with asyncio.timeout(PROBE_S):
                    self._next[place] = await consumer.committed(place) or offset
            if offset > self._next[place]:
                log.error(
                    "%s messages of %s, partition %d, were deleted before %s had read them: raise its retention.ms",
                    f"{offset - self._next[place]:,}", place.topic, place.partition, self._group,
                )  # fmt: skip

    async def commit(self, delivery: Delivery[Any]) -> None:
        """Exactly the delivery's offsets, unless the partitions were divided anew since: then it is delivered again."""
        offsets = {TopicPartition(self._name, int(p)): offset for p, offset in delivery.position.items()}
        try:
            with kafka_log.service_errors(f"committing {self._topic.name} for {self._group}"):
                if self._consumer is not None:
                    await self._commit(self._consumer, offsets)
        except _MovedOn:
            log.warning(
                "the readers of %s were divided anew before a batch of %d was committed: it is delivered again",
                self._group, len(delivery.items),
            )  # fmt: skip
        self._in_hand.clear()
        self._turn.give()

    async def _commit(self, consumer: AIOKafkaConsumer, offsets: dict[TopicPartition, int]) -> None:
        if not offsets.keys() <= self._next.keys():
            raise _MovedOn
        try:
            async with asyncio.timeout(COMMIT_S):
                await consumer.commit(offsets)
        except (CommitFailedError, IllegalStateError) as error:
            raise _MovedOn from error

    async def close(self) -> None:
        self._turn.give()
        await self._drop()

    async def _drop(self) -> None:
        consumer, self._consumer = self._consumer, None
        self._turn.give()
        if consumer is not None:
            await kafka_log.closed(consumer)


async def _records(consumer: AIOKafkaConsumer, most: int, wait_ms: int) -> dict[TopicPartition, list[Any]]:
    """While its partitions are divided anew a consumer gives none; it waits for them longer than it is told to."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(4 * POLL_MS / 1000):
            return dict(await consumer.getmany(timeout_ms=wait_ms, max_records=most))
    return {}


def _commit_as_member_only(consumer: AIOKafkaConsumer) -> None:
    """A client that a broker no longer knows goes on committing, as no group's member, and a broker that lost the group
    takes that: offsets of the log that is gone would hide as many messages of the new one."""
    coordinator = consumer._coordinator
    commit = coordinator._do_commit_offsets

    async def as_member(assignment: Any, offsets: Any) -> None:
        if coordinator.generation < 0:
            raise IllegalGenerationError(coordinator.group_id)
        await commit(assignment, offsets)

    coordinator._do_commit_offsets = as_member


class _MovedOn(Exception):
    """The partitions were divided anew."""


class _Turn(ConsumerRebalanceListener):  # type: ignore[misc]
    """Who may go on: the reader with its batch, or the group with dividing the partitions anew."""

    def __init__(self, on_division: Callable[[], None]) -> None:
        self._on_division = on_division
        self._idle = asyncio.Event()
        self._idle.set()
        self._since: float | None = time.monotonic()  # when the group began to divide them

    def is_divided_anew(self) -> bool:
        """Raises: ServiceError when the group does not come to an end with it."""
        if self._since is not None and time.monotonic() > self._since + STUCK_S:
            raise ServiceError(f"the readers of the group have not agreed within {STUCK_S:.0f} s")
        return self._since is not None

    def take(self) -> None:
        """A batch is in hand until :meth:`give`."""
        self._idle.clear()

    def give(self) -> None:
        self._idle.set()

    async def on_partitions_revoked(self, revoked: Any) -> None:
        self._since = time.monotonic()
        try:
            await asyncio.wait_for(self._idle.wait(), HAND_OVER_S)
        except TimeoutError:
            log.warning("a batch takes longer than the %.0f s its group waits: others read it again", HAND_OVER_S)
        self._on_division()

    def on_partitions_assigned(self, assigned: Any) -> None:
        self._on_division()
        self._since = None
        log.info("reading %s", ", ".join(f"{place.topic}:{place.partition}" for place in sorted(assigned)) or "nothing")

"""Writes one topic of the log to Kafka, in the order of its batches, each machine to the partition it has on Redis."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from functools import partial
from typing import Any, Generic, TypeVar

from aiokafka import AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError, RecordListTooLargeError

from .. import kafka_log
from ..errors import ConfigError, ServiceError
from ..log_address import LogAddress
from ..topics import Entry, Topic, partition_of

T = TypeVar("T")
log = logging.getLogger(__name__)

# So long without a record acknowledged ends a write: an idempotent producer would try for ever, and the flow is to hear
# of it and to be stoppable. It is not for the whole batch, which a slow link would never take.
WRITE_S = 8.0
BATCH = 512 << 10  # bytes of records that are compressed together


class KafkaSink(Generic[T]):
    """``write`` returns when every replica in sync has every record. Raises: ServiceError.

    The producer is idempotent: what it sends twice is there once. One that failed is replaced, since its numbering is
    broken, so the batch of a failed ``write`` may be there twice, in order.

    A broker that comes back without its data has its topic made again, with the new producer.

    Raises ConfigError for a record the topic does not take: nothing was committed, and a person must raise its limit;
    and for what :func:`kafka_log.prepare` finds wrong with the topic.
    """

    def __init__(self, address: LogAddress, topic: Topic[T]) -> None:
        self._address, self._topic = address, topic
        self._name = kafka_log.topic_name(address, topic.name)
        self._options = kafka_log.client_options(address)
        self._producer: AIOKafkaProducer | None = None

    async def open(self) -> None:
        await self._started()

    async def _started(self) -> AIOKafkaProducer:
        """With its topic: the last producer may have failed for want of it."""
        if self._producer is not None:
            return self._producer
        await kafka_log.prepare(self._address, self._topic.name)
        producer = AIOKafkaProducer(
            enable_idempotence=True,
            acks="all",
            compression_type="zstd",
            max_batch_size=BATCH,
            max_request_size=kafka_log.LARGEST,
            **self._options,
        )
        try:
            with kafka_log.service_errors("the log does not answer"):
                async with asyncio.timeout(kafka_log.REQUEST_S):
                    await producer.start()
        except ServiceError:
            await _dropped(producer)
            raise
        self._producer = producer
        return producer

    async def write(self, batch: Sequence[T]) -> None:
        if not batch:
            return
        producer = await self._started()
        try:
            with kafka_log.service_errors(f"writing to the log's topic {self._topic.name}"):
                await self._send(producer, batch)
        except BaseException:
            self._producer = None
            await _dropped(producer)
            raise

    async def _send(self, producer: AIOKafkaProducer, batch: Sequence[T]) -> None:
        try:
            async with asyncio.timeout(WRITE_S) as patience:
                entries = self._topic.encode(batch)
                await asyncio.gather(*[await self._add(producer, entry, patience) for entry in entries])
        except (MessageSizeTooLargeError, RecordListTooLargeError) as error:
            raise ConfigError(
                f"Kafka's topic {self._name} does not take a record this large ({error}): "
                f"set its max.message.bytes to {kafka_log.LARGEST}"
            ) from error

    async def _add(self, producer: AIOKafkaProducer, entry: Entry, patience: asyncio.Timeout) -> asyncio.Future[Any]:
        """It is acknowledged when what this gives is done. Waits while its partition has a full batch to send."""
        key, headers, body = entry
        pairs = [(name, text.encode()) for name, text in headers.items()]
        partition = partition_of(key)
        try:
            sent: asyncio.Future[Any] = await producer.send(
                self._name, body, key.encode(), partition=partition, headers=pairs
            )
        except AssertionError as error:
            raise ServiceError(f"Kafka's topic {self._name} has no partition {partition} any more") from error
        sent.add_done_callback(partial(_done, patience))
        return sent

    async def close(self) -> None:
        if self._producer is not None:
            producer, self._producer = self._producer, None
            await _dropped(producer)


def _done(patience: asyncio.Timeout, sent: asyncio.Future[Any]) -> None:
    """An acknowledged record begins the wait anew; of those that fail one is enough said."""
    if sent.cancelled() or sent.exception():
        return
    until = asyncio.get_running_loop().time() + WRITE_S
    if until - (patience.when() or 0) > WRITE_S / 100:  # hundreds are acknowledged at once, and a timer costs 5 µs
        with contextlib.suppress(RuntimeError):  # the write has failed meanwhile, and nobody waits any more
            patience.reschedule(until)


async def _dropped(producer: AIOKafkaProducer) -> None:
    await kafka_log.closed(producer, 0.1)
    if (task := producer._sender.sender_task) is not None:  # it would go on with what it could not send
        task.cancel()

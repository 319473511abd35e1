"""The log on Kafka, as its two ends see it: how to connect, its topics, errors as ours, how far a group is.

A topic ``raw`` is ``{prefix}raw`` there, with as many partitions as on Redis; the group ``processor`` that reads it is
``{prefix}raw.processor``: a process that reads two topics joins two groups, and neither waits for the other's batch.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import (
    ConsumerStoppedError,
    GroupCoordinatorNotAvailableError,
    KafkaConnectionError,
    KafkaError,
    TopicAlreadyExistsError,
    for_code,
)

from .errors import ConfigError, ServiceError
from .log_address import KafkaAccess, LogAddress
from .topics import PARTITIONS

# While brokers are away it writes thirty lines a second. What matters of them it raises too, and we say it once.
logging.getLogger("aiokafka").setLevel(logging.CRITICAL)

REQUEST_S = 15.0  # an answer that takes longer does not come; joining a group takes up to sources.kafka.REBALANCE_S
CLOSE_S = 3.0
# A raw message has at most 256 kB, its samples are some times that; brokers take 1 MB unless a topic says otherwise.
LARGEST = 16 << 20


def topic_name(address: LogAddress, topic: str) -> str:
    return f"{address.kafka.prefix}{topic}"


def group_name(address: LogAddress, topic: str, group: str) -> str:
    return f"{topic_name(address, topic)}.{group}"


def partitions(address: LogAddress, topic: str) -> list[TopicPartition]:
    return [TopicPartition(topic_name(address, topic), p) for p in range(PARTITIONS)]


def client_options(address: LogAddress) -> dict[str, Any]:
    """What every client of aiokafka is made with. Raises: ConfigError (a certificate that cannot be read)."""
    access = address.kafka
    options: dict[str, Any] = {
        "bootstrap_servers": address.servers,
        "client_id": "duco",
        "request_timeout_ms": round(REQUEST_S * 1000),
        "security_protocol": access.security,
    }
    if access.security.endswith("SSL"):
        options["ssl_context"] = _tls(access)
    if access.security.startswith("SASL"):
        options |= {
            "sasl_mechanism": access.mechanism,
            "sasl_plain_username": access.user,
            "sasl_plain_password": access.password,
        }
    return options


def _tls(access: KafkaAccess) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=access.ca or None)
        if access.cert:
            context.load_cert_chain(access.cert, access.key or None)
        return context
    except OSError as error:  # ssl.SSLError too
        raise ConfigError(
            f"DUCO_KAFKA_CA, _CERT or _KEY ({access.ca!r}, {access.cert!r}, {access.key!r}): {error}; "
            "name PEM files that can be read"
        ) from None


@contextmanager
def service_errors(what: str) -> Iterator[None]:
    """Kafka's own errors, broken connections and time-outs as :class:`ServiceError`, naming what could not be done."""
    try:
        yield
    except KafkaConnectionError as error:  # it does not say why
        raise ServiceError(f"{what}: no broker lets us in; are they up, and do DUCO_KAFKA_… fit them?") from error
    except TimeoutError as error:
        raise ServiceError(f"{what}: no answer in time") from error
    except (KafkaError, ConsumerStoppedError, OSError) as error:
        raise ServiceError(f"{what}: {error}") from error


async def closed(client: Any, patience: float = CLOSE_S) -> None:
    """Close a client of aiokafka, also one whose cluster is away: what it has left to say is not waited for long.

    In a task of its own, for a cancelled request of its own may come out of it and leave its connections open; so may
    the closing of a connection that was cancelled with it.
    """
    task = asyncio.ensure_future(client.close() if isinstance(client, AIOKafkaAdminClient) else client.stop())
    await asyncio.wait([task], timeout=patience)
    if not task.done():
        task.cancel()
    elif not task.cancelled():
        task.exception()
    network = client.client if isinstance(client, AIOKafkaProducer) else client._client
    await asyncio.gather(network.close(), return_exceptions=True)


# --- topics


async def prepare(address: LogAddress, topic: str) -> None:
    """Make the topic if there is none.

    Raises: ServiceError, ConfigError (another number of partitions, or it is missing and may not be made).
    """
    name = topic_name(address, topic)
    admin = AIOKafkaAdminClient(**client_options(address))
    try:
        with service_errors("the log does not answer"):
            async with asyncio.timeout(REQUEST_S):
                await admin.start()
                while (count := await _partition_count(admin, name)) is None:
                    await _create(admin, name, address.kafka.replication)
    finally:
        await closed(admin)
    if count != PARTITIONS:
        raise ConfigError(
            f"Kafka's topic {name} has {count} partitions and must have {PARTITIONS}: "
            "delete it, or set DUCO_KAFKA_PREFIX to have topics of your own"
        )


async def _partition_count(admin: AIOKafkaAdminClient, name: str) -> int | None:
    """Of all topics: asking for one that is missing makes brokers create it, as they think fit."""
    for found in await admin.describe_topics():
        if found["topic"] == name and found["partitions"]:
            return len(found["partitions"])
    return None


async def _create(admin: AIOKafkaAdminClient, name: str, replication: int) -> None:
    settings = {"max.message.bytes": str(LARGEST)}
    topic = NewTopic(name, PARTITIONS, max(replication, 1), topic_configs=settings)
    topic.replication_factor = replication  # brokers take -1 for their default; the class does not know it
    answer = await admin.create_topics([topic])
    _, code, detail = answer.topic_errors[0]
    error = for_code(code)
    if error is TopicAlreadyExistsError or not code:  # somebody was faster; or it is made and not yet told to all
        await asyncio.sleep(0.1)
    elif getattr(error, "retriable", False):
        raise error(detail)
    else:
        raise ConfigError(
            f"Kafka does not make the topic {name} ({error.__name__}: {detail}): "
            f"make it with {PARTITIONS} partitions and max.message.bytes={LARGEST}, or see DUCO_KAFKA_REPLICATION"
        )


# --- how far groups are


class KafkaGauge:
    """How far the groups of a log are. Every method raises ServiceError when it is away."""

    def __init__(self, address: LogAddress) -> None:
        options = client_options(address)
        self._address = address
        self._admin = AIOKafkaAdminClient(**options)
        self._offsets = AIOKafkaConsumer(**options)

    async def open(self) -> None:
        with service_errors("the log does not answer"):
            async with asyncio.timeout(REQUEST_S):
                await self._admin.start()
                await self._offsets.start()

    async def close(self) -> None:
        await closed(self._offsets)
        await closed(self._admin)

    async def tails(self, topic: str) -> dict[TopicPartition, int]:
        """The offset each partition's next record will have; empty while there is no such topic."""
        with service_errors(f"reading the ends of the log's topic {topic}"):
            async with asyncio.timeout(REQUEST_S):
                if await _partition_count(self._admin, topic_name(self._address, topic)) is None:
                    return {}
                return dict(await self._offsets.end_offsets(partitions(self._address, topic)))

    async def has_passed(self, topic: str, group: str, marks: dict[TopicPartition, int]) -> bool:
        """Has the group committed every record before ``marks``?"""
        passed = await self._committed(topic, group, list(marks))
        return all(passed[where] >= mark for where, mark in marks.items())

    async def lag(self, topic: str, group: str) -> int:
        """Records of the topic that the group has not committed."""
        ends = await self.tails(topic)
        passed = await self._committed(topic, group, list(ends))
        return sum(max(end - passed[where], 0) for where, end in ends.items())

    async def _committed(self, topic: str, group: str, where: list[TopicPartition]) -> dict[TopicPartition, int]:
        """What the log has deleted counts as committed: it cannot be read any more."""
        if not where:
            return {}
        with service_errors(f"reading how far {group} is in the log's topic {topic}"):
            async with asyncio.timeout(REQUEST_S):
                first = await self._offsets.beginning_offsets(where)
                name = group_name(self._address, topic, group)
                found = await self._of_group(name, where)
        return {place: max(first[place], found[place].offset if place in found else 0) for place in where}

    async def _of_group(self, name: str, where: list[TopicPartition]) -> dict[TopicPartition, Any]:
        """The first group a cluster is asked for has to wait until it has made a topic for groups' offsets."""
        while True:
            try:
                return dict(await self._admin.list_consumer_group_offsets(name, partitions=where))
            except GroupCoordinatorNotAvailableError:
                await asyncio.sleep(0.1)

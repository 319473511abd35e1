"""The log's ends and how far its readers are, on the server its address names. Flows know only sources and sinks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Protocol, TypeVar

from .log_address import LogAddress
from .ports import Sink, Source
from .redis_log import RedisGauge
from .sinks.redis_streams import RedisSink
from .sources.redis_streams import RedisSource
from .topics import Topic

T = TypeVar("T")

# Kafka's client is imported where it is asked for: a process on Redis does without it.


def log_source(address: LogAddress, topic: Topic[T], group: str) -> Source[T]:
    """Raises: ConfigError."""
    if address.is_kafka:
        from .sources.kafka import KafkaSource

        return KafkaSource(address, topic, group)
    return RedisSource(address.url, topic, group, address.instance)


def log_sink(address: LogAddress, topic: Topic[T]) -> Sink[T]:
    """Raises: ConfigError."""
    if address.is_kafka:
        from .sinks.kafka import KafkaSink

        return KafkaSink(address, topic)
    return RedisSink(address.url, topic, address.memory)


class Gauge(Protocol):
    """How far the groups of a log are. Every method raises ServiceError when the log is away."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def tails(self, topic: str) -> dict[Any, Any]:
        """Marks behind the last record of each partition, for :meth:`has_passed`."""
        ...

    async def has_passed(self, topic: str, group: str, marks: dict[Any, Any]) -> bool:
        """Has the group committed every record before ``marks``?"""
        ...

    async def lag(self, topic: str, group: str) -> int:
        """Records of the topic that the group has not committed."""
        ...


@asynccontextmanager
async def log_gauge(address: LogAddress) -> AsyncIterator[Gauge]:
    """Raises: ServiceError."""
    gauge = _gauge(address)
    try:
        await gauge.open()
        yield gauge
    finally:
        await gauge.close()


async def lag(address: LogAddress, topic: Topic[Any], group: str) -> int:
    """Records of the topic that the group has not committed. Raises: ServiceError."""
    async with log_gauge(address) as gauge:
        return await gauge.lag(topic.name, group)


def _gauge(address: LogAddress) -> Gauge:
    if address.is_kafka:
        from .kafka_log import KafkaGauge

        return KafkaGauge(address)
    return RedisGauge(address.url)

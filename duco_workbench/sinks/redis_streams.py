"""Writes one topic of the log, in the order of its batches, and waits while the log is full."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from .. import redis_log
from ..errors import ServiceError
from ..topics import Topic, partition_of

T = TypeVar("T")

PATIENCE_S = 5.0  # so long a writer waits before it is told, and can be stopped

# The share of the log's memory each topic may fill before its writers wait. Later topics have more room than earlier
# ones: a full log must still let the processor publish and so free what it has read.
ROOM = {"raw": 0.5, "parsed": 0.8, "dead-letters": 0.95}


class RedisSink(Generic[T]):
    """``write`` returns when the log's server has every entry.

    Raises: ServiceError, also when the log stays full: it names the group that is furthest behind. Nothing was written,
    so the source commits nothing, and what is upstream keeps it: the hub, the machines.
    """

    def __init__(self, url: str, topic: Topic[T], memory: int) -> None:
        """``memory``: bytes the whole log may hold (the server's ``maxmemory``)."""
        self._redis: Any = redis_log.connect(url)
        self._topic = topic
        self._limit = int(memory * ROOM[topic.name])

    async def open(self) -> None:
        with redis_log.service_errors("the log does not answer"):
            await self._redis.ping()

    async def write(self, batch: Sequence[T]) -> None:
        if not batch:
            return
        with redis_log.service_errors(f"writing to the log's topic {self._topic.name}"):
            await self._wait_for_room()
            pipe = self._redis.pipeline(transaction=False)
            for entry in self._topic.encode(batch):
                stream = redis_log.stream_key(self._topic.name, partition_of(entry.key))
                pipe.xadd(stream, {**entry.headers, "body": entry.body})
            await pipe.execute()

    async def _wait_for_room(self) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while (await self._redis.info("memory"))["used_memory"] > self._limit:
            if time.monotonic() > deadline:
                raise ServiceError(f"the log is full for {self._topic.name}: {await self._who_is_behind()}")
            await asyncio.sleep(0.05)

    async def _who_is_behind(self) -> str:
        """Of all topics: they share the memory, and what is not read of one leaves no room for those before it."""
        behind = [await redis_log.furthest_behind(self._redis, topic) for topic in ROOM]
        worst = max((found for found in behind if found), key=lambda found: found.entries, default=None)
        if worst is None:
            return "no group has anything to read: its readers were not started yet, or DUCO_LOG_MEMORY is too small"
        said = f"it waits for group {worst.group!r} of {worst.topic}, which is {worst.entries:,} entries behind"
        if worst.has_reader:
            return said
        key = redis_log.groups_key(worst.topic)
        return (
            f"{said} and has no reader: start it; if it is gone for good, drop it from the log "
            f"with `SREM {key} {worst.group}`"
        )

    async def close(self) -> None:
        await self._redis.aclose()

"""Writes one topic of the log, in the order of its batches, and waits while the log is full."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from .. import redis_log
from ..topics import Topic, partition_of

T = TypeVar("T")
log = logging.getLogger(__name__)

# The share of the log's memory each topic may fill before its writers wait. Later topics have more room than earlier
# ones: a full log must still let the processor publish and so free what it has read.
ROOM = {"raw": 0.5, "parsed": 0.8, "dead-letters": 0.95}


class LogSink(Generic[T]):
    """``write`` returns when the log's server has every entry. Raises: ServiceError."""

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
        told = False
        while (await self._redis.info("memory"))["used_memory"] > self._limit:
            if not told:
                log.warning("the log is full for %s: waiting for its readers", self._topic.name)
                told = True
            await asyncio.sleep(0.05)

    async def close(self) -> None:
        await self._redis.aclose()

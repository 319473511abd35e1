"""The journal: what devices sent, in partitions, durable before anyone is told so. The wall between MQTT and AMQP.

Group commit: whatever waits when the last transaction ends goes into the next one, so a hundred devices cost a few
disk syncs a second. Bodies live on disk only, never in this object.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from ...errors import ConfigError
from .counts import Counts
from .groupcommit import GroupCommit
from .messages import MessageFile, Stored

__all__ = ["Journal", "Stored", "partition_of"]

T = TypeVar("T")

PARTITIONS = 4
MAX_AGE_S = 86_400  # IoT Hub's default retention
MAX_BYTES = 2 << 30
TRIM_EVERY_S = 5.0


class _Message(NamedTuple):
    """What is not numbered yet."""

    device_id: str
    generation: str
    system: Mapping[str, str]
    properties: Mapping[str, str]
    body: bytes


class Journal:
    """Messages of every device, in ``folder/journal.db``. Used from one event loop, between ``open`` and ``close``.

    Args:
        max_age_s, max_bytes: retention; the oldest messages go first. Bytes are those of the file's pages in use.
        now: microseconds UTC.
    """

    def __init__(
        self,
        folder: Path,
        partitions: int = PARTITIONS,
        max_age_s: float = MAX_AGE_S,
        max_bytes: int = MAX_BYTES,
        now: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self.partitions = partitions
        self.counts = Counts()
        self._path = folder / "journal.db"
        self._max_age, self._max_bytes, self._now = int(max_age_s * 1_000_000), max_bytes, now
        self._kept = [range(0)] * partitions  # sequences, per partition
        self._news = [asyncio.Event() for _ in range(partitions)]
        self._appends = GroupCommit[_Message, Stored](self._commit, f"the hub's journal {self._path}")
        self._trimming: asyncio.Task[None] | None = None

    @property
    def trouble(self) -> str | None:
        """Why it takes nothing; None when it does."""
        return self._appends.trouble

    async def open(self) -> None:
        """Raises: ConfigError when the file cannot be used."""
        self._write_thread, self._read_thread = (ThreadPoolExecutor(1, f"journal-{n}") for n in ("write", "read"))
        try:
            self._writer = await _in(self._write_thread, MessageFile, self._path, self.partitions)
            self._reader = await _in(self._read_thread, MessageFile, self._path, self.partitions)
            await _in(self._write_thread, self._recall)
        except sqlite3.Error as error:
            raise ConfigError(f"the hub's journal {self._path} cannot be opened: {error}; move it away") from None
        self._trimming = asyncio.create_task(self._trim_regularly())

    async def close(self) -> None:
        """What waits becomes durable first."""
        if self._trimming is None:
            return
        self._trimming.cancel()
        await asyncio.gather(self._trimming, self._appends.finish(), return_exceptions=True)
        self._trimming = None
        await _in(self._read_thread, self._reader.close)
        await _in(self._write_thread, self._writer.close)
        self._read_thread.shutdown()
        self._write_thread.shutdown()

    def _recall(self) -> None:
        for partition in range(self.partitions):
            first, last = self._writer.bounds(partition)
            self._kept[partition] = range(first, last + 1)
        self._writer.load_counts(self.counts)

    # -- writing

    def append(
        self,
        device_id: str,
        generation: str,
        system: Mapping[str, str],
        properties: Mapping[str, str],
        body: bytes,
    ) -> asyncio.Future[Stored]:
        """Done when the message is durable, or with a ServiceError when the disk does not take it.

        Sequences follow the order of the calls.
        """
        return self._appends.put(_Message(device_id, generation, system, properties, body))

    async def _commit(self, messages: Sequence[_Message]) -> list[Stored]:
        stored = self._number(messages)
        counts = self.counts.after(stored)
        await _in(self._write_thread, self._writer.insert, stored, counts)
        self.counts.take(counts)
        for message in stored:
            self._kept[message.partition] = range(self._kept[message.partition].start, message.sequence + 1)
        for partition in {message.partition for message in stored}:
            self._news[partition].set()
            self._news[partition] = asyncio.Event()
        return stored

    def _number(self, messages: Sequence[_Message]) -> list[Stored]:
        """Counted on from what is committed: a transaction that failed leaves no hole."""
        following, now = [kept.stop for kept in self._kept], self._now()
        stored = []
        for message in messages:
            partition = partition_of(message.device_id, self.partitions)
            stored.append(Stored(partition, following[partition], now, *message))
            following[partition] += 1
        return stored

    # -- reading

    async def read(self, partition: int, after: int, max_bytes: int = 1 << 20) -> list[Stored]:
        """Messages with ``sequence > after``, in order: up to ``max_bytes`` of bodies, at least one where there is one.

        Empty when there is none. What retention removed is passed over.
        """
        if self._kept[partition].stop - 1 <= after:
            return []
        return await _in(self._read_thread, self._reader.select, partition, after, max_bytes)

    def bounds(self, partition: int) -> tuple[int, int]:
        """First kept and last sequence; last is -1 when there never was one, first is last + 1 when none is kept."""
        kept = self._kept[partition]
        return kept.start, kept.stop - 1

    async def sequence_at(self, partition: int, enqueued: int) -> int:
        """The last kept sequence enqueued at or before that time (microseconds UTC); -1 if none."""
        return await _in(self._read_thread, self._reader.sequence_at, partition, self._kept[partition], enqueued)

    async def wait(self, partition: int, after: int) -> None:
        """Until there is a message with ``sequence > after``."""
        while self._kept[partition].stop - 1 <= after:
            await self._news[partition].wait()

    # -- retention

    async def _trim_regularly(self) -> None:
        while True:
            await asyncio.sleep(TRIM_EVERY_S)
            with contextlib.suppress(sqlite3.Error):  # a full disk: appends say it, the next round tries again
                await self.trim()

    async def trim(self) -> None:
        """Delete what is past its age or over the size, in small steps: appends go between two of them."""
        for partition in range(self.partitions):
            while await self._delete(partition, await self._expired(partition)):
                pass
        while await _in(self._write_thread, self._writer.bytes_used) > self._max_bytes:
            partition = await _in(self._write_thread, self._writer.oldest)
            if not await self._delete(partition, self._kept[partition].stop - 1):
                break

    async def _expired(self, partition: int) -> int:
        kept, before = self._kept[partition], self._now() - self._max_age
        return await _in(self._write_thread, self._writer.sequence_at, partition, kept, before)

    async def _delete(self, partition: int, up_to: int) -> bool:
        """Some of what is up to that sequence. False when nothing is."""
        kept = self._kept[partition]
        first = await _in(self._write_thread, self._writer.delete, partition, kept, up_to)
        self._kept[partition] = range(first, self._kept[partition].stop)  # it may have grown meanwhile
        return first > kept.start


def partition_of(device_id: str, partitions: int) -> int:
    """All messages of a device go to one partition, in every run."""
    return zlib.crc32(device_id.encode()) % partitions


async def _in(thread: ThreadPoolExecutor, function: Callable[..., T], *arguments: Any) -> T:
    return await asyncio.get_running_loop().run_in_executor(thread, function, *arguments)

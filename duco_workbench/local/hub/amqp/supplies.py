"""What the peer is sent: events of a partition, or answers to its requests."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from ..journal import Journal
from .errors import LIMIT_EXCEEDED, AmqpError
from .messages import Last, event
from .positions import end_of

READ_BYTES = 256 << 10  # of a partition at a time: what a reader that stalls holds in memory
MAX_ANSWERS = 100


class Supply(Protocol):
    """Where a link's messages come from."""

    async def read(self) -> Sequence[bytes]:
        """The next ones, a bounded amount; none when there are none now."""

    async def wait(self) -> None:
        """Until there are some."""


class Events:
    """A partition's messages after a sequence number. Those that retention removes meanwhile are passed over."""

    def __init__(self, journal: Journal, partition: int, after: int, tracks_end: bool) -> None:
        self._journal, self._partition, self._after, self._tracks_end = journal, partition, after, tracks_end

    async def read(self) -> Sequence[bytes]:
        self._after = max(self._after, self._journal.bounds(self._partition)[0] - 1)
        kept = await self._journal.read(self._partition, self._after, READ_BYTES)
        if kept:
            self._after = kept[-1].sequence
        last = await self._end() if kept and self._tracks_end else None
        return [event(stored, last) for stored in kept]

    async def wait(self) -> None:
        await self._journal.wait(self._partition, self._after)

    async def _end(self) -> Last:
        sequence, enqueued = await end_of(self._journal, self._partition)
        return Last(sequence, enqueued // 1000, time.time_ns() // 1_000_000)


class Answers:
    """Answers to requests, until the peer takes them."""

    def __init__(self) -> None:
        self._waiting: deque[bytes] = deque()
        self._some = asyncio.Event()

    def put(self, message: bytes) -> None:
        """Raises: AmqpError when the peer only asks and never takes."""
        if len(self._waiting) >= MAX_ANSWERS:
            raise AmqpError(LIMIT_EXCEEDED, f"{MAX_ANSWERS} answers wait for credit")
        self._waiting.append(message)
        self._some.set()

    async def read(self) -> Sequence[bytes]:
        waiting = list(self._waiting)
        self._waiting.clear()
        self._some.clear()
        return waiting

    async def wait(self) -> None:
        await self._some.wait()

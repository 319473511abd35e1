"""What the live and the snapshot sink share: they may lose, so that nothing ever waits for them.

``write`` puts the batch in a bounded queue and returns; one task empties the queue into one pipeline at a time. When
the queue is full the oldest go first (the newest value is the one people look at). A server that is away is logged
once per outage, what could not be written is counted in ``dropped``, and no error reaches the flow. A command that the
server refuses for what is in it is no outage, but a fault of ours: it is logged as such.
"""

from __future__ import annotations

import asyncio
import logging
import re
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Generic, TypeVar

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import DataError, RedisError, ResponseError

from ..columns import Parsed
from ..errors import ConfigError

T = TypeVar("T")
log = logging.getLogger(__name__)

WAITING = 1000  # messages that wait at most: one second of a fleet of a thousand
TIMEOUT_S, PAUSE_S, LAST_WORD_S = 2.0, 0.5, 3.0


# Refusals of all writes, for which redis has no classes as it has for a server that is loading, full or read-only.
_REFUSES_ALL = re.compile(r"error: \(['\"](MISCONF|NOREPLICAS|BUSY) ")


class Newest(Generic[T]):
    """A bounded queue that keeps the newest and counts in ``dropped`` what it had no room for. Threads may share it."""

    def __init__(self, most: int) -> None:
        self._waiting: deque[T] = deque(maxlen=most)
        self._most = most
        self._lock = threading.Lock()
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, batch: Sequence[T]) -> None:
        with self._lock:
            self.dropped += max(0, len(self._waiting) + len(batch) - self._most)
            self._waiting.extend(batch)

    def take(self, most: int | None = None) -> list[T]:
        """The oldest of what waits, ``most`` of them or all."""
        with self._lock:
            waiting = len(self._waiting)
            return [self._waiting.popleft() for _ in range(waiting if most is None else min(most, waiting))]


def check_url(url: str) -> str:
    """Raises: ConfigError for an address that is not a Redis."""
    if not url.startswith(("redis://", "rediss://", "unix://")):
        raise ConfigError(f"DUCO_LIVE_URL = {url!r}: the address of the live server starts with redis://")
    return url


class LossySink:
    """A sink of :class:`Parsed` that never raises and never waits for its server. Subclasses say what to ``put``.

    ``at_once``: messages of one pipeline, None for all that wait; ``rest``: how many times as long as that took it then
    does nothing.
    """

    at_once: int | None = None
    rest = 0.0

    def __init__(self, live_url: str) -> None:
        self._redis: Any = redis.asyncio.from_url(
            check_url(live_url),
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),  # a repeated pipeline would write its entries twice
        )
        self._waiting: Newest[Parsed] = Newest(WAITING)
        self._arrived = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None
        self._away = False
        self._unwritten = 0

    @property
    def dropped(self) -> int:
        return self._unwritten + self._waiting.dropped

    @property
    def trouble(self) -> str | None:
        """A sentence while the server is away."""
        return f"the live server is away: {self.dropped:,} messages were not written" if self._away else None

    async def put(self, pipe: Any, batch: Sequence[Parsed]) -> None:
        """Queue the commands that write ``batch`` on the pipeline."""
        raise NotImplementedError

    async def open(self) -> None:
        self._closing = False
        self._task = asyncio.create_task(self._run())

    async def write(self, batch: Sequence[Parsed]) -> None:
        self._waiting.put(batch)
        self._arrived.set()

    async def close(self) -> None:
        """What waits gets a few seconds more."""
        self._closing = True
        self._arrived.set()
        if self._task is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._task, LAST_WORD_S)
        self._unwritten += len(self._waiting.take())
        await self._redis.aclose()

    async def _run(self) -> None:
        while not self._closing or self._waiting:
            if not self._waiting:
                await self._arrived.wait()
            self._arrived.clear()
            begun = time.monotonic()
            if self._waiting and not await self._hand_on():
                await asyncio.sleep(PAUSE_S)  # while it is away the queue keeps the newest
            elif not self._closing:
                await asyncio.sleep(self.rest * (time.monotonic() - begun))

    async def _hand_on(self) -> bool:
        batch = self._waiting.take(self.at_once)
        try:
            async with self._redis.pipeline(transaction=False) as pipe:
                await self.put(pipe, batch)
                await pipe.execute()
        except Exception as error:
            if _is_away(error):
                self._lost(batch, error)
                return False
            # A message nobody expected must not end the live view of all the others.
            self._unwritten += len(batch)
            log.exception("%s: %d messages could not be written", type(self).__name__, len(batch))
            if not isinstance(error, ResponseError):
                return True  # the server was not asked
        if self._away:
            log.warning("%s: the live server is back; %d messages were dropped", type(self).__name__, self.dropped)
        self._away = False
        return True

    def _lost(self, batch: Sequence[Parsed], error: Exception) -> None:
        self._unwritten += len(batch)
        if not self._away:
            log.warning("%s: the live server does not answer, dropping: %s", type(self).__name__, error)
        self._away = True


def _is_away(error: Exception) -> bool:
    """Whether it is about the server, and not about the commands of one batch."""
    if type(error) is ResponseError:
        return bool(_REFUSES_ALL.search(str(error)))
    return isinstance(error, RedisError | OSError) and not isinstance(error, DataError)

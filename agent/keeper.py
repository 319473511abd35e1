"""What stands between the agent and its queue: off the event loop, and when the disk is full or the file is bad.

What the queue has is safe. What is new and cannot be written is held in memory, up to a bound; what comes beyond that
is dropped, counted, and told by a ``drop`` event as soon as one can be written.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor
from typing import Any, NamedTuple, TypeVar

from duco_workbench import wire
from duco_workbench.errors import ConfigError
from duco_workbench.model import MessageId

from .clock import AgentClock
from .drafts import Draft, size_of
from .queue import Put, Queue, Stamp, Waiting
from .state import MAX_RUNS, Counts
from .storage import QueueCorrupt, QueueError

T = TypeVar("T")

MAX_HELD = 4 << 20  # bytes of messages in memory that the queue could not take
TOLD = 20  # message ids named in one line of the log
RETRY_S = 5.0  # until a file that could not be had is asked for again
TELL_S = 60.0  # between two looks at what the queue dropped, while there is a connection


class _Held(NamedTuple):
    drafts: Sequence[Draft]
    stamp: Stamp
    size: int


class _Drop(NamedTuple):
    """``first``, ``last``: device times of what was dropped, microseconds UTC."""

    number: int
    first: int
    last: int


class Keeper:
    """The queue as coroutines, which never raise for its disk.

    Args:
        threads: where SQLite runs; agents of one process may share it.
        clock: dates what is stored.
        log: the agent's own.
    """

    def __init__(self, queue: Queue, threads: Executor, clock: AgentClock, log: logging.Logger) -> None:
        self._queue, self._threads, self._clock, self._log = queue, threads, clock, log
        self._lock = asyncio.Lock()
        self._held: deque[_Held] = deque()
        self._drops: dict[str, _Drop] = {}
        self._done: set[int] = set()  # confirmed, and not yet forgotten by the file
        self._tell_at = 0.0  # monotonic seconds
        self._reopen_at = 0.0  # monotonic seconds
        self._is_wanted = False  # open, unless the disk prevents it
        self._reason = ""  # of the trouble
        self.trouble: str | None = None  # what is wrong with the queue, as a sentence
        self.filled = asyncio.Event()  # there may be something new to take

    @property
    def counts(self) -> Counts:
        return self._queue.counts

    async def open(self) -> None:
        """As :meth:`Queue.open`. Raises: ConfigError; QueueError when there can be no queue at all."""
        await self._begin(self._queue.open)
        self._is_wanted = True

    async def close(self) -> None:
        async with self._lock:
            self._is_wanted = False
            await self._run(self._queue.close)

    def stamp(self, realtime: bool = False) -> Stamp:
        """How what is made now is dated."""
        return Stamp(self._clock.wire, realtime, None if self._clock.trusted else self._clock.base)

    async def put(self, drafts: Sequence[Draft], stamp: Stamp) -> list[MessageId]:
        """Into the queue, in order; the ids of what is safe now, of what was held before, too."""
        async with self._lock:
            if drafts:
                self._held.append(_Held(drafts, stamp, sum(map(size_of, drafts))))
            return await self._write_held()

    async def take(self, live: int, backlog: int, backlog_bytes: int = 1 << 60) -> list[Waiting]:
        """As :meth:`Queue.take`; nothing while the disk does not answer."""
        async with self._lock, self._told():
            await self._settle()
            if time.monotonic() >= self._tell_at or self._queue.untold > MAX_RUNS:
                await self._tell_untold()
            found = await self._ask(self._queue.take, live, backlog, backlog_bytes)
            return [message for message in found if message.number not in self._done]
        return []

    async def done(self, numbers: Sequence[int]) -> None:
        """Confirmed by the hub: forgotten, or remembered as such until the disk lets us forget them."""
        self._done.update(numbers)
        async with self._lock:
            known = sorted(self._done)
            async with self._told():
                await self._ask(self._queue.done, known)
                self._done.difference_update(known)
            if self._held:
                await self._write_held()

    async def rewind(self) -> None:
        """What was taken and not confirmed is taken again."""
        async with self._lock:
            await self._run(self._queue.rewind)
        self._tell_at = 0.0
        self.filled.set()

    async def set_aside(self, number: int) -> None:
        """The hub refuses this message whenever it is sent: tell so, and go on without it."""
        async with self._lock, self._told():
            await self._tell_too_large([await self._ask(self._queue.set_aside, number)])

    async def settle(self) -> None:
        """Date what waits for time to be found, if it is; see :meth:`Queue.settle`."""
        async with self._lock, self._told():
            await self._settle()
        self.filled.set()

    async def _settle(self) -> None:
        """Not once only: what was made before may have been held in memory then, or the disk have refused."""
        if self._clock.trusted and self._queue.is_undated:
            await self._ask(self._queue.settle, self._clock.base, self._clock.source, self._clock.now())

    async def oldest(self) -> int | None:
        async with self._lock, self._told():
            return await self._ask(self._queue.oldest)
        return None

    # --- what is held, what is dropped

    async def _write_held(self) -> list[MessageId]:
        ids: list[MessageId] = []
        async with self._told():
            while self._held:
                put = await self._store(self._held[0].drafts, self._held[0].stamp)
                self._held.popleft()
                ids += put.ids
                if put.too_large:
                    await self._tell_too_large([str(message_id) for message_id in put.too_large])
            self._recovered()
            await self._tell_drops()
        self._drop_newest()
        return ids

    def _drop_newest(self) -> None:
        while len(self._held) > 1 and sum(held.size for held in self._held) > MAX_HELD:
            times = [draft.ts for draft in self._held.pop().drafts]
            before = self._drops.get(self._reason, _Drop(0, times[0], times[0]))
            self._drops[self._reason] = _Drop(
                before.number + len(times), min(before.first, *times), max(before.last, *times)
            )

    async def _tell_drops(self) -> None:
        for reason, drop in list(self._drops.items()):
            data = {"reason": reason, "count": drop.number, "first": drop.first, "last": drop.last}
            await self._store([self._event("drop", data)])
            del self._drops[reason]
            await self._ask(self._queue.count_drops, reason, drop.number)

    async def _tell_too_large(self, ids: list[str]) -> None:
        self._log.error("too large for the hub, set aside: %s", ", ".join(ids[:TOLD]))
        await self._tell_untold()

    async def _tell_untold(self) -> None:
        """What the queue dropped and has noted, as events in it."""
        self._tell_at = time.monotonic() + TELL_S
        if self._queue.untold:
            await self._ask(self._queue.tell, self._clock.now(), self.stamp())
            self.filled.set()

    def _event(self, name: str, data: dict[str, Any]) -> Draft:
        return Draft("vehicle_event", self._clock.now(), wire.EventBody(name, "error", data))

    # --- off the loop

    async def _store(self, drafts: Sequence[Draft], stamp: Stamp | None = None) -> Put:
        put = await self._ask(self._queue.put, drafts, stamp or self.stamp())
        self.filled.set()
        return put

    async def _ask(self, function: Callable[..., T], *arguments: Any) -> T:
        """Of a file that is open. Raises: QueueError with what is known when none is; whatever the queue raises."""
        if not self._queue.is_open:
            raise QueueError(self._reason or "disk_error", self.trouble or "the queue is not open")
        return await self._run(function, *arguments)

    async def _run(self, function: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    @contextlib.asynccontextmanager
    async def _told(self) -> AsyncIterator[None]:
        """What the disk refuses is told, once, and what was meant to be done is left undone."""
        if self._is_wanted and not self._queue.is_open and time.monotonic() >= self._reopen_at:
            await self._begin_again(self._queue.open)
        try:
            yield
        except QueueError as error:
            self._refused(error)
        except QueueCorrupt as error:
            await self._begin_again(self._queue.replace, str(error))

    def _refused(self, error: QueueError) -> None:
        if error.reason != self._reason:
            self._log.error("%s; what is new is held in memory", error)
        self._reason, self.trouble = error.reason, str(error)

    async def _begin_again(self, beginning: Callable[..., str | None], *why: str) -> None:
        """What fails is told; it is tried again a while later, for each time all that can be read is copied."""
        try:
            await self._begin(beginning, *why)
        except ConfigError as error:
            self._refused(QueueError("disk_error", str(error)))
        except QueueError as error:
            self._refused(error)

    async def _begin(self, beginning: Callable[..., str | None], *why: str) -> None:
        """Open or replace the file. Raises: ConfigError, QueueError."""
        self._reopen_at = time.monotonic() + RETRY_S
        if sentence := await self._run(beginning, self._clock.now(), *why, frozenset(self._done)):
            self._tell_replaced(sentence)

    def _tell_replaced(self, sentence: str) -> None:
        self._log.error("%s", sentence)
        self._tell_at = 0.0
        event = self._event("queue_corrupt", {"text": sentence})
        self._held.appendleft(_Held([event], self.stamp(), 0))

    def _recovered(self) -> None:
        if self.trouble:
            self._log.warning("the queue can be written again")
        self._reason, self.trouble = "", None

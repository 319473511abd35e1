"""Where the realtime branch leaves the durable path: nothing behind this point can make anything before it wait.

The sink puts messages in a bounded queue and returns; the branch, on a thread and a loop of its own, takes them from
there as from any source. When it is slow or stuck the oldest are dropped and counted.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Generic, TypeVar

from ..ports import Delivery
from .lossy import LAST_WORD_S, Newest

T = TypeVar("T")
log = logging.getLogger(__name__)

WAITING = 256  # messages that wait at most
AT_ONCE = 16  # of them in a delivery: the first need not wait until the last is parsed
POLL_S = 0.25
PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0  # before a branch that failed is begun again


class HandOver(Generic[T]):
    """A sink that never waits and never raises; its other end is ``source``, for one reader on any thread."""

    def __init__(self, most: int = WAITING) -> None:
        self.waiting: Newest[T] = Newest(most)
        self.source: Waiting[T] = Waiting(self)
        self.ended = False

    @property
    def dropped(self) -> int:
        return self.waiting.dropped

    async def open(self) -> None:
        self.ended = False

    async def write(self, batch: Sequence[T]) -> None:
        if batch:
            self.waiting.put(batch)
            self.source.wake()

    async def close(self) -> None:
        """The source ends once it is empty."""
        self.ended = True
        self.source.wake()


class Waiting(Generic[T]):
    """What waits in a :class:`HandOver`, as a source that ends when that was closed. There is nothing to commit."""

    def __init__(self, handover: HandOver[T]) -> None:
        self._handover = handover
        self._reader: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None

    def wake(self) -> None:
        reader = self._reader
        if reader is not None:
            loop, arrived = reader
            with suppress(RuntimeError):  # a branch that failed just now has closed its loop
                loop.call_soon_threadsafe(arrived.set)

    async def open(self) -> None:
        self._reader = asyncio.get_running_loop(), asyncio.Event()

    async def deliveries(self) -> AsyncIterator[Delivery[T]]:
        assert self._reader is not None, "open comes first"
        _, arrived = self._reader
        while True:
            arrived.clear()
            batch = self._handover.waiting.take(AT_ONCE)
            if batch:
                yield Delivery(batch)
            elif self._handover.ended:
                return
            else:
                await _set_within(arrived, POLL_S)
                yield Delivery(())

    async def commit(self, delivery: Delivery[Any]) -> None: ...

    async def close(self) -> None:
        self._reader = None


async def _set_within(event: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return


@asynccontextmanager
async def beside(name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """Inside, ``work`` runs on a loop of its own in a thread, and again if it fails. On exit it gets a few seconds.

    It must end by itself, as a flow does whose source ends. The thread is a daemon: one that hangs keeps no process.
    """
    leaving = threading.Event()
    thread = threading.Thread(target=_keep_running, args=(name, work, leaving), name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        leaving.set()
        deadline = time.monotonic() + LAST_WORD_S
        while thread.is_alive() and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        if thread.is_alive():
            log.warning("%s does not end and is left behind", name)


def _keep_running(name: str, work: Callable[[], Coroutine[Any, Any, None]], leaving: threading.Event) -> None:
    pause = PAUSE_S
    while not leaving.is_set():
        try:
            asyncio.run(work())
            return
        except Exception:  # a fault of ours in the branch must not end it for good, nor touch anybody else
            log.exception("%s failed and is begun again", name)
            leaving.wait(pause)
            pause = min(pause * 2, LONGEST_PAUSE_S)

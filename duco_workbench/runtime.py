"""Runs a flow: opens its ends, acknowledges batch by batch, retries services, drains on a signal, closes.

The acknowledgement is ``await stream.emit(batch)``: it waits for every sink of the flow, raises what failed, and only
then is the batch committed. One batch is in flight at a time. A sink whose service is away tries its part again by
itself, so that the others are not given theirs once more however long that takes.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import random
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack
from typing import Any, TypeVar

from streamz import Stream
from streamz.sinks import sink as SinkNode

from .errors import DucoError, ServiceError
from .ops import logs
from .ports import Delivery, Sink, Source

T = TypeVar("T")
log = logging.getLogger(__name__)

FIRST_RETRY_S, LAST_RETRY_S = 0.2, 10.0


class Stop:
    """Set once by SIGTERM or SIGINT; what runs finishes its batch, commits it and closes."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def __bool__(self) -> bool:
        return self._event.is_set()

    def set(self) -> None:
        self._event.set()

    async def wait(self) -> None:
        await self._event.wait()

    async def sleep(self, seconds: float) -> None:
        """Sleep, but not past the stop."""
        try:
            await asyncio.wait_for(self._event.wait(), max(seconds, 0))
        except TimeoutError:
            return

    def on_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.set)


async def run_flow(
    source: Source[T],
    build: Callable[[Stream], None],
    sinks: Sequence[Sink[Any]],
    stop: Stop,
) -> None:
    """Until ``stop`` is set or the source ends. ``build`` draws the flow on a stream of batches of the source."""
    stream = Stream(asynchronous=True)
    build(stream)
    hand = _Hand(stop)
    for node in _sink_nodes(stream):
        node.func = hand.patient(node.func)
    ends: tuple[Sink[Any] | Source[T], ...] = (*sinks, source)
    async with AsyncExitStack() as closing:
        for end in ends:
            closing.push_async_callback(end.close)
        for end in ends:
            if not await retry(end.open, stop):
                return  # one service that is away is enough to wait for
        trouble = logs.Complaint(log)
        while not stop and not await _follow(source, stream, hand, trouble):
            pass


class _Hand:
    """The batch in hand, and the patience of the sinks that are to have it."""

    def __init__(self, stop: Stop) -> None:
        self.stop = stop
        self.delivery: Delivery[Any] | None = None

    def patient(self, write: Callable[[Any], Any]) -> Callable[[Any], Coroutine[Any, Any, None]]:
        """``write``, called until it works. Raises: ServiceError when the stop came first."""

        async def written(batch: Any) -> None:
            if not await retry(lambda: _given(write, batch), self.stop, self.delivery):
                raise ServiceError("stopped before every sink had the batch")

        return written


async def _given(write: Callable[[Any], Any], batch: Any) -> None:
    result = write(batch)
    if inspect.isawaitable(result):
        await result


def _sink_nodes(node: Stream) -> Iterator[Any]:
    """Each once, though branches may meet before it."""
    seen, ahead = set(), [node]
    while ahead:
        for after in ahead.pop().downstreams:
            if after not in seen:
                seen.add(after)
                ahead.append(after)
                if isinstance(after, SinkNode):
                    yield after


async def _follow(source: Source[T], stream: Stream, hand: _Hand, trouble: logs.Complaint) -> bool:
    """Emit and commit until the stop or the end (True), or until the source's service fails (False)."""
    try:
        async for delivery in source.deliveries():
            trouble.over()
            if delivery.items:
                await _handle(source, stream, delivery, hand)
            if hand.stop:
                break
        return True
    except ServiceError as error:
        trouble.say(f"{error}; reading again from the last committed batch")
        await hand.stop.sleep(1.0)
        return False


async def _handle(source: Source[T], stream: Stream, delivery: Delivery[T], hand: _Hand) -> None:
    """Nothing is committed before every sink has the batch; a stop while a service is away leaves it uncommitted."""
    hand.delivery = delivery
    if await retry(lambda: stream.emit(delivery.items), hand.stop, delivery):
        await retry(lambda: source.commit(delivery), hand.stop, delivery)


async def retry(call: Callable[[], Awaitable[Any]], stop: Stop, batch: Delivery[Any] | None = None) -> bool:
    """Call until it works (True) or ``stop`` is set (False), with exponential backoff and jitter.

    ``batch``: what the call is about, for the log.
    """
    pause, trouble = FIRST_RETRY_S, logs.Complaint(log)
    while True:
        try:
            await call()
            trouble.over()
            return True
        except ServiceError as error:
            if stop:
                return False
            trouble.say(f"{error}; trying again", **(logs.about(batch) if batch else {}))
        await stop.sleep(pause * random.uniform(0.5, 1.0))
        pause = min(pause * 2, LAST_RETRY_S)


class _Hidden:
    """An import finder to which some packages are not installed."""

    names = ("pandas", "asammdf")

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name in self.names:
            raise ModuleNotFoundError(f"{name} is hidden from services (duco_workbench.runtime.slim)", name=name)


def slim() -> None:
    """Hide what a service has no use for but its libraries import where it is installed.

    pyarrow takes pandas, python-can takes asammdf: 140 MB and seconds of start for every process.
    """
    sys.meta_path.insert(0, _Hidden())


def main(work: Callable[[Stop], Coroutine[Any, Any, None]]) -> None:
    """The main of every pipeline: logging, signals, one sentence instead of a traceback for what a person can mend."""
    logs.set_up("duco")  # until the process has read its settings

    async def body() -> None:
        stop = Stop()
        stop.on_signals()
        await work(stop)

    try:
        asyncio.run(body())
    except DucoError as error:
        sys.exit(f"duco: {error}")

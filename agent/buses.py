"""One bus of the machine, on any interface of python-can: the agent's frame source.

A thread of its own waits for frames and packs them away; the agent takes them when it likes. A bus that goes away is
opened again until it is back.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from itertools import chain, repeat
from typing import Any

import can

from duco_workbench.model import FrameBatch

from .bus_time import BusTime
from .columns import Columns, batch
from .drafts import OPENING
from .kernel_queue import KernelQueue
from .peers import Backoff, in_words, now

CAPACITY = 1 << 16  # frames; some 15 s of a full bus at 500 kbit/s
WAIT = 0.25  # seconds for a frame, before looking whether to stop
# Interfaces that queue frames with their times: a pause between two looks costs no precision, and saves a change of
# threads per frame.
QUEUING = frozenset({"socketcan", "udp_multicast", "virtual", "pcan", "vector", "kvaser", "ixxat"})
PAUSE = 0.01  # seconds
BURST = 4096  # frames in a row, before the kernel is asked what it dropped

_log = logging.getLogger(__name__)


class CanBus:
    """A FrameSource.

    Args:
        name: of the bus in everything that is stored, e.g. ``"can0"``.
        interface, channel: python-can's, e.g. ``"socketcan"``, ``"can0"``.
        options: more of python-can's: ``bitrate``, ``fd``, ``can_filters``, ``app_name`` …
        capacity: frames kept until they are read.
        clock: microseconds UTC.
        opener: what opens a bus, with the arguments of ``can.Bus``.
    """

    ended = False

    def __init__(
        self,
        name: str,
        interface: str,
        channel: str | int = "",
        options: Mapping[str, Any] | None = None,
        *,
        capacity: int = CAPACITY,
        clock: Callable[[], int] = now,
        opener: Callable[..., can.BusABC] = can.Bus,
    ) -> None:
        self.name = name
        self._arguments = {**(options or {}), "interface": interface, "channel": channel}
        self._where, self._pause = f"{interface} {channel}".strip(), PAUSE if interface in QUEUING else 0.0
        self._clock, self._opener = clock, opener
        self._columns, self._time = Columns(capacity), BusTime()
        self._state = OPENING
        self._refused = self._dropped_before = self._dropped_now = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def state(self) -> str:
        return self._state

    @property
    def dropped(self) -> int:
        """Frames that came and were lost for want of room, here or (SocketCAN) in the kernel."""
        return self._refused + self._dropped_before + self._dropped_now

    def open(self) -> None:
        self._stop = threading.Event()  # its own for each thread: one that hangs in a driver must not begin again
        self._state = OPENING
        self._thread = threading.Thread(
            target=self._keep_open, args=(self._stop,), name=f"bus {self.name}", daemon=True
        )
        self._thread.start()

    def read(self) -> FrameBatch:
        records = self._columns.take()
        return batch(records, self._time.to_utc(records["stamp"], records["arrived"]), (self.name,))

    def close(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(4 * WAIT)
        self._state = f"{self.name}: closed"

    def _keep_open(self, stop: threading.Event) -> None:
        """The thread. Whatever a driver raises, the bus is tried again: nobody is there to start it anew."""
        backoff = Backoff()
        while not stop.is_set():
            try:
                with self._opener(**self._arguments) as bus:
                    backoff.begin()
                    self._receive(bus, stop)
            except Exception as error:
                self._say(f"{self.name}: {self._where} is away: {in_words(error)}; it is tried again until it is back")
                stop.wait(backoff.pause())

    def _receive(self, bus: can.BusABC, stop: threading.Event) -> None:
        """Until told to stop. Raises: what the driver raises when the bus goes away."""
        queue = KernelQueue(_fileno(bus))
        wait = 0.0  # an interface that is down opens well and fails at the first look
        try:
            while not stop.is_set():
                self._collect(bus, wait)
                self._say("up")
                self._dropped_now = queue.dropped()
                stop.wait(self._pause)
                wait = WAIT
        finally:
            self._dropped_before, self._dropped_now = self._dropped_before + queue.dropped(), 0
            queue.close()

    def _collect(self, bus: can.BusABC, wait: float) -> None:
        """The next frame and those that stand behind it."""
        for wait_now in chain((wait,), repeat(0.0, BURST)):
            message = bus.recv(wait_now)
            if message is None:
                return
            if not self._columns.put(message, self._clock()):
                self._refused += 1

    def _say(self, state: str) -> None:
        if state != self._state:
            self._state = state
            if state == "up":
                _log.info("%s: up", self.name)
            else:
                _log.warning(state)


def _fileno(bus: can.BusABC) -> int:
    try:
        return bus.fileno()
    except NotImplementedError:
        return -1

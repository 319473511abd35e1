"""What goes for every peer of a collector, bus or daemon: it may be away, is tried again, and is spoken of in words."""

from __future__ import annotations

import time
from collections.abc import Callable

from duco_workbench.wire import LogLine

from .drafts import Draft, Emit

RETRY_FIRST, RETRY_LAST = 0.5, 10.0  # seconds


def now() -> int:
    """The system clock, microseconds UTC."""
    return time.time_ns() // 1000


def in_words(error: Exception) -> str:
    """What an exception says, or its name when it says nothing."""
    return str(error).strip().rstrip(".") or type(error).__name__


class Backoff:
    """Pauses between tries, each twice the one before; from the first again after a peer that was there for long."""

    def __init__(self) -> None:
        self._pause = RETRY_FIRST
        self._begun: float | None = None

    def begin(self) -> None:
        """The peer is there."""
        self._begun = time.monotonic()

    def pause(self) -> float:
        """Seconds to wait now that it is away."""
        if self._begun is not None and time.monotonic() - self._begun >= RETRY_LAST:
            self._pause = RETRY_FIRST
        self._begun = None
        pause, self._pause = self._pause, min(2 * self._pause, RETRY_LAST)
        return pause


class Telling:
    """A peer's state as ``vehicle_log`` lines; the same is said only once, until something else was."""

    def __init__(self, logger: str, emit: Emit, clock: Callable[[], int]) -> None:
        self._logger, self._emit, self._clock = logger, emit, clock
        self._latest = ""

    def info(self, text: str) -> None:
        self._say("info", text)

    def warning(self, text: str) -> None:
        self._say("warning", text)

    def _say(self, level: str, text: str) -> None:
        if text != self._latest:
            self._latest = text
            self._emit(Draft("vehicle_log", self._clock(), LogLine(level, self._logger, text)))

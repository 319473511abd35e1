"""What a collector has to say of its own peer: a ``vehicle_log`` line when it changes, not each time it holds."""

from __future__ import annotations

from collections.abc import Callable

from duco_workbench.wire import LogLine

from .drafts import Draft, Emit


class Telling:
    """Says the same only once, until something else was said."""

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

"""The agent's own warnings and errors as ``vehicle_log`` messages."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque

from duco_workbench import wire
from duco_workbench.model import SECOND

from .drafts import Draft, Emit

MOST, SPAN_S = 20, 60.0  # messages per span; what is beyond that is in the local log only
SAME_S = 600.0  # the same text is told again after that
LONGEST = 2000  # characters


class Remarks(logging.Handler):
    """A handler for one agent's logger; it changes nothing for other loggers.

    Args:
        emit: called on the event loop, whatever thread logs.
    """

    def __init__(self, emit: Emit) -> None:
        super().__init__(logging.WARNING)
        self._emit, self._loop = emit, asyncio.get_running_loop()
        self._recent: deque[float] = deque(maxlen=MOST)
        self._told: dict[str, float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()[:LONGEST]
        if not self._loop.is_closed() and self._is_new(text, time.monotonic()):
            line = wire.LogLine(record.levelname.lower(), record.name, text)
            self._loop.call_soon_threadsafe(self._emit, Draft("vehicle_log", round(record.created * SECOND), line))

    def _is_new(self, text: str, at: float) -> bool:
        """Neither the same again nor one of too many: an agent without a hub must not fill its queue with that."""
        self._told = {known: when for known, when in self._told.items() if at - when < SAME_S}
        is_flood = len(self._recent) == MOST and at - self._recent[0] < SPAN_S
        if text in self._told or is_flood:
            return False
        self._told[text] = at
        self._recent.append(at)
        return True

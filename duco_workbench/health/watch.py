"""One reader for all who look: a thread that reads again every few seconds, as long as anybody asks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..errors import DucoError

EVERY_S = 5.0
IDLE_S = 15.0  # nobody asked for this long: nobody looks
SHARE = 10  # of the time at most one in so many goes into reading, however large the store has become


@dataclass(frozen=True, slots=True)
class Reading:
    """``found``: what was read, None when nothing could be; then ``error`` says why. ``number`` rises by one each."""

    number: int
    found: dict[str, Any] | None
    error: str = ""


class Watch:
    """Threads may share it. Reads from the first question on, and pauses when the questions stop."""

    def __init__(self, read: Callable[[], dict[str, Any]], every_s: float = EVERY_S, idle_s: float = IDLE_S) -> None:
        self._read, self._every_s, self._idle_s = read, every_s, idle_s
        self._latest: Reading | None = None
        self._count = 0
        self._asked = 0.0
        self._lock = threading.Lock()
        self._question = threading.Event()
        self._thread: threading.Thread | None = None

    def latest(self) -> Reading | None:
        """The newest reading, None while the first is under way; never blocks."""
        self._asked = time.monotonic()
        self._question.set()
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="status-reader", daemon=True)
                self._thread.start()
        return self._latest

    def _run(self) -> None:
        while True:
            begun = time.monotonic()
            self._latest = self._reading()
            time.sleep(max(self._every_s, SHARE * (time.monotonic() - begun)))
            if time.monotonic() - self._asked > self._idle_s:
                self._latest = None  # it will be old when somebody asks again
                self._question.clear()
                self._question.wait()

    def _reading(self) -> Reading:
        self._count += 1
        try:
            return Reading(self._count, self._read())
        except DucoError as error:
            return Reading(self._count, None, str(error))
        except Exception as error:  # the page must say so; the next reading may go well
            return Reading(self._count, None, f"the status could not be read: {error!r}")

"""Whether the machine's key is on: from a file or GPIO, from the traffic of its buses, or always.

What becomes of it is the agent's: it collects while :attr:`Key.is_on`. Turns of the key are ``key_on`` and ``key_off``
events.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from duco_workbench.model import SECOND, FrameBatch
from duco_workbench.wire import EventBody

from .clock import since_boot
from .drafts import Draft, Emit
from .peers import in_words, now

LOOK = 0.2  # seconds between two looks
STEADY = SECOND // 2  # microseconds a new position must hold: starting the engine makes the line drop for a moment


class Lock(Protocol):
    """Where the key's position is seen."""

    def is_on(self) -> bool | None:
        """None when it cannot be seen."""
        ...

    @property
    def trouble(self) -> str:
        """Why it cannot be seen, or ""."""
        ...


class AlwaysOn:
    trouble = ""

    def is_on(self) -> bool | None:
        return True


class KeyFile:
    """A file whose text is ``on`` while the key is: ``/sys/class/gpio/gpio17/value``, or one that a program writes."""

    def __init__(self, path: str, on: str = "1") -> None:
        self._path, self._on, self.trouble = Path(path), on, ""

    def is_on(self) -> bool | None:
        try:
            text = self._path.read_text("ascii", "replace").strip()
        except OSError as error:
            self.trouble = f"the key cannot be seen: {in_words(error)}; the agent takes it for on"
            return None
        self.trouble = ""
        return text == self._on


class Traffic:
    """On with the first frame, off when all buses were silent for ``off_after_s``. A FrameWatcher.

    Silence is measured by when frames were handed over, not by their times: the clock may be set meanwhile.
    """

    trouble = ""

    def __init__(self, off_after_s: float = 60.0, *, monotonic: Callable[[], int] = since_boot) -> None:
        self._off_after, self._monotonic = round(off_after_s * SECOND), monotonic
        self._latest: int | None = None

    def on_frames(self, frames: FrameBatch) -> list[Draft]:
        if len(frames):
            self._latest = self._monotonic()
        return []

    def is_on(self) -> bool | None:
        return self._latest is not None and self._monotonic() - self._latest < self._off_after


class Key:
    """A Collector of the turns of the key; until it was seen it is taken for on, so that nothing is missed.

    Args:
        clock: microseconds UTC.
    """

    def __init__(self, lock: Lock, *, clock: Callable[[], int] = now) -> None:
        self._lock, self._clock = lock, clock
        self._since: int | None = None  # another position is seen, since then
        self._was_told = False
        self.is_on = True

    @property
    def trouble(self) -> str:
        """A sentence when the key cannot be seen, or ""."""
        return self._lock.trouble

    async def run(self, emit: Emit) -> None:
        while True:
            for draft in self.look():
                emit(draft)
            await asyncio.sleep(LOOK)

    def look(self) -> list[Draft]:
        """The turn of the key since the last look, if there was one."""
        ts = self._clock()
        seen = self._lock.is_on()
        is_on = True if seen is None else seen
        if not self._was_told:
            self._was_told, self.is_on = True, is_on
            return [_turn(ts, True)] if is_on else []
        if is_on == self.is_on:
            self._since = None
            return []
        if self._since is None or ts < self._since:
            self._since = ts
        if ts - self._since < STEADY:
            return []
        self.is_on, begun, self._since = is_on, self._since, None
        return [_turn(begun, is_on)]


def _turn(ts: int, is_on: bool) -> Draft:
    return Draft("vehicle_event", ts, EventBody("key_on" if is_on else "key_off"))

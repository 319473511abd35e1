"""Times of an interface's own clock made times of the system clock, with the distances between frames kept.

What python-can gives as ``timestamp`` is seconds since 1970, since the computer started, since the adapter did, or
nothing at all, as the interface likes. The difference to the system clock is measured at the first frame. A frame is
read after it happened, never before: the frame that was read soonest shows best how the two clocks stand, and by it the
difference is mended as they drift.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from duco_workbench.model import SECOND

CLOSE = SECOND // 10  # microseconds: a clock this close to the system's at the first frame is taken for the same
EARLY, LATE = CLOSE, 10 * SECOND  # further off, one of the clocks was set or began anew; frames may wait 10 s
WINDOW = 10 * SECOND  # in which one frame surely is read at once
MOST_JUMPS = 8  # of one call; a clock that jumps more is worth nothing, and reading times are taken


class BusTime:
    """The clock of one bus. ``jumps`` counts how often it was measured anew."""

    def __init__(self) -> None:
        self.jumps = 0
        self._offset: int | None = None  # microseconds from the interface's time to ours
        self._is_same = False
        self._latest = 0  # given so far
        self._soonest, self._window_end = 0, 0

    def to_utc(self, stamps: NDArray[np.float64], arrived: NDArray[np.int64]) -> NDArray[np.int64]:
        """Times of frames (n), microseconds UTC: ``stamps`` in seconds, ``arrived`` when each was read, microseconds.

        A frame without a stamp (0, negative, not a number) happened when it was read.
        """
        ts = arrived.copy()
        stamped = np.flatnonzero((stamps > 0) & (stamps < 1e11))
        if stamped.size:
            ts[stamped] = self._follow(np.rint(stamps[stamped] * 1e6).astype(np.int64), arrived[stamped])
        return ts

    def _follow(self, stamps: NDArray[np.int64], arrived: NDArray[np.int64]) -> NDArray[np.int64]:
        ts, at = arrived.copy(), 0
        for _ in range(MOST_JUMPS):
            lag = arrived[at:] - stamps[at:]
            offset = self._begin(lag, int(arrived[at])) if self._offset is None else self._offset
            late = lag - offset
            off = np.flatnonzero((late < -EARLY) | (late > LATE))
            end = at + (int(off[0]) if off.size else late.size)
            if end > at:
                ts[at:end] = self._give(stamps[at:end], int(late[: end - at].min()), int(arrived[end - 1]))
            if end == ts.size:
                return ts
            at, self._offset, self.jumps = end, None, self.jumps + 1
        return ts

    def _begin(self, lag: NDArray[np.int64], now: int) -> int:
        """By the first frame, or one right behind it that was read sooner."""
        soonest = int(lag[np.abs(lag - lag[0]) <= LATE].min())
        self._is_same = abs(soonest) <= CLOSE
        self._offset = 0 if self._is_same else soonest
        self._latest, self._soonest, self._window_end = 0, LATE, now + WINDOW
        return self._offset

    def _give(self, stamps: NDArray[np.int64], soonest: int, now: int) -> NDArray[Any]:
        """Times of frames between two jumps. A step back of the difference does not turn the order of frames."""
        assert self._offset is not None
        if soonest < 0 and not self._is_same:  # read before it happened: what it was measured by came late
            self._offset += soonest
            soonest = 0
        ts = np.maximum(stamps + self._offset, self._latest)
        self._latest = int(ts.max())
        self._mend(soonest, now)
        return ts

    def _mend(self, soonest: int, now: int) -> None:
        """Once a window, by the frame of it that was read soonest."""
        assert self._offset is not None
        self._soonest = min(self._soonest, soonest)
        if now < self._window_end:
            return
        if not self._is_same or self._soonest > CLOSE:
            self._offset += self._soonest
            self._is_same = False
        self._soonest, self._window_end = LATE, now + WINDOW

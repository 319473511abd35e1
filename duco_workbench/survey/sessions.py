"""Chunks that cut no transport session: the frames of a session wait for the chunk in which it ends.

The decoder keeps nothing between calls, so a session that two chunks share would be lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from ..j1939 import transport_rows
from ..j1939.transport import TIMEOUT
from ..model import FrameBatch

_START = (16, 32)  # TP.CM: request to send, broadcast announcement
_MOST_HELD = 65_536  # frames; more are noise, not sessions


def whole_sessions(batches: Iterable[FrameBatch]) -> Iterator[FrameBatch]:
    """The same frames, each once, in order of time on each bus but for those that waited."""
    held: FrameBatch | None = None
    for batch in batches:
        whole = FrameBatch.concat([held, batch]) if held is not None else batch
        waiting = _open_rows(whole)
        held = whole[waiting] if len(waiting) else None
        ready = np.delete(np.arange(len(whole)), waiting) if len(waiting) else slice(None)
        yield whole[ready] if held is not None else whole
    if held is not None:
        yield held


def _open_rows(frames: FrameBatch) -> NDArray[np.intp]:
    """Rows of the sessions that may go on after the last frame."""
    rows = transport_rows(frames.arbitration_id)
    if not len(rows):
        return rows
    ids, ts = frames.arbitration_id[rows].astype(np.int64), frames.ts[rows]
    is_control, kind = (ids >> 16) & 0xFF == 0xEC, frames.data[rows, 0]
    channel, sender, destination = frames.channel[rows].astype(np.int64) << 16, ids & 0xFF, (ids >> 8) & 0xFF
    is_start = is_control & np.isin(kind, _START)
    forth, back = channel | destination << 8 | sender, channel | sender << 8 | destination
    is_answer = is_control & ~is_start
    waits = np.zeros(len(rows), bool)
    recent = ts > int(frames.ts[-1]) - TIMEOUT
    for key in np.unique(forth[recent & ~is_answer]).tolist():
        starts = np.flatnonzero(is_start & (forth == key))
        if len(starts):
            mine = (forth == key) | (is_answer & (back == key))
            mine[: starts[-1]] = False
            packets = int((mine & ~is_control).sum())
            if packets < frames.data[rows[starts[-1]], 3]:
                waits |= mine
    open_rows = rows[waits]
    return open_rows if len(open_rows) <= _MOST_HELD else open_rows[:0]

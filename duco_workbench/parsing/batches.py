"""The steps of :mod:`.kernels` as one kernel: each call from Python, with all these arrays, costs microseconds."""

from __future__ import annotations

from typing import Any

from ..jit import kernel
from .classify import check, classify, classify_long
from .kernels import DONE, FULL, SESSION_FRAMES, SLOTS_USED, Frames, State, Work
from .layout import layout
from .plan import Tables
from .reassembly import Sessions, give_up, messages_of, reassemble
from .values import Output, fill


@kernel
def _has_room(s: State, w: Work) -> bool:
    """For all that the messages of this batch's sessions may teach: they are put together only once."""
    most = w.counts[SESSION_FRAMES] // 2 * (3 + w.active.size)
    return bool(s.used[SLOTS_USED] + most < s.slots.size // 4)


@kernel
def decode(
    t: Tables, s: State, f: Frames, sessions: Sessions, w: Work, outcomes: Any, is_last: bool, out: Output
) -> Any:
    """All steps: the outcome of step 1; messages put together from sessions; what step 3 gives; and whether ``out`` was
    long enough for step 4, which is still to be done if not.

    Args:
        outcomes: how sessions ended is added here.
        is_last: what is open after these frames is given up.
    """
    long = messages_of(0)
    outcome, is_plain = check(f)
    if outcome == DONE:
        outcome = classify(t, s, f, long, w, is_plain)
    if outcome == DONE and w.counts[SESSION_FRAMES]:
        if _has_room(s, w):
            long = reassemble(sessions, f, w.transport[: w.counts[SESSION_FRAMES]], outcomes)
            outcome = classify_long(t, s, f, long, w)
        else:
            outcome = FULL
    if outcome == DONE and is_last:
        give_up(sessions, outcomes)
    cells, rows, times, integers, starts, at, keys = layout(t, s, w)
    fits = rows <= min(out.value.size, out.status.size) and times <= out.times.size and not integers
    if outcome == DONE and fits:
        fill(t, s, f, long, w, cells, starts, out)
    return outcome, long, cells, times, integers, starts, at, keys, fits

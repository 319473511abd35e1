"""Step 3 of the kernels: where every row goes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..jit import kernel
from .kernels import KEY, OFFSET, PARTS, ROWS, SERIES, TIMES, TOUCHED, State, Work
from .plan import INTEGER, INTEGER_UNSIGNED, Tables


@kernel
def layout(t: Tables, s: State, w: Work) -> Any:
    """Step 3: cells (one for each label of each stream here); rows; times; whether there are wide integers; and of
    every series its first row, where its times begin, and ``stream << 32 | label``.

    A piece's times serve all its series; those of a series of several pieces stand behind them, once more.
    """
    cell_count, start = 0, 0
    for k in range(w.counts[TOUCHED]):
        p = w.touched[k]
        stream = s.pieces[p].stream
        s.place[p] = start
        start += s.rows[p]
        if s.streams[stream].cell < 0:
            s.streams[stream].cell = cell_count
            cell_count += t.groups[s.streams[stream].group].count
    cells, integers = np.zeros((cell_count, 6), np.int64), False
    for k in range(w.counts[TOUCHED]):
        p = s.pieces[w.touched[k]]
        stream = s.streams[p.stream]
        first = t.codecs[p.codec].first
        for q in range(first, first + p.signals):
            label = t.signals[q].label
            cell = cells[stream.cell + label]
            cell[ROWS] += s.rows[w.touched[k]]
            cell[PARTS] += 1
            cell[KEY] = np.int64(p.stream) << 32 | np.int64(t.groups[stream.group].first + label)
            cell[TIMES] = s.place[w.touched[k]]
            integers |= t.signals[q].kind == INTEGER or t.signals[q].kind == INTEGER_UNSIGNED
    rows, series = 0, 0
    for c in range(cell_count):
        if cells[c, ROWS]:
            cells[c, OFFSET] = rows
            cells[c, SERIES] = series
            rows += cells[c, ROWS]
            series += 1
            if cells[c, PARTS] > 1:
                cells[c, TIMES] = start
                start += cells[c, ROWS]
    starts, at, keys = np.empty(series + 1, np.int64), np.empty(series, np.int64), np.empty(series, np.int64)
    for c in range(cell_count):
        if cells[c, ROWS]:
            starts[cells[c, SERIES]] = cells[c, OFFSET]
            at[cells[c, SERIES]] = cells[c, TIMES]
            keys[cells[c, SERIES]] = cells[c, KEY]
    starts[series] = rows
    return cells, rows, start, integers, starts, at, keys

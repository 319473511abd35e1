"""Step 3 of the kernels: payloads to values, one column of one piece at a time, so that the loops have no branches."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .kernels import OFFSET, PAIRS, PARTS, ROWS, SERIES, TOUCHED, Frames, State, Work, kernel, swapped
from .plan import FLOAT32, FLOAT64, INTEGER, INTEGER_UNSIGNED, LINEAR, LINEAR_UNSIGNED, Tables

_BLOCK = 4096  # words of payload at a time: what stays in the nearest cache
_OUT_OF_RANGE, _ERROR, _NOT_AVAILABLE = 3, 2, 1  # model.Status


class Output(NamedTuple):
    """The columns of Samples, all of one length."""

    series: NDArray[np.int32]
    ts: NDArray[np.int64]
    value: NDArray[np.float64]
    status: NDArray[np.uint8]


@kernel
def _raw(payload: Any, n: int, g: Any, raw: Any) -> None:
    """Raw unsigned values of signal ``g``; ``payload`` (w, block) holds the frames' words, one word a row."""
    here = payload[g.word]
    shift, back = g.shift, np.uint64(64) - g.shift
    down = np.uint64(64) - g.length
    mask = g.mask
    if g.big and g.two_words:
        more = payload[g.word + 1]
        for j in range(n):
            raw[j] = ((swapped(here[j]) << shift) | (swapped(more[j]) >> back)) >> down
    elif g.big:
        for j in range(n):
            raw[j] = (swapped(here[j]) << shift) >> down
    elif g.two_words:
        more = payload[g.word + 1]
        for j in range(n):
            raw[j] = ((here[j] >> shift) | (more[j] << back)) & mask
    else:
        for j in range(n):
            raw[j] = (here[j] >> shift) & mask


@kernel
def _half(x: Any) -> float:
    """IEEE 754 half precision, which numba has no type for."""
    exponent, fraction = np.int64((x >> np.uint64(10)) & np.uint64(31)), np.float64(x & np.uint64(1023))
    if exponent == 31:
        size = np.inf if fraction == 0.0 else np.nan
    elif exponent == 0:
        size = fraction * 2.0**-24
    else:
        size = (1024.0 + fraction) * 2.0 ** (exponent - 25)
    return -size if x >> np.uint64(15) else size


@kernel
def _scaled(raw: Any, n: int, g: Any, value: Any) -> None:
    """Physical values; the order of operations is cantools', so that each rounding is the same."""
    kind, scale, offset = g.kind, g.scale, g.offset
    sign, below = g.sign, np.int64(g.sign)
    if kind == LINEAR:
        for j in range(n):
            value[j] = np.float64(np.int64(raw[j] ^ sign) - below) * scale + offset
    elif kind == LINEAR_UNSIGNED:
        for j in range(n):
            value[j] = np.float64(raw[j]) * scale + offset
    elif kind == INTEGER:
        for j in range(n):
            value[j] = np.float64((np.int64(raw[j] ^ sign) - below) * g.int_scale + g.int_offset)
    elif kind == INTEGER_UNSIGNED:
        for j in range(n):
            value[j] = np.float64(raw[j] * np.uint64(g.int_scale) + np.uint64(g.int_offset))
    elif kind == FLOAT64:
        doubles = raw.view(np.float64)
        for j in range(n):
            value[j] = doubles[j] * scale + offset
    elif kind == FLOAT32:
        singles = raw[:n].astype(np.uint32).view(np.float32)
        for j in range(n):
            value[j] = np.float64(singles[j]) * scale + offset
    else:
        for j in range(n):
            value[j] = _half(raw[j]) * scale + offset


@kernel
def _judge(raw: Any, n: int, g: Any, value: Any, status: Any) -> None:
    """Statuses by the thresholds of :mod:`.validity`; what is not ok has no number."""
    if not g.judged:
        status[:n] = 0
        return
    out_of_range, error, not_available = g.out_of_range, g.error, g.not_available
    for j in range(n):
        x = raw[j]
        judged = np.uint8(_OUT_OF_RANGE) if x >= out_of_range else np.uint8(0)
        judged = np.uint8(_ERROR) if x >= error else judged
        judged = np.uint8(_NOT_AVAILABLE) if x >= not_available else judged
        status[j] = judged
        value[j] = value[j] if x < out_of_range else np.nan


@kernel
def _block(t: Tables, piece: Any, base: int, payload: Any, ts: Any, n: int, raw: Any, cells: Any, out: Output) -> None:
    """Decodes ``n`` gathered frames of a piece; each series' OFFSET moves past what it got."""
    first = t.codecs[piece.codec].first
    for q in range(first, first + piece.signals):
        g = t.signals[q]
        cell = cells[base + g.label]
        at = cell[OFFSET]
        cell[OFFSET] = at + n
        _raw(payload, n, g, raw)
        value = out.value[at : at + n]
        _scaled(raw, n, g, value)
        _judge(raw, n, g, value, out.status[at : at + n])
        out.ts[at : at + n] = ts[:n]
        out.series[at : at + n] = cell[SERIES]


@kernel
def _gather(f: Frames, rows: Any, words: int, payload: Any, ts: Any) -> bool:
    """Copies the words and times of ``rows``; whether the times rise."""
    rising = True
    for j in range(rows.size):
        ts[j] = f.ts[rows[j]]
        rising &= j == 0 or ts[j] >= ts[j - 1]
    for q in range(words):
        for j in range(rows.size):
            payload[q, j] = f.words[rows[j], q]
    return rising


@kernel
def _sort(begin: int, end: int, out: Output) -> None:
    """Rows begin..end of one series by time, equal times in the order they are."""
    rising = True
    for j in range(begin + 1, end):
        rising &= out.ts[j] >= out.ts[j - 1]
    if rising:
        return
    order = np.argsort(out.ts[begin:end], kind="mergesort")
    out.ts[begin:end] = out.ts[begin:end][order]
    out.value[begin:end] = out.value[begin:end][order]
    out.status[begin:end] = out.status[begin:end][order]


@kernel
def fill(t: Tables, s: State, f: Frames, w: Work, cells: Any, out: Output) -> None:
    """Step 3: writes every row of ``out`` and clears what this call left in the state."""
    for e in range(w.counts[PAIRS]):
        p = w.pairs[e]
        w.sorted[s.pieces[p].start] = w.frames[e]
        s.pieces[p].start += 1
    width = f.words.shape[1]
    block = max(16, _BLOCK // width)
    payload, raw = np.empty((width, block), np.uint64), np.empty(block, np.uint64)
    ts = np.empty(block, np.int64)
    last = np.iinfo(np.int64).min
    for k in range(w.counts[TOUCHED]):
        piece = s.pieces[w.touched[k]]
        base = s.streams[piece.stream].cell
        words = min(width, (t.codecs[piece.codec].limit + 7) // 8)
        rising, last = True, np.iinfo(np.int64).min
        for begin in range(piece.start - piece.rows, piece.start, block):
            rows = w.sorted[begin : min(begin + block, piece.start)]
            rising &= _gather(f, rows, words, payload, ts) and ts[0] >= last
            last = ts[rows.size - 1]
            _block(t, piece, base, payload, ts, rows.size, raw, cells, out)
        if not rising:
            first = t.codecs[piece.codec].first
            for q in range(first, first + piece.signals):
                cells[base + t.signals[q].label, PARTS] += 1
    for c in range(cells.shape[0]):
        if cells[c, PARTS] > 1:
            _sort(cells[c, OFFSET] - cells[c, ROWS], cells[c, OFFSET], out)
    for k in range(w.counts[TOUCHED]):
        s.streams[s.pieces[w.touched[k]].stream].cell = -1
        s.pieces[w.touched[k]].rows = 0

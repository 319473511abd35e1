"""Step 4 of the kernels: payloads to values, one column of one piece at a time, so that the loops have no branches.

Most signals are plain numbers within one 64-bit word: for these one pass takes the bits, scales and judges them
(:mod:`.validity`), in vector registers. All others (over two words, floats, wide integers) first become a column of raw
values.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..jit import kernel
from .kernels import OFFSET, PAIRS, PARTS, ROWS, SERIES, TIMES, TOUCHED, Frames, Long, State, Work, swapped
from .plan import (
    FLOAT32,
    FLOAT64,
    INTEGER,
    INTEGER_UNSIGNED,
    LINEAR,
    LINEAR_UNSIGNED,
    SHIFTED,
    SHIFTED_UNSIGNED,
    WIDE,
    Tables,
)

_BLOCK = 4096  # words of payload at a time: what stays in the nearest cache
_OUT_OF_RANGE, _ERROR, _NOT_AVAILABLE = 3, 2, 1  # model.Status


class Output(NamedTuple):
    """Values and statuses in order of series; times as :func:`.kernels.layout` placed them; the exact value of every
    integer wider than 53 bits (of no length where there is none)."""

    value: NDArray[np.float64]
    status: NDArray[np.uint8]
    times: NDArray[np.int64]
    integers: NDArray[np.int64]


@kernel
def _raw(here: Any, more: Any, n: int, g: Any, raw: Any) -> None:
    """Raw unsigned values of signal ``g`` from its word, and the next one where it goes on there."""
    shift, back = g.shift, np.uint64(64) - g.shift
    down = np.uint64(64) - g.length
    mask = g.mask
    if g.big and g.two_words:
        for j in range(n):
            raw[j] = ((swapped(here[j]) << shift) | (swapped(more[j]) >> back)) >> down
    elif g.big:
        for j in range(n):
            raw[j] = (swapped(here[j]) << shift) >> down
    elif g.two_words:
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
def _integers(raw: Any, n: int, g: Any, value: Any, integers: Any) -> None:
    """Integers wider than 53 bits: exact in ``integers``, as int64 or (unsigned) the bits of uint64."""
    sign, below = g.sign, np.int64(g.sign)
    if g.kind == INTEGER:
        for j in range(n):
            integers[j] = (np.int64(raw[j] ^ sign) - below) * g.int_scale + g.int_offset
            value[j] = np.float64(integers[j])
    else:
        for j in range(n):
            x = raw[j] * np.uint64(g.int_scale) + np.uint64(g.int_offset)
            integers[j] = np.int64(x)
            value[j] = np.float64(x)


@kernel
def _rounded(high: Any, low: Any) -> float:
    """An unsigned integer of 128 bits as float64, rounded once."""
    if high == 0:
        return np.float64(low)
    n = np.uint64(0)
    while not (high << n) >> np.uint64(63):
        n += np.uint64(1)
    top = (high << n) | (low >> (np.uint64(64) - n)) if n else high
    rest = np.uint64((low << n) != 0)  # far below the last bit that counts, but not nothing
    return np.float64(top | rest) * 2.0 ** np.float64(np.uint64(64) - n)


@kernel
def _exactly(number: Any, is_below: bool, factor: Any, add: Any, is_less: bool) -> float:
    """``±number * factor ± add`` of unsigned integers, rounded once.

    Args:
        is_below: the product is negative.
        is_less: what is added is.
    """
    half, mask = np.uint64(32), np.uint64(0xFFFF_FFFF)
    a, b, c, d = number & mask, number >> half, factor & mask, factor >> half
    middle = (a * c >> half) + (a * d & mask) + (b * c & mask)
    low = (a * c & mask) | (middle << half)
    high = b * d + (a * d >> half) + (b * c >> half) + (middle >> half)
    if is_below == is_less:
        high += np.uint64(low + add < low)
        low = low + add
    elif high == 0 and low < add:
        low, is_below = add - low, is_less
    else:
        high -= np.uint64(low < add)
        low = low - add
    size = _rounded(high, low)
    return -size if is_below else size


@kernel
def _wide(raw: Any, n: int, g: Any, value: Any) -> None:
    """Integers that need more than 64 bits when they are scaled."""
    factor, add = np.uint64(abs(g.int_scale)), np.uint64(abs(g.int_offset))
    rest = 0.0 if np.float64(g.int_offset) == g.offset else g.offset  # one that is no integer
    for j in range(n):
        is_negative = g.sign != 0 and raw[j] & g.sign != 0
        number = np.uint64(g.sign) - (raw[j] ^ g.sign) if is_negative else raw[j]
        is_below = is_negative != (g.int_scale < 0)
        value[j] = _exactly(number, is_below, factor, add, g.int_offset < 0) + rest


@kernel
def _others(raw: Any, n: int, g: Any, value: Any) -> None:
    """Floats, and integers that no longer are integers when they are scaled."""
    scale, offset = g.scale, g.offset
    if g.kind == LINEAR:
        for j in range(n):
            value[j] = np.float64(np.int64(raw[j] ^ g.sign) - np.int64(g.sign)) * scale + offset
    elif g.kind == LINEAR_UNSIGNED:
        for j in range(n):
            value[j] = np.float64(raw[j]) * scale + offset
    elif g.kind == SHIFTED:
        for j in range(n):
            value[j] = np.float64((np.int64(raw[j] ^ g.sign) - np.int64(g.sign)) * g.int_scale) + offset
    elif g.kind == SHIFTED_UNSIGNED:
        for j in range(n):
            value[j] = np.float64(raw[j] * np.uint64(g.int_scale)) + offset
    elif g.kind == WIDE:
        _wide(raw, n, g, value)
    elif g.kind == FLOAT64:
        doubles = raw.view(np.float64)
        for j in range(n):
            value[j] = doubles[j] * scale + offset
    elif g.kind == FLOAT32:
        singles = raw[:n].astype(np.uint32).view(np.float32)
        for j in range(n):
            value[j] = np.float64(singles[j]) * scale + offset
    else:
        for j in range(n):
            value[j] = _half(raw[j]) * scale + offset


@kernel
def _judge(raw: Any, n: int, g: Any, value: Any, status: Any) -> None:
    """Statuses of values that are there already."""
    status[:n] = 0
    if g.judged:
        for j in range(n):
            if raw[j] >= g.out_of_range:
                status[j] = (
                    _OUT_OF_RANGE if raw[j] < g.error else _ERROR if raw[j] < g.not_available else _NOT_AVAILABLE
                )
                value[j] = np.nan


@kernel
def _general(source: Any, here: Any, more: Any, n: int, g: Any, raw: Any, out: Output, at: Any) -> None:
    """Signal ``g`` of any kind, from its word (and the next) of each frame, into the rows from ``at`` on."""
    _raw(source[here : here + np.uint64(n)], source[more : more + np.uint64(n)], n, g, raw)
    value = out.value[at : at + n]
    if g.kind == INTEGER or g.kind == INTEGER_UNSIGNED:
        _integers(raw, n, g, value, out.integers[at : at + n])
    else:
        _others(raw, n, g, value)
    _judge(raw, n, g, value, out.status[at : at + n])


@kernel
def _gather(f: Frames, long: Long, rows: Any, words: int, payload: Any) -> None:
    """The words of these frames, one word a row of ``payload``."""
    of_frames, width, frame_words, long_words = f.ids.size, f.width, f.words, long.words
    for q in range(words):
        column = payload[q]
        for j in range(rows.size):
            row = np.int64(rows[j])
            if row < of_frames:
                column[j] = frame_words[row * width + q]
            else:
                column[j] = long_words[long.at[row - of_frames] + q]


@kernel
def _is_rising(ts: Any) -> bool:
    falls = 0
    for j in range(1, ts.size):
        falls += ts[j] < ts[j - 1]
    return falls == 0


@kernel
def _group(s: State, f: Frames, long: Long, w: Work, times: Any) -> None:
    """Brings frames, their first words and times together by piece, each piece in order of time; ``place`` moves to its
    end. ``order`` is of use for words behind the first only."""
    ts, words, width, place, piece_of, order, first = f.ts, f.words, f.width, s.place, w.piece, w.order, w.first
    for i in range(ts.size):
        p = piece_of[i]
        if p >= 0 and place[p] >= 0:
            at = np.uint64(place[p])
            place[p] = at + np.uint64(1)
            if width > 1:
                order[at] = i
            first[at] = words[i * width]
            times[at] = ts[i]
    for e in range(w.counts[PAIRS]):
        p, i = w.pairs[e], w.frames[e]
        at = np.uint64(place[p])
        place[p] = at + np.uint64(1)
        order[at] = i
        first[at] = words[i * width] if i < ts.size else long.words[long.at[i - ts.size]]
        times[at] = ts[i] if i < ts.size else ts[long.row[i - ts.size]]
    for k in range(w.counts[TOUCHED]):
        end = place[w.touched[k]]
        begin = end - s.rows[w.touched[k]]
        if not _is_rising(times[begin:end]):
            by_time = np.argsort(times[begin:end], kind="mergesort")
            order[begin:end] = order[begin:end][by_time]
            first[begin:end] = first[begin:end][by_time]
            times[begin:end] = times[begin:end][by_time]


@kernel
def _merge(cell: Any, out: Output) -> None:
    """Rows of a series of several pieces by time, equal times in the order they are."""
    n, end = cell[ROWS], cell[OFFSET]
    times = out.times[cell[TIMES] : cell[TIMES] + n]
    if _is_rising(times):
        return
    order = np.argsort(times, kind="mergesort")
    times[:] = times[order]
    out.value[end - n : end] = out.value[end - n : end][order]
    out.status[end - n : end] = out.status[end - n : end][order]
    if out.integers.size:
        out.integers[end - n : end] = out.integers[end - n : end][order]


@kernel
def _words(t: Tables, piece: Any) -> int:
    """How many words of its frames a piece needs: those up to its last signal, which all of them have."""
    last = t.signals[t.codecs[piece.codec].first + piece.signals - 1]
    return int(last.word) + int(last.two_words) + 1


@kernel
def _columns(
    source: Any,
    origin: Any,
    stride: Any,
    count: int,
    t: Tables,
    run: Any,
    cells: Any,
    starts: Any,
    raw: Any,
    out: Output,
) -> None:
    """Every signal of a piece for ``count`` of its frames; word k of frame j is ``source[origin + k * stride + j]``.

    The order of operations is cantools', so that each rounding is the same. Indices are unsigned: a sign would be
    checked for each value, and keep the loops out of vector registers.

    Args:
        run: first signal, the one behind the last, first cell, and where the frames' times begin.
    """
    first, end, base, begin = run
    signals, value, status, n = t.signals, out.value, out.status, np.uint64(count)
    for q in range(first, end):
        g = signals[q]
        row = base + g.label
        at, here = np.uint64(cells[row, OFFSET]), origin + np.uint64(g.word) * stride
        cells[row, OFFSET] += count
        if cells[row, PARTS] > 1:
            to = cells[row, TIMES] + np.int64(at) - starts[cells[row, SERIES]]
            out.times[to : to + count] = out.times[begin : begin + count]
        if g.kind != LINEAR or g.big or g.two_words:
            _general(source, here, here + stride, count, g, raw, out, np.int64(at))
            continue
        shift, mask, sign, below, scale, offset = g.shift, g.mask, g.sign, np.int64(g.sign), g.scale, g.offset
        if g.judged:
            out_of_range, error, not_available = g.out_of_range, g.error, g.not_available
            for j in range(n):
                x = (source[here + j] >> shift) & mask
                y = np.float64(np.int64(x ^ sign) - below) * scale + offset
                judged = np.uint8(_OUT_OF_RANGE) if x >= out_of_range else np.uint8(0)
                judged = np.uint8(_ERROR) if x >= error else judged
                judged = np.uint8(_NOT_AVAILABLE) if x >= not_available else judged
                status[at + j] = judged
                value[at + j] = y if x < out_of_range else np.nan
        else:
            for j in range(n):
                x = (source[here + j] >> shift) & mask
                value[at + j] = np.float64(np.int64(x ^ sign) - below) * scale + offset
                status[at + j] = 0


@kernel
def fill(t: Tables, s: State, f: Frames, long: Long, w: Work, cells: Any, starts: Any, out: Output) -> None:
    """Writes every row of ``out`` and clears what this call left in the state."""
    _group(s, f, long, w, out.times)
    widest = 1
    for k in range(w.counts[TOUCHED]):
        widest = max(widest, _words(t, s.pieces[w.touched[k]]))
    block = max(16, _BLOCK // widest)
    payload, raw = np.empty((widest, block), np.uint64), np.empty(block, np.uint64)
    flat, none, stride = payload.reshape(-1), np.uint64(0), np.uint64(block)
    for k in range(w.counts[TOUCHED]):
        piece, end = s.pieces[w.touched[k]], s.place[w.touched[k]]
        base, words, first = s.streams[piece.stream].cell, _words(t, piece), t.codecs[piece.codec].first
        for begin in range(end - s.rows[w.touched[k]], end, block):
            n = min(block, end - begin)
            run = (first, first + piece.signals, base, begin)
            if words > 1:
                _gather(f, long, w.order[begin : begin + n], words, payload)
                _columns(flat, none, stride, n, t, run, cells, starts, raw, out)
            else:
                _columns(w.first, np.uint64(begin), none, n, t, run, cells, starts, raw, out)
    for c in range(cells.shape[0]):
        if cells[c, PARTS] > 1:
            _merge(cells[c], out)
    for k in range(w.counts[TOUCHED]):
        s.streams[s.pieces[w.touched[k]].stream].cell = -1
        s.rows[w.touched[k]] = 0

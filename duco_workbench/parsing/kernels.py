"""The loops that touch every frame, compiled by numba; :mod:`.decoder` checks all they are given.

One call decodes a batch in three steps:

1. :func:`classify` finds each frame's message through a learned hash table, and its *pieces*: a piece is one codec of
   one stream (bus, message, sender) at one data length. It notes (frame, piece) pairs and counts them.
2. :func:`layout` gives every series of those pieces its place in the output.
3. :func:`.values.fill` gathers each piece's payloads, decodes them column by column into that place, and puts series
   that came in several pieces in order of time.

A kernel trusts shapes and plan: a wrong one is a crash, not an exception.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

from .plan import Tables

Function = TypeVar("Function", bound=Callable[..., Any])


def kernel(function: Function) -> Function:
    """Compiled on first call, kept on disk for the next process; runs without the interpreter lock."""
    compiled: Any = numba.njit(cache=True, nogil=True)(function)
    return cast(Function, compiled)


def inlined(function: Function) -> Function:
    """Becomes part of the kernel that calls it: a call would pass, and count references to, every array of a table."""
    compiled: Any = numba.njit(inline="always")(function)
    return cast(Function, compiled)


SLOT = np.dtype(
    [("key", "u8"), ("value", "i4"), ("message", "i4"), ("piece", "i4"), ("seen", "i4")],
    align=True,
)
STREAM = np.dtype([("channel", "i4"), ("group", "i4"), ("source", "i4"), ("cell", "i4")], align=True)
PIECE = np.dtype([("stream", "i4"), ("codec", "i4"), ("signals", "i4"), ("rows", "i4"), ("start", "i8")], align=True)
EMPTY = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
NONE = -1


class Frames(NamedTuple):
    """Frames as the kernels take them, n rows; ``words`` (n, w) are the data as little-endian 64-bit words."""

    ts: NDArray[np.int64]
    ids: NDArray[np.uint32]
    lengths: NDArray[np.uint16]
    flags: NDArray[np.uint8]
    words: NDArray[np.uint64]
    channel: NDArray[np.uint8]
    channel_map: NDArray[np.int64]  # the decoder's own number of each channel


class State(NamedTuple):
    """What a decoder has learned of its buses. ``pieces.rows`` is 0 and ``streams.cell`` -1 between calls."""

    slots: NDArray[Any]  # hash table: ids, streams and pieces, told apart by the top bits of their keys
    streams: NDArray[Any]
    pieces: NDArray[Any]
    used: NDArray[np.int64]  # slots, streams, pieces


class Work(NamedTuple):
    """Buffers that are reused from call to call, and the counts of one call."""

    frames: NDArray[np.int32]  # (frame, piece) pairs
    pairs: NDArray[np.int32]
    sorted: NDArray[np.int32]  # frames, grouped by piece; in step 1, frames still to be walked
    touched: NDArray[np.int32]  # pieces of this call, in order of appearance
    texts: NDArray[np.int32]  # (n, 2): a frame whose message has texts, and that message
    active: NDArray[np.int32]  # codecs one frame calls for
    counts: NDArray[np.int64]


PAIRS, TOUCHED, TEXTS, DECODED, UNKNOWN, UNKNOWN_IDS, TRANSPORT, SKIPPED, EPOCH = range(9)
COUNTS = 9
DONE, FULL, BAD_LENGTH, BAD_CHANNEL = range(4)
ROWS, OFFSET, SERIES, PARTS, KEY = range(5)  # columns of a cell
SLOTS_USED, STREAMS_USED, PIECES_USED = range(3)


@inlined
def _find(slots: Any, key: Any) -> Any:
    """The slot that holds ``key``, or the empty one where it belongs."""
    mask = np.uint64(slots.size - 1)
    h = key * np.uint64(0x9E37_79B9_7F4A_7C15)
    i = (h ^ (h >> np.uint64(32))) & mask
    while slots[i].key != key and slots[i].key != EMPTY:
        i = (i + np.uint64(1)) & mask
    return i


@inlined
def _search(keys: Any, wanted: Any, low: int, high: int) -> Any:
    """Index of ``wanted`` in sorted ``keys[low:high]``, or -1."""
    end = high
    while low < high:
        middle = (low + high) >> 1
        if keys[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low if low < end and keys[low] == wanted else NONE


@kernel
def _message_of(t: Tables, arbitration_id: Any) -> Any:
    """The message of an id: the exact one, else its parameter group's."""
    i = _search(t.exact_ids, arbitration_id, 0, t.exact_ids.size)
    if i >= 0:
        return t.exact_messages[i]
    if arbitration_id >> np.uint32(31) and t.group_keys.size:
        is_pdu2 = (arbitration_id >> np.uint32(16)) & np.uint32(0xFF) >= 240
        key = arbitration_id & (np.uint32(0x83FF_FF00) if is_pdu2 else np.uint32(0x83FF_0000))
        i = _search(t.group_keys, key, 0, t.group_keys.size)
        if i >= 0:
            return t.group_messages[i]
    return NONE


@kernel
def _stream(s: State, channel: Any, group: Any, source: Any) -> Any:
    key = np.uint64(1) << np.uint64(62) | np.uint64(channel) << np.uint64(44) | np.uint64(group) << np.uint64(10)
    key |= np.uint64(source + 1)
    i = _find(s.slots, key)
    if s.slots[i].key != key:
        number = s.used[STREAMS_USED]
        s.used[STREAMS_USED] += 1
        s.used[SLOTS_USED] += 1
        s.streams[number].channel = channel
        s.streams[number].group = group
        s.streams[number].source = source
        s.streams[number].cell = NONE
        s.slots[i].key = key
        s.slots[i].value = number
    return s.slots[i].value


@kernel
def _new_piece(s: State, slot: Any, key: Any, stream: Any, codec: Any, signals: Any) -> Any:
    number = s.used[PIECES_USED]
    s.used[PIECES_USED] += 1
    s.used[SLOTS_USED] += 1
    s.pieces[number].stream = stream
    s.pieces[number].codec = codec
    s.pieces[number].signals = signals
    s.pieces[number].rows = 0
    s.slots[slot].key = key
    s.slots[slot].value = number
    return number


@inlined
def _piece(t: Tables, s: State, stream: Any, codec: Any, fit: Any) -> Any:
    """The piece of the signals of a codec that entry ``fit`` says are held."""
    key = np.uint64(2) << np.uint64(62) | np.uint64(stream) << np.uint64(32) | np.uint64(fit)
    i = _find(s.slots, key)
    return s.slots[i].value if s.slots[i].key == key else _new_piece(s, i, key, stream, codec, t.fit[fit])


@kernel
def _learn(t: Tables, s: State, key: Any) -> Any:
    """The slot now given to an id of a channel; its message is -1 when the database has none."""
    channel, arbitration_id = np.int64(key >> np.uint64(32)), np.uint32(key & np.uint64(0xFFFF_FFFF))
    message = _message_of(t, arbitration_id)
    stream, piece = NONE, NONE
    if message >= 0:
        m = t.messages[message]
        source = np.int64(arbitration_id & np.uint32(0xFF)) if m.is_j1939 else NONE
        stream = _stream(s, channel, m.group, source)
        fit = t.codecs[m.codec].fit + t.codecs[m.codec].limit
        if t.fit[fit] and not m.is_tree:  # else it depends on the frame
            piece = _piece(t, s, stream, m.codec, fit)
    i = _find(s.slots, key)
    s.used[SLOTS_USED] += 1
    s.slots[i].key = key
    s.slots[i].message = message
    s.slots[i].value = stream
    s.slots[i].piece = piece
    s.slots[i].seen = 0
    return i


@inlined
def swapped(x: Any) -> Any:
    x = ((x & np.uint64(0x00FF00FF00FF00FF)) << np.uint64(8)) | ((x >> np.uint64(8)) & np.uint64(0x00FF00FF00FF00FF))
    x = ((x & np.uint64(0x0000FFFF0000FFFF)) << np.uint64(16)) | ((x >> np.uint64(16)) & np.uint64(0x0000FFFF0000FFFF))
    return (x << np.uint64(32)) | (x >> np.uint64(32))


@inlined
def _selected(words: Any, i: Any, g: Any) -> Any:
    """The value of multiplexer signal ``g`` in frame ``i``."""
    here = words[i, g.word]
    more = words[i, g.word + 1] if g.two_words else np.uint64(0)
    back = np.uint64(64) - g.shift if g.shift else np.uint64(0)  # a shift by 64 is undefined
    if g.big:
        x = ((swapped(here) << g.shift) | (swapped(more) >> back)) >> (np.uint64(64) - g.length)
    else:
        x = ((here >> g.shift) | (more << back)) & g.mask
    raw = np.int64(x ^ g.sign) - np.int64(g.sign)
    return raw if g.scale == 1.0 and g.offset == 0.0 else np.int64(raw * g.scale + g.offset)


@inlined
def _count_unknown(slot: Any, arbitration_id: Any, has_groups: Any, counts: Any) -> None:
    kind = (arbitration_id >> np.uint32(16)) & np.uint32(0xE3FF)
    if has_groups and (kind == np.uint32(0x80EC) or kind == np.uint32(0x80EB)):
        counts[TRANSPORT] += 1
    else:
        counts[UNKNOWN] += 1
        if slot.seen != counts[EPOCH]:
            slot.seen = counts[EPOCH]
            counts[UNKNOWN_IDS] += 1


@kernel
def _walk(t: Tables, s: State, f: Frames, w: Work, n: int) -> int:
    """Notes the piece of every codec that these frames call for; an unknown multiplexer value calls for no more."""
    slots, pieces, used, messages, codecs, fits, muxes = (
        s.slots,
        s.pieces,
        s.used,
        t.messages,
        t.codecs,
        t.fit,
        t.muxes,
    )
    frames, pairs, touched, walks, active, counts = w.frames, w.pairs, w.touched, w.sorted, w.active, w.counts
    room = s.slots.size // 2 - 2 - w.active.size
    for j in range(n):
        i = walks[j]
        if used[SLOTS_USED] > room:
            return FULL
        key = np.uint64(f.channel_map[f.channel[i]]) << np.uint64(32) | np.uint64(f.ids[i])
        slot = slots[_find(slots, key)]
        active[0] = messages[slot.message].codec
        count, done = 1, 0
        while done < count:
            number = active[done]
            codec = codecs[number]
            done += 1
            fit = np.int64(codec.fit) + min(np.int64(f.lengths[i]), np.int64(codec.limit))
            held = fits[fit]
            if held:
                piece = _piece(t, s, slot.value, number, fit)
                if pieces[piece].rows == 0:
                    touched[counts[TOUCHED]] = piece
                    counts[TOUCHED] += 1
                pieces[piece].rows += 1
                frames[counts[PAIRS]] = i
                pairs[counts[PAIRS]] = piece
                counts[PAIRS] += 1
            for q in range(codec.mux_first, codec.mux_end):
                m = muxes[q]
                if m.position < held:
                    value = _selected(f.words, i, t.signals[m.selector])
                    branch = _search(t.branch_values, value, m.first, m.end)
                    if branch >= 0:
                        active[count] = t.branch_codecs[branch]
                        count += 1
    return DONE


@kernel
def classify(t: Tables, s: State, f: Frames, w: Work) -> int:
    """Step 1. ``FULL``: the state has no room for what this batch may teach it; clear or enlarge it, call again.

    Columns are taken out of their tuples before the loop: inside it, each use would count a reference. Frames that
    need a walk through codecs, the multiplexed and the truncated, are left to :func:`_walk`.
    """
    room = s.slots.size // 2 - 2 - w.active.size
    longest = f.words.shape[1] * 8
    ids, lengths, flags, channel, channel_map = f.ids, f.lengths, f.flags, f.channel, f.channel_map
    slots, pieces, used, messages, codecs = s.slots, s.pieces, s.used, t.messages, t.codecs
    frames, pairs, touched, texts, walks, counts = w.frames, w.pairs, w.touched, w.texts, w.sorted, w.counts
    has_groups = t.group_keys.size > 0
    n_pairs, n_touched, n_texts, n_walks, decoded = 0, 0, 0, 0, 0
    for i in range(ids.size):
        if lengths[i] > longest:
            return BAD_LENGTH
        if channel[i] >= channel_map.size:
            return BAD_CHANNEL
        arbitration_id = ids[i]
        if arbitration_id & np.uint32(0x6000_0000) or flags[i] & np.uint8(24):  # remote, error
            counts[SKIPPED] += 1
            continue
        if used[SLOTS_USED] > room:
            return FULL
        key = np.uint64(channel_map[channel[i]]) << np.uint64(32) | np.uint64(arbitration_id)
        k = _find(slots, key)
        if slots[k].key != key:
            k = _learn(t, s, key)
        slot = slots[k]
        if slot.message < 0:
            _count_unknown(slot, arbitration_id, has_groups, counts)
            continue
        decoded += 1
        m = messages[slot.message]
        if m.has_text:
            texts[n_texts, 0] = i
            texts[n_texts, 1] = slot.message
            n_texts += 1
        if m.is_tree or lengths[i] < codecs[m.codec].limit:
            walks[n_walks] = i
            n_walks += 1
        elif slot.piece >= 0:
            if pieces[slot.piece].rows == 0:
                touched[n_touched] = slot.piece
                n_touched += 1
            pieces[slot.piece].rows += 1
            frames[n_pairs] = i
            pairs[n_pairs] = slot.piece
            n_pairs += 1
    counts[PAIRS], counts[TOUCHED], counts[TEXTS], counts[DECODED] = n_pairs, n_touched, n_texts, decoded
    return _walk(t, s, f, w, n_walks) if n_walks else DONE


@kernel
def layout(t: Tables, s: State, w: Work) -> Any:
    """Step 2: cells (one for each label of each stream here), rows, and ``stream << 32 | label`` of every series."""
    cell_count = 0
    start = 0
    for k in range(w.counts[TOUCHED]):
        p = w.touched[k]
        stream = s.pieces[p].stream
        s.pieces[p].start = start
        start += s.pieces[p].rows
        if s.streams[stream].cell < 0:
            s.streams[stream].cell = cell_count
            cell_count += t.groups[s.streams[stream].group].count
    cells = np.zeros((cell_count, 5), np.int64)
    for k in range(w.counts[TOUCHED]):
        p = s.pieces[w.touched[k]]
        stream = s.streams[p.stream]
        first = t.codecs[p.codec].first
        for q in range(first, first + p.signals):
            label = t.signals[q].label
            cell = cells[stream.cell + label]
            cell[ROWS] += p.rows
            cell[PARTS] += 1
            cell[KEY] = np.int64(p.stream) << 32 | np.int64(t.groups[stream.group].first + label)
    rows, series = 0, 0
    for c in range(cell_count):
        if cells[c, ROWS]:
            cells[c, OFFSET] = rows
            cells[c, SERIES] = series
            rows += cells[c, ROWS]
            series += 1
    keys = np.empty(series, np.int64)
    for c in range(cell_count):
        if cells[c, ROWS]:
            keys[cells[c, SERIES]] = cells[c, KEY]
    return cells, rows, keys

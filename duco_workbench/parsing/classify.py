"""Steps 1 and 2 of the kernels: the piece of every frame."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..jit import inlined, kernel
from .kernels import (
    BAD_BUS,
    BAD_LENGTH,
    DECODED,
    DONE,
    FEW,
    FULL,
    NONE,
    PAIRS,
    REMOTE_OR_ERROR,
    SESSION_FRAMES,
    SKIPPED,
    SLOTS_USED,
    TEXTS,
    TOUCHED,
    TRANSPORT,
    TRANSPORT_FRAME,
    UNKNOWN,
    UNKNOWN_IDS,
    Frames,
    Long,
    State,
    Work,
    swapped,
)
from .learned import bus_of, find, key_of, learn, piece_of, room_of, search, value_of
from .plan import Tables


@inlined
def _selected(words: Any, base: Any, g: Any) -> Any:
    """The value of multiplexer signal ``g`` in the data that begin at word ``base``."""
    here = words[base + g.word]
    more = words[base + g.word + 1] if g.two_words else np.uint64(0)
    back = np.uint64(64) - g.shift if g.shift else np.uint64(0)  # a shift by 64 is undefined
    if g.big:
        x = ((swapped(here) << g.shift) | (swapped(more) >> back)) >> (np.uint64(64) - g.length)
    else:
        x = ((here >> g.shift) | (more << back)) & g.mask
    raw = np.int64(x ^ g.sign) - np.int64(g.sign)
    return raw if g.scale == 1.0 and g.offset == 0.0 else np.int64(raw * g.scale + g.offset)


@inlined
def _fit(t: Any, codec: Any, length: Any) -> Any:
    """Where it says how many signals of a codec data of this length hold."""
    return np.int64(t.codecs[codec].fit) + min(length, np.int64(t.codecs[codec].limit))


@inlined
def _call(t: Any, words: Any, base: Any, length: Any, active: Any) -> Any:
    """Adds the codecs that the multiplexers of ``active[0]`` and of those it calls choose; how many there are then.

    An unknown multiplexer value calls for no more, or where the plan says so makes the frame give nothing.
    """
    count, done, is_known = 1, 0, True
    while done < count:
        codec, held = t.codecs[active[done]], t.fit[_fit(t, active[done], length)]
        done += 1
        for q in range(codec.mux_first, codec.mux_end):
            m = t.muxes[q]
            if m.position < held:
                value = _selected(words, base, t.signals[m.selector])
                branch = search(t.branch_values, value, m.first, m.end)
                is_known &= branch >= 0
                if branch >= 0:
                    active[count] = t.branch_codecs[branch]
                    count += 1
    return count if is_known or t.keeps_unknown else 0


@kernel
def _walk(t: Tables, s: State, f: Frames, long: Long, w: Work, n: int) -> int:
    """Counts the first ``n`` slow frames, and notes the piece of every codec that they call for."""
    learned, used, messages, fits, rows = s.learned, s.used, t.messages, t.fit, s.rows
    frames, pairs, touched, active, counts = w.frames, w.pairs, w.touched, w.active, w.counts
    room = room_of(s, w)
    of_frames = f.ids.size
    for j in range(n):
        i = w.slow[j]
        is_frame = i < of_frames
        slot = learned[w.slow_slot[j]]
        if slot.kind == REMOTE_OR_ERROR:
            counts[SKIPPED] += 1
            continue
        if slot.kind == TRANSPORT_FRAME and is_frame:
            w.transport[counts[SESSION_FRAMES]] = i
            counts[SESSION_FRAMES] += 1
        if slot.message < 0:
            counts[TRANSPORT] += is_frame
            continue
        if used[SLOTS_USED] > room:
            return FULL
        if is_frame:
            counts[DECODED] += 1
            words, base, length = f.words, np.int64(i) * f.width, np.int64(f.lengths[i])
        else:
            words, base, length = long.words, long.at[i - of_frames], np.int64(long.lengths[i - of_frames])
        if messages[slot.message].has_text:
            w.texts[counts[TEXTS], 0] = i
            w.texts[counts[TEXTS], 1] = slot.message
            counts[TEXTS] += 1
        active[0] = messages[slot.message].codec
        for called in range(_call(t, words, base, length, active)):
            fit = _fit(t, active[called], length)
            if fits[fit]:
                piece = piece_of(t, s, slot.stream, active[called], fit)
                if rows[piece] == 0:
                    touched[counts[TOUCHED]] = piece
                    counts[TOUCHED] += 1
                rows[piece] += 1
                frames[counts[PAIRS]] = i
                pairs[counts[PAIRS]] = piece
                counts[PAIRS] += 1
    return DONE


@kernel
def _sort_out(s: State, f: Frames, w: Work, is_plain: bool) -> Any:
    """Each frame's piece; how many are left to the walk, and how many have ids that are not known yet.

    Columns are taken out of their tuples before the loop: inside it, each use would count a reference.

    Args:
        is_plain: all frames are data frames of one bus.
    """
    ids, lengths, flags, slots, rows = f.ids, f.lengths, f.flags, s.slots, s.rows
    pieces, touched, slow, slow_slot, unknown = w.piece, w.touched, w.slow, w.slow_slot, w.frames
    one, n_touched, n_slow, n_unknown = np.uint64(1), np.uint64(0), np.uint64(0), np.uint64(0)
    bus_key = bus_of(f, 0) << np.uint64(34) if ids.size else n_slow
    for i in range(ids.size):
        key = bus_key | np.uint64(ids[i]) if is_plain else key_of(bus_of(f, i), flags[i], ids[i])
        k = find(slots, key)
        if slots[k + k] != key:
            unknown[n_unknown] = i
            n_unknown += one
            continue
        value = value_of(slots, k)
        piece = value >> np.uint64(16)
        if np.uint64(lengths[i]) >= value & FEW:
            before = rows[piece]
            if before == 0:
                touched[n_touched] = piece
                n_touched += one
            rows[piece] = before + 1
            pieces[i] = piece
        else:
            pieces[i] = NONE
            slow[n_slow] = i
            slow_slot[n_slow] = k
            n_slow += one
    w.counts[TOUCHED] = n_touched
    return np.int64(n_slow), np.int64(n_unknown)


@kernel
def _learn_all(t: Tables, s: State, f: Frames, w: Work, n: int) -> int:
    """Learns the ids of the first ``n`` noted frames, and takes back what has been counted."""
    for j in range(n):
        if s.used[SLOTS_USED] > room_of(s, w):
            return FULL
        i = w.frames[j]
        bus = bus_of(f, i)
        key = key_of(bus, f.flags[i], f.ids[i])
        if s.slots[2 * find(s.slots, key)] != key:
            learn(t, s, key, bus, f.flags[i], f.ids[i])
    for k in range(w.counts[TOUCHED]):
        s.rows[w.touched[k]] = 0
    return DONE


@kernel
def _count_unknown(s: State, w: Work) -> None:
    """Takes the pieces of unknown ids out of those touched, and counts their frames."""
    kept = 0
    for k in range(w.counts[TOUCHED]):
        p = w.touched[k]
        if s.pieces[p].stream == NONE:
            w.counts[UNKNOWN] += s.rows[p]
            w.counts[UNKNOWN_IDS] += 1
            s.rows[p], s.place[p] = 0, NONE
        else:
            w.touched[kept] = p
            kept += 1
    w.counts[TOUCHED] = kept


@kernel
def classify(t: Tables, s: State, f: Frames, long: Long, w: Work, is_plain: bool) -> int:
    """Step 1. ``FULL``: the state has no room for what this batch may teach it; enlarge it, call again."""
    n_slow, n_unknown = _sort_out(s, f, w, is_plain)
    if n_unknown:
        if _learn_all(t, s, f, w, n_unknown) == FULL:
            return FULL
        n_slow, n_unknown = _sort_out(s, f, w, is_plain)
    _count_unknown(s, w)
    w.counts[DECODED] = f.ids.size - n_slow - w.counts[UNKNOWN]
    return _walk(t, s, f, long, w, n_slow) if n_slow else DONE


@kernel
def classify_long(t: Tables, s: State, f: Frames, long: Long, w: Work) -> int:
    """Step 2, for messages put together; ``FULL`` as in step 1, which has to be repeated then."""
    room = room_of(s, w)
    for j in range(long.ids.size):
        bus = bus_of(f, long.row[j])
        key = key_of(bus, np.uint8(0), long.ids[j])
        k = find(s.slots, key)
        if s.slots[k + k] != key:
            if s.used[SLOTS_USED] > room:
                return FULL
            k = learn(t, s, key, bus, np.uint8(0), long.ids[j])
        w.slow[j] = f.ids.size + j
        w.slow_slot[j] = k
    return _walk(t, s, f, long, w, long.ids.size)


@kernel
def check(f: Frames) -> Any:
    """Whether every length lies within the data and every bus has a number (``DONE``, or what is wrong); and whether
    all are data frames of one bus."""
    longest, lowest, highest, marks, machine = np.uint8(0), np.uint8(255), np.uint8(0), np.uint8(0), 0
    for i in range(f.ids.size):
        longest = max(longest, f.lengths[i])
        lowest = min(lowest, f.channel[i])
        highest = max(highest, f.channel[i])
        marks |= f.flags[i]
    for i in range(f.machine.size):
        machine = max(machine, f.machine[i])
    if longest > 8 * f.width:
        return BAD_LENGTH, False
    if f.ids.size and (highest >= f.channels or (machine + 1) * f.channels > f.bus_map.size):
        return BAD_BUS, False
    return DONE, lowest == highest and not (marks & np.uint8(24)) and f.machine.size == 0

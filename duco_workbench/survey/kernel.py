"""The loop that looks at every frame once: counts, lengths, intervals and moving bits of each id of each bus."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..jit import inlined, kernel
from ..model import EXTENDED, ID_MASK, Flag

SAMPLED = 64  # intervals and payloads kept of each id, chosen evenly
WORDS = 8  # of 64 bits: the longest CAN FD payload
STEPS = 1024  # of each id are looked at for counters
NIBBLES, STEPPED = 16, 24  # of the first eight bytes; nibbles and then bytes are looked at as counters
FRAMES, ERRORS, REMOTES, BITS, FIRST, LAST, UNLISTED = range(7)  # columns of ``buses``
BUS_COLUMNS = 7
_SKIPPED = np.uint8(Flag.REMOTE | Flag.ERROR)
_ERROR, _FD = np.uint8(Flag.ERROR), np.uint8(Flag.FD)
_ID = np.uint64(EXTENDED | ID_MASK)
_HASH = np.uint64(0x9E37_79B9_7F4A_7C15)
_EXTENDED = np.uint64(EXTENDED)
# Bits of a frame besides its data, and what stuffing adds to all of them on ordinary data (tenths).
_OVERHEAD, _OVERHEAD_EXTENDED, _STUFFED_TENTHS = 47, 67, 11


class Table(NamedTuple):
    """One row an id of a bus; ``used`` (1) rows are in use.

    Attributes:
        slots: row of each hash, or -1; a power of two, at least twice the rows.
        key: bus number << 32 | arbitration id with bit 31.
        lengths: bit n is set when data of n bytes were seen (bit 63 for 64 bytes).
        data, moved: (k, 8) the last payload, and its bits that ever changed, as little-endian words.
        gaps, payloads: (k, 64) microseconds since the frame before, and first words of payloads.
        steps: (k, 24) how often a nibble, or a byte, of the first eight bytes was one more than before,
            in the first 1,024 steps.
    """

    slots: NDArray[np.int32]
    used: NDArray[np.int64]
    key: NDArray[np.uint64]
    frames: NDArray[np.int64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    length: NDArray[np.uint8]
    lengths: NDArray[np.uint64]
    data: NDArray[np.uint64]
    moved: NDArray[np.uint64]
    gaps: NDArray[np.int64]
    payloads: NDArray[np.uint64]
    steps: NDArray[np.int32]


@inlined
def _find(t: Any, key: Any) -> Any:
    """The slot of a key, or the empty one where it belongs."""
    mask = np.uint64(len(t.slots) - 1)
    slot = (key * _HASH) >> np.uint64(32) & mask
    while t.slots[slot] >= 0 and t.key[t.slots[slot]] != key:
        slot = (slot + np.uint64(1)) & mask
    return slot


@inlined
def _chosen(count: Any, key: Any) -> Any:
    """Where the ``count``-th sample of an id goes so that all are equally likely to stay; ``SAMPLED`` for nowhere."""
    if count <= SAMPLED:
        return count - 1
    noise = (np.uint64(count) * _HASH) ^ (key * np.uint64(0xD6E8_FEB8_6659_FD93))
    noise = (noise ^ (noise >> np.uint64(32))) * _HASH
    place = ((noise >> np.uint64(32)) * np.uint64(count)) >> np.uint64(32)
    return min(np.int64(place), np.int64(SAMPLED))


@inlined
def _step(t: Any, row: Any, before: Any, now: Any) -> None:
    """Count what went up by one."""
    for nibble in range(NIBBLES):
        shift = np.uint64(4 * nibble)
        step = (now >> shift) - (before >> shift)
        t.steps[row, nibble] += step & np.uint64(15) == np.uint64(1)
        if nibble & 1 == 0:
            t.steps[row, NIBBLES + nibble // 2] += step & np.uint64(255) == np.uint64(1)


@inlined
def _compare(t: Any, row: Any, words: Any, i: Any, length: Any) -> None:
    """Note the bits that differ from the last payload, as far as both reach."""
    common = 8 * np.int64(min(length, t.length[row]))
    for w in range(words.shape[1]):
        bits = common - 64 * w
        if bits <= 0:
            break
        changed = t.data[row, w] ^ words[i, w]
        if bits < 64:
            changed &= (np.uint64(1) << np.uint64(bits)) - np.uint64(1)
        t.moved[row, w] |= changed
        if w == 0 and changed and t.frames[row] <= STEPS + 1:
            _step(t, row, t.data[row, 0], words[i, 0])


@inlined
def _bits(key: Any, length: Any, flags: Any) -> Any:
    """Bits of a frame on the wire, stuffing estimated; those of CAN FD as if sent at one rate."""
    overhead = _OVERHEAD_EXTENDED if key & _EXTENDED else _OVERHEAD
    if flags & _FD:
        overhead += 14
    return (overhead + 8 * np.int64(length)) * _STUFFED_TENTHS // 10


@inlined
def _note(t: Any, row: Any, key: Any, ts: Any, length: Any, words: Any, i: Any) -> None:
    """One more frame of an id that has its row."""
    t.frames[row] += 1
    if t.frames[row] > 1:
        place = _chosen(t.frames[row] - 1, key)
        if place < SAMPLED:
            t.gaps[row, place], t.payloads[row, place] = ts - t.last[row], words[i, 0]
        _compare(t, row, words, i, length)
    t.last[row], t.length[row] = ts, length
    t.lengths[row] |= np.uint64(1) << np.uint64(min(length, 63))
    for w in range(words.shape[1]):
        t.data[row, w] = words[i, w]


@kernel
def index(t: Any) -> None:
    """Find every row's place in slots that are all empty."""
    for row in range(t.used[0]):
        t.slots[_find(t, t.key[row])] = row


@kernel
def survey(
    t: Any, buses: Any, ts: Any, ids: Any, lengths: Any, flags: Any, words: Any, bus_of: Any, begin: Any, grows: Any
) -> Any:
    """Add frames from row ``begin`` on; returns the row where the table was full, else the number of rows.

    Args:
        buses: int64 (b, 7) counts of each bus.
        bus_of: int64 (n) row in ``buses`` of each frame.
        grows: false counts frames of ids that find no room as unlisted instead.
    """
    for i in range(begin, len(ts)):
        bus = bus_of[i]
        key = np.uint64(bus) << np.uint64(32) | (np.uint64(ids[i]) & _ID)
        skipped = flags[i] & _SKIPPED
        row = -1
        if not skipped:
            slot = _find(t, key)
            row = t.slots[slot]
            if row < 0 and t.used[0] == len(t.key) and grows:
                return i
            if row < 0 and t.used[0] < len(t.key):
                row = t.used[0]
                t.used[0] += 1
                t.slots[slot], t.key[row], t.first[row] = row, key, ts[i]
        if buses[bus, FRAMES] == 0:
            buses[bus, FIRST], buses[bus, LAST] = ts[i], ts[i]
        buses[bus, FRAMES] += 1
        buses[bus, FIRST], buses[bus, LAST] = min(buses[bus, FIRST], ts[i]), max(buses[bus, LAST], ts[i])
        if skipped:
            buses[bus, ERRORS if flags[i] & _ERROR else REMOTES] += 1
        else:
            buses[bus, BITS] += _bits(key, lengths[i], flags[i])
            if row < 0:
                buses[bus, UNLISTED] += 1
            else:
                _note(t, row, key, ts[i], lengths[i], words, i)
    return len(ts)

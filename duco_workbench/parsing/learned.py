"""The hash table of a decoder: what it has learned of ids, and the numbers of streams and pieces.

Linear probing in a table that is at most half full: a bus of thousands of ids costs a frame no more than one of ten.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..jit import inlined, kernel
from .kernels import (
    DATA,
    EMPTY,
    FEW,
    NONE,
    PIECES_USED,
    REMOTE_OR_ERROR,
    SLOTS_USED,
    STREAMS_USED,
    TRANSPORT_FRAME,
    State,
)
from .plan import Tables


@inlined
def find(slots: Any, key: Any) -> Any:
    """The slot that holds ``key``, or the empty one where it belongs. Unsigned: a sign would be checked each time."""
    one, mask = np.uint64(1), np.uint64(slots.size // 2 - 1)
    h = key * np.uint64(0x9E37_79B9_7F4A_7C15)
    i = (h ^ (h >> np.uint64(32))) & mask
    while slots[i + i] != key and slots[i + i] != EMPTY:
        i = (i + one) & mask
    return i


@inlined
def value_of(slots: Any, i: Any) -> Any:
    return slots[i + i + np.uint64(1)]


@inlined
def _put(s: Any, i: Any, key: Any, value: Any) -> None:
    s.slots[i + i] = key
    s.slots[i + i + np.uint64(1)] = value
    s.used[SLOTS_USED] += 1


@inlined
def room_of(s: Any, w: Any) -> Any:
    """Slots that may be used, so that one more id and all that it calls for still fit."""
    return s.slots.size // 4 - 2 - w.active.size


@inlined
def bus_of(f: Any, i: Any) -> Any:
    """The decoder's number of the bus of frame ``i``."""
    at = np.uint64(f.channel[i])
    if f.machine.size:
        at += np.uint64(f.machine[i]) * np.uint64(f.channels)
    return f.bus_map[at]


@inlined
def key_of(bus: Any, flags: Any, arbitration_id: Any) -> Any:
    """Of an id on a bus; the flags that say remote and error belong to it, as SocketCAN's bits do."""
    return bus << np.uint64(34) | np.uint64(flags & np.uint8(24)) << np.uint64(29) | np.uint64(arbitration_id)


@inlined
def search(keys: Any, wanted: Any, low: int, high: int) -> Any:
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
    i = search(t.exact_ids, arbitration_id, 0, t.exact_ids.size)
    if i >= 0:
        return t.exact_messages[i]
    if arbitration_id >> np.uint32(31) and t.group_keys.size:
        is_pdu2 = (arbitration_id >> np.uint32(16)) & np.uint32(0xFF) >= 240
        key = arbitration_id & (np.uint32(0x83FF_FF00) if is_pdu2 else np.uint32(0x83FF_0000))
        i = search(t.group_keys, key, 0, t.group_keys.size)
        if i >= 0:
            return t.group_messages[i]
    return NONE


@kernel
def _stream(s: State, bus: Any, group: Any, source: Any) -> Any:
    key = np.uint64(1) << np.uint64(62) | bus << np.uint64(32) | np.uint64(group) << np.uint64(10)
    key |= np.uint64(source + 1)
    i = find(s.slots, key)
    if s.slots[i + i] != key:
        number = s.used[STREAMS_USED]
        s.used[STREAMS_USED] += 1
        s.streams[number].bus = bus
        s.streams[number].group = group
        s.streams[number].source = source
        s.streams[number].cell = NONE
        _put(s, i, key, np.uint64(number))
    return np.int64(value_of(s.slots, i))


@kernel
def _new_piece(s: State, stream: Any, codec: Any, signals: Any) -> Any:
    number = s.used[PIECES_USED]
    s.used[PIECES_USED] += 1
    s.pieces[number].stream = stream
    s.pieces[number].codec = codec
    s.pieces[number].signals = signals
    return number


@inlined
def piece_of(t: Tables, s: State, stream: Any, codec: Any, fit: Any) -> Any:
    """The piece of the signals of a codec that entry ``fit`` says are held."""
    key = np.uint64(2) << np.uint64(62) | np.uint64(stream) << np.uint64(32) | np.uint64(fit)
    i = find(s.slots, key)
    if s.slots[i + i] == key:
        return np.int64(value_of(s.slots, i))
    number = _new_piece(s, stream, codec, t.fit[fit])
    _put(s, i, key, np.uint64(number))
    return number


@kernel
def _kind(t: Tables, arbitration_id: Any, flags: Any) -> Any:
    if arbitration_id & np.uint32(0x6000_0000) or flags & np.uint8(24):
        return REMOTE_OR_ERROR
    page_and_format = (arbitration_id >> np.uint32(16)) & np.uint32(0xE3FF)
    if t.group_keys.size and (page_and_format == np.uint32(0x80EC) or page_and_format == np.uint32(0x80EB)):
        return TRANSPORT_FRAME
    return DATA


@kernel
def learn(t: Tables, s: State, key: Any, bus: Any, flags: Any, arbitration_id: Any) -> Any:
    """The slot now given to an id of a bus."""
    kind = _kind(t, arbitration_id, flags)
    message = NONE if kind == REMOTE_OR_ERROR else _message_of(t, arbitration_id)
    stream, value = NONE, FEW
    if message < 0 and kind == DATA:
        value = np.uint64(_new_piece(s, NONE, NONE, 0)) << np.uint64(16)
    if message >= 0:
        m = t.messages[message]
        source = np.int64(arbitration_id & np.uint32(0xFF)) if m.is_j1939 else NONE
        stream = _stream(s, bus, m.group, source)
        need = t.codecs[m.codec].limit
        fit = t.codecs[m.codec].fit + need
        if t.fit[fit] and not m.is_tree and not m.has_text and kind == DATA:
            value = np.uint64(piece_of(t, s, stream, m.codec, fit)) << np.uint64(16) | np.uint64(need)
    i = find(s.slots, key)
    _put(s, i, key, value)
    s.learned[i].message = message
    s.learned[i].stream = stream
    s.learned[i].kind = kind
    return i

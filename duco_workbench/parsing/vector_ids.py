"""What the numpy engine makes of ids: their message, the stream it belongs to, and which frames hold no data.

A log of a million frames has a few hundred ids, so ids are looked up, not frames.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..model import ERROR, REMOTE, Flag
from .plan import Tables

NONE = -1
_NO_DATA = np.uint8(Flag.REMOTE | Flag.ERROR)
_SAMPLE = 4096  # frames that nearly always show every id
_SOURCE_BITS, _GROUP_BITS = 9, 20


class Ids(NamedTuple):
    """What u ids are.

    Attributes:
        message: (u) index of the database's message, or -1.
        stream: (u) number of bus, group and sender; of no meaning where there is no message.
        has_no_data: (u) remote and error frames.
        is_transport: (u) TP.CM and TP.DT.
    """

    message: NDArray[np.int64]
    stream: NDArray[np.int64]
    has_no_data: NDArray[np.bool_]
    is_transport: NDArray[np.bool_]


def identify(t: Tables, bus: NDArray[np.uint64], flags: NDArray[np.uint8], ids: NDArray[np.uint32]) -> Ids:
    """Looks up ids (u) on buses (u): the exact one, else its parameter group's message."""
    has_no_data = (ids & np.uint32(REMOTE | ERROR) != 0) | (flags & _NO_DATA != 0)
    page_and_format = (ids >> np.uint32(16)) & np.uint32(0xE3FF)
    is_transport = ((page_and_format == 0x80EC) | (page_and_format == 0x80EB)) & ~has_no_data & bool(len(t.group_keys))
    is_pdu2 = (ids >> np.uint32(16)) & np.uint32(0xFF) >= 240
    group = ids & np.where(is_pdu2, np.uint32(0x83FF_FF00), np.uint32(0x83FF_0000))
    message = find(t.exact_ids, t.exact_messages, ids)
    message = np.where(message == NONE, find(t.group_keys, t.group_messages, group), message)
    message[has_no_data] = NONE
    return Ids(message, _streams(t, bus, ids, message), has_no_data, is_transport)


def find(keys: NDArray[Any], values: NDArray[Any], wanted: NDArray[Any]) -> NDArray[np.int64]:
    """The value of each ``wanted`` key (sorted ``keys``), or -1."""
    if not len(keys):
        return np.full(len(wanted), NONE, np.int64)
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, values[at].astype(np.int64), NONE)


def distinct(keys: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """The sorted keys without repeats, and the number there of each: ``np.unique`` without sorting all of them."""
    found = np.unique(keys[:_SAMPLE])
    number = _among(found, keys)
    missing = found[number] != keys
    if missing.any():
        found = np.union1d(found, keys[missing])
        number = _among(found, keys)
    return found, number


def key_of(bus: NDArray[np.uint64], flags: NDArray[np.uint8], ids: NDArray[np.uint32]) -> NDArray[np.uint64]:
    """Of an id on a bus; the flags that say remote and error belong to it, as SocketCAN's bits do."""
    return bus << np.uint64(34) | (flags & _NO_DATA).astype(np.uint64) << np.uint64(29) | ids


def parts_of(keys: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], NDArray[np.uint8], NDArray[np.uint32]]:
    """Bus, flags and id of :func:`key_of`."""
    flags = (keys >> np.uint64(29)).astype(np.uint8) & _NO_DATA
    return keys >> np.uint64(34), flags, (keys & np.uint64(0xFFFF_FFFF)).astype(np.uint32)


def stream_parts(stream: int) -> tuple[int, int]:
    """Bus and sender (-1 where the message is not J1939) of a stream."""
    return stream >> (_SOURCE_BITS + _GROUP_BITS), (stream & (1 << _SOURCE_BITS) - 1) - 1


def _among(found: NDArray[np.uint64], keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    return np.minimum(np.searchsorted(found, keys), max(len(found) - 1, 0))


def _streams(
    t: Tables, bus: NDArray[np.uint64], ids: NDArray[np.uint32], message: NDArray[np.int64]
) -> NDArray[np.int64]:
    if not len(t.messages):
        return np.zeros(len(ids), np.int64)
    known = t.messages[message]  # the last one where there is none
    sender = np.where(known["is_j1939"] != 0, (ids & np.uint32(0xFF)).astype(np.int64) + 1, 0)
    group = known["group"].astype(np.int64) << _SOURCE_BITS
    return bus.astype(np.int64) << (_SOURCE_BITS + _GROUP_BITS) | group | sender

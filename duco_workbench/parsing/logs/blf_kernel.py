"""The numba kernel behind blf.py: the objects of unpacked containers -> columns.

An object is ``LOBJ``, then (little-endian) sizes u16, header version u16, its size u32 and type u32, then time unit u32
(1: 10 microseconds, else 1 ns) and at byte 24 its time u64; the content begins at byte 32, in header version 2 at 40.
Objects of other types, and of other header versions, are skipped.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from ...jit import inlined, kernel
from .scan import (
    BAD,
    ERROR,
    EXTENDED,
    FD_LENGTH,
    FLAG_BRS,
    FLAG_ERROR,
    FLAG_ESI,
    FLAG_FD,
    FLAG_REMOTE,
    FLAG_TX,
    REMOTE,
    SKIP,
    START,
    STOP,
    WIDER,
    Bytes,
    Columns,
)

CAN_MESSAGE, CAN_ERROR, CAN_ERROR_EXT, CAN_MESSAGE2 = 1, 2, 73, 86
CAN_FD_MESSAGE, CAN_FD_MESSAGE_64, CAN_FD_ERROR_64 = 100, 101, 104
_FRAMES = (CAN_MESSAGE, CAN_MESSAGE2, CAN_ERROR, CAN_ERROR_EXT, CAN_FD_MESSAGE, CAN_FD_MESSAGE_64, CAN_FD_ERROR_64)
HEAD = 16  # bytes of an object that say how long it is
_SIGNATURE = int.from_bytes(b"LOBJ", "little")
_GAP = 8  # an object may be padded by less than this
_LARGEST = 1 << 24  # an object; one that says more is damaged
_LATEST = 1 << 59  # of an object's time: below, no unit overflows


@inlined
def _u8(data: Bytes, at: int) -> int:
    value: int = 0 + data[at]  # int64, not to be mixed with unsigned 64 bits below
    return value


@inlined
def _u16(data: Bytes, at: int) -> int:
    return _u8(data, at) | _u8(data, at + 1) << 8


@inlined
def _u32(data: Bytes, at: int) -> int:
    return _u16(data, at) | _u16(data, at + 2) << 16


@inlined
def _row(row: int, columns: Columns, identifier: int, channel: int, flags: int, dlc: int) -> None:
    """One row but for time and data; ``identifier`` has Vector's bit 31 for extended ones, which is SocketCAN's too."""
    if flags & FLAG_ERROR:
        identifier = (identifier & 0x1FFF_FFFF) | ERROR
    elif flags & FLAG_REMOTE:
        identifier |= REMOTE
    columns.arbitration_id[row] = identifier & (EXTENDED | REMOTE | ERROR | 0x1FFF_FFFF)
    columns.channel[row], columns.flags[row], columns.dlc[row] = channel, flags, dlc


@inlined
def _content(row: int, columns: Columns, text: Bytes, at: int, given: int, length: int) -> None:
    """The first ``given`` of a row's ``length`` bytes; writers leave out what is zero."""
    for k in range(min(given, length)):
        columns.data[row, k] = text[at + k]


@inlined
def _classic(text: Bytes, at: int, size: int, row: int, columns: Columns) -> int:
    if size < 16:
        return BAD
    flags = (FLAG_REMOTE if text[at + 2] & 0x80 else 0) | (FLAG_TX if text[at + 2] & 1 else 0)
    length = min(_u8(text, at + 3), 8)
    _row(row, columns, _u32(text, at + 4), _u16(text, at), flags, length)
    if not flags & FLAG_REMOTE:
        _content(row, columns, text, at + 8, 8, length)
    return 0


@inlined
def _error(text: Bytes, at: int, size: int, kind: int, row: int, columns: Columns) -> int:
    """Only the extended form says what was on the bus when it broke."""
    if size < (32 if kind == CAN_ERROR_EXT else 16 if kind == CAN_FD_ERROR_64 else 4):
        return BAD
    if kind == CAN_ERROR:
        _row(row, columns, 0, _u16(text, at), FLAG_ERROR, 0)
    elif kind == CAN_FD_ERROR_64:
        _row(row, columns, _u32(text, at + 12), _u8(text, at), FLAG_ERROR | FLAG_FD, 0)
    else:
        length = min(_u8(text, at + 10), 8)
        _row(row, columns, _u32(text, at + 16), _u16(text, at), FLAG_ERROR, length)
        _content(row, columns, text, at + 24, 8, length)
    return 0


@inlined
def _fd_row(
    text: Bytes, at: int, given: int, row: int, columns: Columns, head: tuple[int, int, int, int], code: int
) -> int:
    """``head``: identifier, channel, flags, length; ``code`` is the DLC, which only a remote frame goes by."""
    identifier, channel, flags, length = head
    length = min(length, 64)
    if flags & FLAG_REMOTE:
        _row(row, columns, identifier, channel, flags, min(FD_LENGTH[code & 15], 8))
        return 0
    if length > columns.data.shape[1]:
        return WIDER
    if length > 8:
        flags |= FLAG_FD
    _row(row, columns, identifier, channel, flags, length)
    _content(row, columns, text, at, given, length)
    return 0


@inlined
def _fd_flags(fd: int, brs: int, esi: int, remote: int, tx: int) -> int:
    flags = (FLAG_REMOTE if remote else 0) | (FLAG_TX if tx else 0)
    if fd:
        flags |= FLAG_FD | (FLAG_BRS if brs else 0) | (FLAG_ESI if esi else 0)
    return flags


@inlined
def _fd(text: Bytes, at: int, size: int, row: int, columns: Columns) -> int:
    if size < 20:
        return BAD
    bits, way = _u8(text, at + 13), _u8(text, at + 2)
    flags = _fd_flags(bits & 1, bits & 2, bits & 4, way & 0x80, way & 1)
    head = (_u32(text, at + 4), _u16(text, at), flags, _u8(text, at + 14))
    return _fd_row(text, at + 20, size - 20, row, columns, head, _u8(text, at + 3))


@inlined
def _fd_64(text: Bytes, begin: int, at: int, size: int, row: int, columns: Columns) -> int:
    if size < 40:
        return BAD
    bits, behind = _u32(text, at + 12), _u8(text, at + 35)
    flags = _fd_flags(bits & 0x1000, bits & 0x2000, bits & 0x4000, bits & 0x10, _u8(text, at + 34))
    head = (_u32(text, at + 4), _u8(text, at), flags, _u8(text, at + 2))
    given = min(size, behind - (at - begin)) if behind else size  # what follows the data begins there
    return _fd_row(text, at + 40, max(given - 40, 0), row, columns, head, _u8(text, at + 1))


@inlined
def _object(text: Bytes, begin: int, size: int, row: int, columns: Columns, start: int) -> int:
    """One object into one row -> 0, or a code."""
    kind, version = _u32(text, begin + 12), _u16(text, begin + 6)
    if kind not in _FRAMES or (version != 1 and version != 2):
        return SKIP
    at = begin + 32 if version == 1 else begin + 40
    left = size - (at - begin)
    if left < 0 or _u32(text, begin + 28) >= _LATEST >> 32:
        return BAD
    ticks = _u32(text, begin + 24) | _u32(text, begin + 28) << 32
    columns.ts[row] = start + (ticks * 10 if _u32(text, begin + 16) == 1 else (ticks + 500) // 1000)
    if kind in (CAN_MESSAGE, CAN_MESSAGE2):
        return _classic(text, at, left, row, columns)
    if kind == CAN_FD_MESSAGE:
        return _fd(text, at, left, row, columns)
    if kind == CAN_FD_MESSAGE_64:
        return _fd_64(text, begin, at, left, row, columns)
    return _error(text, at, left, kind, row, columns)


@inlined
def _signature(text: Bytes, at: int) -> int:
    """Position of the next object's signature; BAD when there is none where one must be, SKIP when the text ends."""
    for begin in range(at, at + _GAP):
        if begin + HEAD > text.size:
            return SKIP
        if text[begin] == 76 and _u32(text, begin) == _SIGNATURE:
            return begin
    return BAD


@kernel
def parse_objects(text: Bytes, at: int, row: int, columns: Columns, state: NDArray[Any]) -> tuple[int, int]:
    """Objects from ``at`` on into the rows from ``row`` on, until the text has no whole object, or the rows are full.

    Args:
        text: uint8, unpacked; it may end inside an object.
        columns: data is zero from ``row`` on.
        state: int64, see :mod:`.scan`; ``state[STOP]`` is WIDER, SKIP when the text is used up, or BAD when what
            follows is no object.
    Returns: position and row to go on from.
    """
    state[STOP] = 0
    while row < columns.ts.size:
        begin = _signature(text, at)
        if begin < 0:
            state[STOP] = begin
            return at, row
        size = _u32(text, begin + 8)
        if not HEAD <= size <= _LARGEST:
            state[STOP] = BAD
            return at, row
        if begin + size > text.size:
            state[STOP] = SKIP
            return at, row
        done = _object(text, begin, size, row, columns, state[START])
        if done in (BAD, WIDER):
            state[STOP] = done
            return at, row
        if done == 0:
            row += 1
        at = begin + size
    return at, row

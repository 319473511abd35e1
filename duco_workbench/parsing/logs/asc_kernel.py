"""The numba kernel behind asc.py: lines of a Vector ``.asc`` log -> columns.

::

    0.015992 1  18EBFF00x       Rx   d 8 01 A0 0F A6 60 3B D1 40  Length = 273910 BitCount = 141
    2.500000 1  123             Tx   r 4                                       remote
    1.000000 1  ErrorFrame
    3.000001 CANFD   1 Rx   18FEF200x  Name  1 0 9 12 01 02 ... 0c  0  0  3000 0 0 0 0 0
             bus, direction, id, name or none, BRS, ESI, DLC, length, data, duration, bits, flags

Events of other kinds are no frames, and neither is a ``TxRq``: it asks for one. Of the flags of a CAN FD line,
``3000`` here, 0x1000 says that it is CAN FD (CANoe writes classic frames on CAN FD buses in that form too) and 0x10
that it is a remote frame; where they are not given, the line is CAN FD, and remote when it has a DLC but no data.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...jit import inlined, kernel
from .scan import (
    ASIDE,
    BAD,
    ERROR,
    EXTENDED,
    FLAG_BRS,
    FLAG_ERROR,
    FLAG_ESI,
    FLAG_FD,
    FLAG_REMOTE,
    HEX,
    NEWLINE,
    OWN,
    REMOTE,
    SKIP,
    START,
    STOP,
    WIDER,
    Bytes,
    Columns,
    begins,
    decimal,
    direction,
    is_end,
    next_line,
    number,
    skip_blanks,
    skip_word,
)

BASE = OWN  # of ids, DLCs and data: 16 or 10
IS_RELATIVE, LATEST, _HERE = (
    OWN + 1,
    OWN + 2,
    OWN + 3,
)  # whether times count from the line before; its time, and this one's
_SLASH = 47
_FD, _ERROR_FRAME = np.frombuffer(b"canfd", np.uint8), np.frombuffer(b"errorframe", np.uint8)
_REQUEST = np.frombuffer(b"txrq", np.uint8)
_EDL, _RTR = 0x1000, 0x10


@kernel
def _identifier(text: Bytes, at: int, base: int) -> tuple[int, int]:
    """A number, ``x`` behind extended ones -> (id with SocketCAN's bit, position); BAD when it is none."""
    value, at = number(text, at, base)
    if at > 0 and text[at] | 32 == 120:
        value, at = value | EXTENDED, at + 1
    return value, at if at > 0 and is_end(text, at) and value & 0x7FFF_FFFF <= 0x1FFF_FFFF else BAD


@inlined
def _flag(text: Bytes, at: int) -> tuple[int, int]:
    """``0`` or ``1`` -> (value, position)."""
    return text[at] & 1, at + 1 if text[at] | 1 == 49 and is_end(text, at + 1) else BAD


@kernel
def _next_number(text: Bytes, at: int, base: int) -> tuple[int, int]:
    """The next word as a number -> (value, position); BAD when it is none."""
    value, at = number(text, skip_blanks(text, at), base)
    return value, at if at > 0 and is_end(text, at) else BAD


@inlined
def _spaced_bytes(text: Bytes, at: int, base: int, data: Bytes, row: int, count: int) -> int:
    """``count`` numbers of a byte each -> position; BAD when there are fewer, or others."""
    for k in range(count):
        at = skip_blanks(text, at)
        if base == 16 and HEX[text[at]] < 16 and HEX[text[at + 1]] < 16:
            value, at = HEX[text[at]] * 16 + HEX[text[at + 1]], at + 2
        else:
            value, at = number(text, at, base)
        if at < 0 or value > 255 or not is_end(text, at):
            return BAD
        data[row, k] = value
    return at


@inlined
def _row(row: int, columns: Columns, identifier: int, dlc: int, flags: int) -> None:
    columns.arbitration_id[row], columns.dlc[row], columns.flags[row] = identifier, dlc, flags


@inlined
def _classic_content(text: Bytes, at: int, row: int, columns: Columns, identifier: int, flags: int, base: int) -> int:
    """``d 8 01 02 ...`` or ``r 4`` -> position."""
    kind, at = text[at] | 32, at + 1
    length, end = _next_number(text, at, base)
    if kind == 114 and is_end(text, at):  # r; the length may be missing
        _row(row, columns, identifier | REMOTE, min(length, 8) if end > 0 else 0, flags | FLAG_REMOTE)
        return at
    if kind != 100 or end < 0 or length > 15:
        return BAD
    _row(row, columns, identifier, min(length, 8), flags)
    end = _spaced_bytes(text, end, base, columns.data, row, min(length, 8))
    if end > 0:
        return end
    columns.data[row, :] = 0
    return BAD


@inlined
def _classic(text: Bytes, at: int, row: int, columns: Columns, base: int) -> int:
    """What follows the bus -> position, BAD, or SKIP for another event of the bus."""
    if begins(text, at, _ERROR_FRAME):
        _row(row, columns, ERROR, 0, FLAG_ERROR)
        return at
    identifier, end = _identifier(text, at, base)
    at = skip_blanks(text, skip_word(text, at))
    flags, behind = direction(text, at)
    if behind < 0:
        return BAD if end > 0 and not begins(text, at, _REQUEST) else SKIP
    if end < 0:
        return BAD
    return _classic_content(text, skip_blanks(text, behind), row, columns, identifier, flags, base)


@inlined
def _switches(text: Bytes, at: int) -> tuple[int, int]:
    """``Name 1 0``, or no name: BRS and ESI -> (flags, position)."""
    brs, end = _flag(text, at)
    if end < 0:
        brs, end = _flag(text, skip_blanks(text, skip_word(text, at)))
    if end < 0:
        return 0, BAD
    esi, end = _flag(text, skip_blanks(text, end))
    return brs * FLAG_BRS | esi * FLAG_ESI, end


@inlined
def _written_flags(text: Bytes, at: int) -> int:
    """Behind the data: duration, number of bits, flags; 0 when they are not given."""
    for _ in range(2):
        at = skip_word(text, skip_blanks(text, at))
    flags, end = _next_number(text, at, 16)
    return flags if end > 0 else 0


@inlined
def _fd_content(text: Bytes, at: int, row: int, columns: Columns, identifier: int, flags: int, base: int) -> int:
    """From BRS on -> position."""
    switches, at = _switches(text, at)
    if at < 0:
        return BAD
    code, at = _next_number(text, at, base)
    if at < 0 or code > 15:
        return BAD
    length, at = _next_number(text, at, 10)
    if at < 0 or length > 64:
        return BAD
    if length > columns.data.shape[1]:
        return WIDER
    at = _spaced_bytes(text, at, base, columns.data, row, length)
    if at < 0:
        columns.data[row, :] = 0
        return BAD
    written = _written_flags(text, at)
    if (written & _RTR) if written else (length == 0 and code > 0):
        columns.data[row, :] = 0
        _row(row, columns, identifier | REMOTE, min(code, 8), flags | FLAG_REMOTE)
        return at
    if length > 8 or written == 0 or written & _EDL:
        flags |= FLAG_FD | switches
    _row(row, columns, identifier, length, flags)
    return at


@kernel
def _fd(text: Bytes, at: int, row: int, columns: Columns, base: int) -> int:
    """What follows ``CANFD`` -> position, or a code."""
    columns.channel[row], at = _bus(text, at)
    if at < 0:
        return BAD
    flags, behind = direction(text, at)
    if behind < 0:
        return SKIP if begins(text, at, _REQUEST) else BAD
    at = skip_blanks(text, behind)
    if begins(text, at, _ERROR_FRAME):
        _row(row, columns, ERROR, 0, flags | FLAG_ERROR | FLAG_FD)
        return at
    identifier, at = _identifier(text, at, base)
    if at < 0:
        return BAD
    return _fd_content(text, skip_blanks(text, at), row, columns, identifier, flags, base)


@inlined
def _bus(text: Bytes, at: int) -> tuple[int, int]:
    """Number of a bus (0..255) -> (number, position of the next word)."""
    value, at = number(text, at, 10)
    if at < 0 or value > 255 or not is_end(text, at):
        return 0, BAD
    return value, skip_blanks(text, at)


@inlined
def _line(text: Bytes, at: int, row: int, columns: Columns, state: NDArray[Any]) -> int:
    """One line into one row -> position behind what was read, or a code."""
    state[_HERE] = state[LATEST]
    if text[at] == NEWLINE or text[at] == _SLASH:  # // is a comment
        return SKIP
    if HEX[text[at]] > 9:
        return ASIDE if 97 <= text[at] | 32 <= 122 else BAD
    micros, at = decimal(text, at, 6)
    if at < 0 or not is_end(text, at):
        return BAD
    state[_HERE] = state[LATEST] * state[IS_RELATIVE] + micros
    columns.ts[row], at = state[START] + state[_HERE], skip_blanks(text, at)
    if begins(text, at, _FD) and is_end(text, at + 5):
        return _fd(text, skip_blanks(text, at + 5), row, columns, state[BASE])
    columns.channel[row], at = _bus(text, at)
    return _classic(text, at, row, columns, state[BASE]) if at > 0 else SKIP


@kernel
def parse_asc(text: Bytes, at: int, row: int, columns: Columns, names: Any, state: NDArray[Any]) -> tuple[int, int]:
    """See :class:`.text.Kernel`."""
    state[STOP] = 0
    while at < text.size and row < columns.ts.size:
        begin = skip_blanks(text, at)
        end = _line(text, begin, row, columns, state)
        if end <= WIDER:
            state[STOP] = end
            return at, row
        state[LATEST] = state[_HERE]  # of any event, not of frames only
        at, row = next_line(text, begin, end, row, columns.data, state)
    return at, row

"""The numba kernel behind trc.py: lines of a PEAK ``.trc`` trace -> columns, the columns of a line as its version says.

::

    1.0   N,O,I,L,D               1)      1841      0001  8  00 00 00 00 00 00 00 00
    1.1   N,O,d,I,L,D             1)      1059.9  Rx         0300  7  00 00 00 00 04 00 00
    1.2   N,O,B,d,I,L,D           7)      1352.743  1  Rx         0100  3  RTR
    1.3   N,O,B,d,I,R,L,D         6)      1349.222 1  Error     0008 -  4    00 19 08 08
    2.0   N,O,T,I,d,l,D           5      1334.416 FD     0500 Tx 12 01 02 03 04 05 06 07 08 09 0A 0B 0C
    2.1   N,O,T,B,I,d,R,L,D       5      1334.416 FD 1      0500 Tx -  9    01 02 03 04 05 06 07 08 09 0A 0B 0C

N number, O offset in ms, T type, B bus, I id (up to four hex digits: standard), d direction, l length, L DLC, D data.
Warnings, states, counters and events are no frames. What an error frame's line says of the error is left out.
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
    FD_LENGTH,
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
    byte_pairs,
    decimal,
    direction,
    is_end,
    next_line,
    number,
    skip_blanks,
    skip_word,
)

MOST_COLUMNS = 16
ORDER = OWN  # letters of the columns, from here on; 0 behind the last
_O, _T, _B, _I, _DIRECTION, _LENGTH, _CODE, _DATA = (ord(letter) for letter in "OTBIdlLD")
_SEMICOLON, _DOLLAR = 59, 36
_RTR, _ERROR_WORD = np.frombuffer(b"rtr", np.uint8), np.frombuffer(b"error", np.uint8)
_WARNING, _WARNING_ID = np.frombuffer(b"warng", np.uint8), 0xFFFF_FFFF
_DT, _RR, _ER = 0x4454, 0x5252, 0x4552  # types of lines: two letters
_FD, _FB, _FE, _BI = 0x4644, 0x4642, 0x4645, 0x4249


@inlined
def _kind(text: Bytes, at: int) -> int:
    """Flags of a line's type; SKIP for what is no frame."""
    kind = text[at] << 8 | text[at + 1]
    if kind == _DT:
        return 0
    if kind in (_FD, _FB, _FE, _BI):
        brs, esi = kind in (_FB, _BI), kind in (_FE, _BI)
        return FLAG_FD | brs * FLAG_BRS | esi * FLAG_ESI
    if kind == _RR:
        return FLAG_REMOTE
    return FLAG_ERROR if kind == _ER else SKIP


@inlined
def _way(text: Bytes, at: int) -> int:
    """Flags of the column ``d``, which in 1.x says the type too; SKIP for a warning, BAD for what is none of them."""
    flags, end = direction(text, at)
    if end > 0:
        return flags
    if begins(text, at, _ERROR_WORD):
        return FLAG_ERROR
    return SKIP if begins(text, at, _WARNING) else BAD


@inlined
def _identifier(text: Bytes, at: int) -> int:
    """The id with SocketCAN's bit; SKIP for that of a warning, BAD for none."""
    value, end = number(text, at, 16)
    if end < 0 or not is_end(text, end):
        return BAD
    if value == _WARNING_ID:
        return SKIP
    return BAD if value > 0x1FFF_FFFF else value | EXTENDED if end - at > 4 else value


@inlined
def _length(text: Bytes, at: int, letter: int, flags: int) -> int:
    """Bytes of a frame by its length or its DLC; BAD when there is no such frame."""
    value, end = number(text, at, 10)
    if end < 0 or not is_end(text, end):
        return BAD
    if letter == _CODE and value <= 15:
        value = FD_LENGTH[value] if flags & FLAG_FD else min(value, 8)
    return value if value <= (64 if flags & FLAG_FD else 8) else BAD


@inlined
def _data(text: Bytes, at: int, row: int, columns: Columns, flags: int) -> int:
    """Sets what data, RTR or an error's bytes say; ends behind them, or is BAD or WIDER."""
    length = columns.dlc[row]
    if begins(text, at, _RTR):
        flags |= FLAG_REMOTE
    if begins(text, at, _ERROR_WORD):
        flags |= FLAG_ERROR
    if flags & FLAG_ERROR:
        columns.arbitration_id[row], columns.dlc[row] = ERROR, 0
    elif flags & FLAG_REMOTE:
        columns.arbitration_id[row] |= REMOTE
    elif length > columns.data.shape[1]:
        return WIDER
    else:
        at = byte_pairs(text, at, columns.data, row, length)
    columns.flags[row] = flags
    return at


@inlined
def _line(text: Bytes, at: int, row: int, columns: Columns, state: NDArray[Any]) -> int:
    """One line into one row, column by column -> position behind what was read, or a code."""
    columns.channel[row], columns.dlc[row], flags, k, code = 1, 0, 0, 0, 0
    while state[ORDER + k] and code >= 0:
        letter, at = state[ORDER + k], skip_blanks(text, at)
        k += 1
        if flags & FLAG_ERROR and letter == _I:  # which a version leaves empty, so that columns cannot be told
            break
        if letter == _DATA:
            return _data(text, at, row, columns, flags)
        if letter == _O:
            micros, code = decimal(text, at, 3)
            columns.ts[row] = state[START] + micros
            code = code if code > 0 and is_end(text, code) else BAD
        elif letter == _T:
            code = _kind(text, at)
            flags |= max(code, 0)
        elif letter == _B:
            bus, code = number(text, at, 10)
            columns.channel[row] = bus & 255
            code = code if bus <= 255 else BAD
        elif letter == _I:
            code = _identifier(text, at)
            columns.arbitration_id[row] = max(code, 0)
        elif letter == _DIRECTION:
            code = _way(text, at)
            flags |= max(code, 0)
        elif letter in (_LENGTH, _CODE):
            code = _length(text, at, letter, flags)
            columns.dlc[row] = max(code, 0)
        at = skip_word(text, at)
    return _data(text, at, row, columns, flags) if code >= 0 else code


@inlined
def _kind_of_line(text: Bytes, at: int) -> int:
    """0 for a frame's or an event's, else a code."""
    if text[at] == NEWLINE:
        return SKIP
    if text[at] == _SEMICOLON:
        return ASIDE if text[at + 1] == _DOLLAR else SKIP
    return 0 if HEX[text[at]] <= 9 else BAD


@kernel
def parse_trc(text: Bytes, at: int, row: int, columns: Columns, names: Any, state: NDArray[Any]) -> tuple[int, int]:
    """See :class:`.text.Kernel`."""
    state[STOP] = 0
    while at < text.size and row < columns.ts.size:
        begin = skip_blanks(text, at)
        end = _kind_of_line(text, begin)
        if end == 0:
            end = _line(text, begin, row, columns, state)
        if end <= WIDER:
            state[STOP] = end
            return at, row
        at, row = next_line(text, begin, end, row, columns.data, state)
    return at, row

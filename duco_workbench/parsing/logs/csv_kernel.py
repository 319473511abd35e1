"""The numba kernel behind csv_table.py: rows of a table -> columns, the fields of a row as the header says."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...jit import inlined, kernel
from .scan import (
    ASIDE,
    BAD,
    COMMA,
    ERROR,
    EXTENDED,
    FLAG_BRS,
    FLAG_ERROR,
    FLAG_ESI,
    FLAG_FD,
    FLAG_REMOTE,
    FLAG_TX,
    HEX,
    LINES,
    NEWLINE,
    OWN,
    REMOTE,
    SKIP,
    STOP,
    WIDER,
    Bytes,
    Columns,
    decimal,
    next_line,
    number,
    skip_blanks,
)

ORDER = OWN  # codes of the fields, from here on; 0 behind the last
END, TIME, IDENTIFIER, IS_EXTENDED, IS_REMOTE, IS_ERROR, IS_FD, BRS, ESI, IS_TX, CHANNEL, DLC, BASE64, DATA_HEX = range(
    14
)
_FLAG = np.zeros(14, np.int64)  # of fields that hold 0 or 1
_FLAG[[IS_REMOTE, IS_ERROR, IS_FD, BRS, ESI, IS_TX]] = [FLAG_REMOTE, FLAG_ERROR, FLAG_FD, FLAG_BRS, FLAG_ESI, FLAG_TX]

_SIX_BITS = np.full(256, 255, np.uint8)  # value of a base64 digit
_SIX_BITS[np.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", np.uint8)] = np.arange(64)
_EQUALS, _E, _X, _MINUS = 61, 101, 120, 45


@inlined
def _seconds(text: Bytes, at: int) -> tuple[int, int]:
    """``1700000000.25`` or ``1e-05``, as Python writes small ones -> (microseconds, position)."""
    micros, end = decimal(text, at, 6)
    if end > 0 and text[end] | 32 == _E and text[end + 1] == _MINUS:
        digits, _ = decimal(text, at, 15)
        power, end = number(text, end + 2, 10)
        micros = int(np.rint(digits * 10.0 ** (-9 - min(power, 99))))
    return micros, end


@inlined
def _hexadecimal(text: Bytes, at: int) -> tuple[int, int]:
    """An id, with or without ``0x``."""
    if text[at] == 48 and text[at + 1] | 32 == _X:
        at += 2
    value, at = number(text, at, 16)
    return value, at if value <= 0x1FFF_FFFF else BAD


@inlined
def _base64(text: Bytes, at: int, row: int, data: Bytes) -> tuple[int, int]:
    """-> (number of bytes, position, or BAD, or WIDER)."""
    count, bits, value = 0, 0, 0
    while _SIX_BITS[text[at]] != 255:
        bits, value, at = bits + 6, (value << 6 | _SIX_BITS[text[at]]) & 0xFFFF, at + 1
        if bits >= 8:
            if count == data.shape[1]:
                return count, WIDER if count == 8 else BAD
            bits -= 8
            data[row, count], count = value >> bits & 255, count + 1
    while text[at] == _EQUALS:
        bits, at = bits - 2, at + 1
    return count, at if bits == 0 else BAD


@inlined
def _hex_pairs(text: Bytes, at: int, row: int, data: Bytes) -> tuple[int, int]:
    """-> (number of bytes, position, or BAD, or WIDER)."""
    count = 0
    while HEX[text[at]] < 16:
        if count == data.shape[1]:
            return count, WIDER if count == 8 else BAD
        if HEX[text[at + 1]] > 15:
            return count, BAD
        data[row, count] = HEX[text[at]] << 4 | HEX[text[at + 1]]
        count, at = count + 1, skip_blanks(text, at + 2)
    return count, at


@inlined
def _row(row: int, columns: Columns, identifier: int, flags: int, dlc: int, length: int) -> bool:
    """Sets id, dlc and flags; False when the data are not as long as they should be."""
    if flags & FLAG_ERROR:
        columns.arbitration_id[row], flags = (identifier & ~EXTENDED) | ERROR, flags & ~FLAG_REMOTE
    elif flags & FLAG_REMOTE:
        columns.arbitration_id[row], length = identifier | REMOTE, min(dlc, 8)
        columns.data[row, :] = 0
    else:
        columns.arbitration_id[row] = identifier
        if dlc >= 0 and dlc != length:
            return False
    columns.dlc[row], columns.flags[row] = length, flags | (FLAG_FD if length > 8 else 0)
    return True


@inlined
def _line(text: Bytes, at: int, row: int, columns: Columns, state: NDArray[Any]) -> int:
    """One line into one row, field by field -> position behind it, or a code."""
    columns.channel[row], identifier, flags, dlc, length, k = 0, 0, 0, -1, 0, 0
    while True:
        field, at, k = state[ORDER + k], skip_blanks(text, at), k + 1
        value, end = 0, at
        if field == TIME:
            columns.ts[row], end = _seconds(text, at)
        elif field == IDENTIFIER:
            value, end = _hexadecimal(text, at)
            identifier |= value
        elif field == BASE64:
            length, end = _base64(text, at, row, columns.data)
        elif field == DATA_HEX:
            length, end = _hex_pairs(text, at, row, columns.data)
        else:
            value, end = number(text, at, 10)
            if field == DLC:
                dlc = value
            elif field == CHANNEL:
                columns.channel[row] = value & 255
            elif field == IS_EXTENDED:
                identifier |= value * EXTENDED
            else:
                flags |= value * _FLAG[field]
            if value > (255 if field == CHANNEL else 64 if field == DLC else 1):
                return BAD
        if end < 0:
            return end
        at = skip_blanks(text, end)
        if state[ORDER + k] == END:
            break
        if text[at] != COMMA:
            return BAD
        at += 1
    return at if text[at] == NEWLINE and _row(row, columns, identifier, flags, dlc, length) else BAD


@kernel
def parse_csv(text: Bytes, at: int, row: int, columns: Columns, names: Any, state: NDArray[Any]) -> tuple[int, int]:
    """See :class:`.text.Kernel`; the first line is put aside."""
    state[STOP] = 0
    while at < text.size and row < columns.ts.size:
        begin = skip_blanks(text, at)
        if state[LINES] == 0:
            end = ASIDE
        else:
            end = SKIP if text[begin] == NEWLINE else _line(text, begin, row, columns, state)
        if end <= WIDER:
            state[STOP] = end
            return at, row
        at, row = next_line(text, begin, end, row, columns.data, state)
    return at, row

"""The numba kernel behind candump.py: lines of text -> columns, one pass, no Python object per frame.

::

    (1436509052.249713) can0 18FEF100#0102030405060708 R     classic; R / T: received / sent
    (1436509052.249713) can0 123#R4                          remote
    (1436509052.249713) can0 20000080#0000000000000000       error frame
    (1436509052.249713) can0 18FEF100##3001122               CAN FD: flags (1 BRS, 2 ESI), then data
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...jit import inlined, kernel
from .scan import (
    BAD,
    DOT,
    ERROR,
    EXTENDED,
    FLAG_ERROR,
    FLAG_FD,
    FLAG_REMOTE,
    FLAG_TX,
    HEX,
    NAMES,
    NEWLINE,
    REMOTE,
    SKIP,
    SPACE,
    STOP,
    TAB,
    WIDER,
    Bytes,
    Columns,
    decimal,
    next_line,
    skip_blanks,
)

MAX_NAMES, NAME_LENGTH = 255, 64
_HASH, _OPEN, _CLOSE, _UNDERSCORE = 35, 40, 41, 95


class Names(NamedTuple):
    """Channel names in order of appearance: uint8 (255, 64), and the length of each, int64 (255)."""

    text: Bytes
    lengths: NDArray[Any]


def room() -> Names:
    return Names(np.zeros((MAX_NAMES, NAME_LENGTH), np.uint8), np.zeros(MAX_NAMES, np.int64))


@inlined
def _time(text: Bytes, at: int) -> tuple[int, int]:
    """``(seconds.fraction)`` -> microseconds."""
    if text[at] != _OPEN:
        return 0, BAD
    micros, at = decimal(text, at + 1, 6)
    return micros, at + 1 if at > 0 and text[at] == _CLOSE else BAD


@inlined
def _channel(text: Bytes, at: int, names: Names, state: NDArray[Any], last: int) -> tuple[int, int]:
    """The name's number, given to new names in order; ``last`` is tried first, for a bus mostly repeats."""
    begin = at
    while text[at] != SPACE and text[at] != TAB and text[at] != NEWLINE:
        at += 1
    length = at - begin
    if length == 0 or length > NAME_LENGTH or text[at] == NEWLINE:
        return 0, BAD
    for turn in range(-1, state[NAMES]):
        number = last if turn < 0 else turn
        if names.lengths[number] == length:
            same = 0
            while same < length and names.text[number, same] == text[begin + same]:
                same += 1
            if same == length:
                return number, at
    number = state[NAMES]
    if number == MAX_NAMES:
        return 0, BAD
    for k in range(length):
        names.text[number, k] = text[begin + k]
    names.lengths[number] = length
    state[NAMES] += 1
    return number, at


@inlined
def _identifier(text: Bytes, at: int) -> tuple[int, int]:
    """Up to three hex digits are a standard id, four to eight an extended one or an error frame; ends behind ``#``."""
    begin, value = at, 0
    while HEX[text[at]] != 255 and at - begin < 9:
        value, at = value << 4 | HEX[text[at]], at + 1
    digits = at - begin
    if digits == 0 or digits > 8 or text[at] != _HASH or (digits <= 3 and value > 0x7FF):
        return value, BAD
    if digits > 3:
        value = value & 0x7FFF_FFFF if value & ERROR else value | EXTENDED
    return value, at + 1


@inlined
def _bytes(text: Bytes, at: int, data: Bytes, row: int, most: int) -> tuple[int, int]:
    """Pairs of hex digits, dots between them allowed -> (number of bytes, position)."""
    count = 0
    while HEX[text[at]] != 255:
        if count == most or HEX[text[at + 1]] == 255:
            return count, BAD
        data[row, count] = (HEX[text[at]] << 4) | HEX[text[at + 1]]
        count, at = count + 1, at + 2
        if text[at] == DOT:
            at += 1
    return count, _raw_dlc(text, at)


@inlined
def _raw_dlc(text: Bytes, at: int) -> int:
    """``_9``: the raw DLC of a classic frame of eight bytes."""
    if text[at] == _UNDERSCORE:
        at += 2 if HEX[text[at + 1]] != 255 else 1
    return at


@inlined
def _remote_length(text: Bytes, at: int) -> tuple[int, int]:
    """Behind ``R``: the length asked for, if any."""
    length = 0
    if 48 <= text[at] <= 56:
        length, at = text[at] - 48, at + 1
    return length, _raw_dlc(text, at)


@inlined
def _content(text: Bytes, at: int, row: int, columns: Columns) -> int:
    """What follows ``id#``. Sets dlc, flags and data of the row; ends behind the last digit."""
    flags = FLAG_ERROR if columns.arbitration_id[row] & ERROR else 0
    if text[at] == _HASH:
        if columns.data.shape[1] < 64:
            return WIDER
        if HEX[text[at + 1]] == 255:
            return BAD
        flags |= FLAG_FD | ((HEX[text[at + 1]] & 3) << 1)
        count, at = _bytes(text, at + 2, columns.data, row, 64)
    elif text[at] | 32 == 114:  # R
        flags |= FLAG_REMOTE
        columns.arbitration_id[row] |= REMOTE
        count, at = _remote_length(text, at + 1)
    else:
        count, at = _bytes(text, at, columns.data, row, 8)
    columns.dlc[row], columns.flags[row] = count, flags
    return at


@inlined
def _line_rest(text: Bytes, at: int, row: int, flags: NDArray[Any]) -> int:
    """Direction, if given, then nothing but blanks."""
    if at < 0:
        return at
    at = skip_blanks(text, at)
    letter = text[at] | 32
    if letter == 114 or letter == 116:  # r, t
        if letter == 116:
            flags[row] |= FLAG_TX
        at = skip_blanks(text, at + 1)
    return at if text[at] == NEWLINE else BAD


@inlined
def _line(text: Bytes, at: int, row: int, columns: Columns, names: Names, state: NDArray[Any]) -> int:
    """One line into one row -> position of its line end, or BAD, or WIDER."""
    micros, at = _time(text, at)
    if at < 0:
        return at
    last = columns.channel[row - 1] if row else 0
    channel, at = _channel(text, skip_blanks(text, at), names, state, last)
    if at < 0:
        return at
    identifier, at = _identifier(text, skip_blanks(text, at))
    if at < 0:
        return at
    columns.ts[row], columns.channel[row], columns.arbitration_id[row] = micros, channel, identifier
    at = _content(text, at, row, columns)
    return _line_rest(text, at, row, columns.flags)


@kernel
def parse_candump(
    text: Bytes, at: int, row: int, columns: Columns, names: Names, state: NDArray[Any]
) -> tuple[int, int]:
    """See :class:`.text.Kernel`."""
    state[STOP] = 0
    while at < text.size and row < columns.ts.size:
        begin = skip_blanks(text, at)
        end = SKIP if text[begin] == NEWLINE else _line(text, begin, row, columns, names, state)
        if end <= WIDER:
            state[STOP] = end
            return at, row
        at, row = next_line(text, begin, end, row, columns.data, state)
    return at, row

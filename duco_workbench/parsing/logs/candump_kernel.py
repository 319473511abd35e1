"""The numba kernel behind candump.py: lines of text -> columns, one pass, no Python object per frame.

Every loop stops at a line end, and the text given ends with one, so nothing is read past its end.

::

    (1436509052.249713) can0 18FEF100#0102030405060708 R     classic; R / T: received / sent
    (1436509052.249713) can0 123#R4                          remote
    (1436509052.249713) can0 20000080#0000000000000000       error frame
    (1436509052.249713) can0 18FEF100##3001122               CAN FD: flags (1 BRS, 2 ESI), then data
"""

from __future__ import annotations

import numpy as np
from numba import njit

# rows of `state`
LINES, BAD, FIRST_BAD, NAMES, WIDEN = range(5)
MAX_NAMES, NAME_LENGTH = 255, 64

_HEX = np.full(256, 255, np.uint8)
_HEX[48:58] = np.arange(10)
_HEX[65:71] = _HEX[97:103] = np.arange(10, 16)

_NEWLINE, _SPACE, _TAB, _RETURN, _HASH, _DOT, _OPEN, _CLOSE, _UNDERSCORE = 10, 32, 9, 13, 35, 46, 40, 41, 95
_EXTENDED, _REMOTE, _ERROR = 0x8000_0000, 0x4000_0000, 0x2000_0000
_FLAG_FD, _FLAG_REMOTE, _FLAG_ERROR, _FLAG_TX = 1, 8, 16, 32  # model.Flag; BRS and ESI are the digit shifted by one
_BAD, _WIDER = -1, -2  # instead of a position


@njit(cache=True, nogil=True)
def _skip_blanks(text, at):  # type: ignore[no-untyped-def]
    while text[at] == _SPACE or text[at] == _TAB or text[at] == _RETURN:
        at += 1
    return at


@njit(cache=True, nogil=True)
def _time(text, at):  # type: ignore[no-untyped-def]
    """``(seconds.fraction)`` -> microseconds, in whole numbers; a seventh digit rounds."""
    if text[at] != _OPEN:
        return np.int64(0), _BAD
    at, begin, micros = at + 1, at + 1, np.int64(0)
    while 48 <= text[at] <= 57:
        micros, at = micros * 10 + (text[at] - 48), at + 1
    digits = 0
    if not 0 < at - begin <= 11:
        return micros, _BAD
    if text[at] == _DOT:
        at += 1
        while 48 <= text[at] <= 57:
            if digits < 6:
                micros = micros * 10 + (text[at] - 48)
            elif digits == 6 and text[at] >= 53:
                micros += 1
            digits, at = digits + 1, at + 1
    for _ in range(digits, 6):
        micros *= 10
    return micros, (at + 1 if text[at] == _CLOSE else _BAD)


@njit(cache=True, nogil=True)
def _channel(text, at, names, lengths, state, last):  # type: ignore[no-untyped-def]
    """The name's number, given to new names in order; ``last`` is tried first, for a bus mostly repeats."""
    begin = at
    while text[at] != _SPACE and text[at] != _TAB and text[at] != _NEWLINE:
        at += 1
    length = at - begin
    if length == 0 or length > NAME_LENGTH or text[at] == _NEWLINE:
        return 0, _BAD
    for turn in range(-1, state[NAMES]):
        number = last if turn < 0 else turn
        if lengths[number] == length:
            same = 0
            while same < length and names[number, same] == text[begin + same]:
                same += 1
            if same == length:
                return number, at
    number = state[NAMES]
    if number == MAX_NAMES:
        return 0, _BAD
    for k in range(length):
        names[number, k] = text[begin + k]
    lengths[number] = length
    state[NAMES] += 1
    return number, at


@njit(cache=True, nogil=True)
def _identifier(text, at):  # type: ignore[no-untyped-def]
    """Up to three hex digits are a standard id, four to eight an extended one or an error frame; ends behind ``#``."""
    begin, value = at, np.uint32(0)
    while _HEX[text[at]] != 255:
        value, at = (value << np.uint32(4)) | np.uint32(_HEX[text[at]]), at + 1
    digits = at - begin
    if digits == 0 or digits > 8 or text[at] != _HASH or (digits <= 3 and value > 0x7FF):
        return value, _BAD
    if digits > 3:
        value = value & np.uint32(0x7FFF_FFFF) if value & np.uint32(_ERROR) else value | np.uint32(_EXTENDED)
    return value, at + 1


@njit(cache=True, nogil=True)
def _bytes(text, at, data, row, most):  # type: ignore[no-untyped-def]
    """Pairs of hex digits, dots between them allowed -> (number of bytes, position)."""
    count = 0
    while _HEX[text[at]] != 255:
        if count == most or _HEX[text[at + 1]] == 255:
            return count, _BAD
        data[row, count] = (_HEX[text[at]] << 4) | _HEX[text[at + 1]]
        count, at = count + 1, at + 2
        if text[at] == _DOT:
            at += 1
    if text[at] == _UNDERSCORE:  # "_9": the raw DLC of a classic frame of eight bytes
        at += 2 if _HEX[text[at + 1]] != 255 else 1
    return count, at


@njit(cache=True, nogil=True)
def _remote_length(text, at):  # type: ignore[no-untyped-def]
    """Behind ``R``: the length asked for, if any."""
    length = 0
    if 48 <= text[at] <= 56:
        length, at = text[at] - 48, at + 1
    if text[at] == _UNDERSCORE:
        at += 2 if _HEX[text[at + 1]] != 255 else 1
    return length, at


@njit(cache=True, nogil=True)
def _content(text, at, row, identifier, dlc, flags, data):  # type: ignore[no-untyped-def]
    """What follows ``id#``. Sets dlc, flags and data of the row; ends behind the last digit."""
    flags[row] = _FLAG_ERROR if identifier[row] & np.uint32(_ERROR) else 0
    if text[at] == _HASH:
        if data.shape[1] < 64:
            return _WIDER
        if _HEX[text[at + 1]] == 255:
            return _BAD
        flags[row] |= _FLAG_FD | ((_HEX[text[at + 1]] & 3) << 1)
        count, at = _bytes(text, at + 2, data, row, 64)
    elif text[at] == 82 or text[at] == 114:  # R
        flags[row] |= _FLAG_REMOTE
        identifier[row] |= np.uint32(_REMOTE)
        count, at = _remote_length(text, at + 1)
    else:
        count, at = _bytes(text, at, data, row, 8)
    dlc[row] = count
    return at


@njit(cache=True, nogil=True)
def _line_rest(text, at, row, flags):  # type: ignore[no-untyped-def]
    """Direction, if given, then nothing but blanks."""
    if at < 0:
        return at
    at = _skip_blanks(text, at)
    letter = text[at] | 32
    if letter == 114 or letter == 116:  # r, t
        if letter == 116:
            flags[row] |= _FLAG_TX
        at = _skip_blanks(text, at + 1)
    return at if text[at] == _NEWLINE else _BAD


@njit(cache=True, nogil=True)
def _line(text, at, row, ts, identifier, dlc, flags, data, channel, names, lengths, state):  # type: ignore[no-untyped-def]
    """One line into one row -> position of its line end, or _BAD, or _WIDER."""
    ts[row], at = _time(text, at)
    if at < 0:
        return at
    last = channel[row - 1] if row else 0
    channel[row], at = _channel(text, _skip_blanks(text, at), names, lengths, state, last)
    if at < 0:
        return at
    identifier[row], at = _identifier(text, _skip_blanks(text, at))
    if at < 0:
        return at
    at = _content(text, at, row, identifier, dlc, flags, data)
    return _line_rest(text, at, row, flags)


@njit(cache=True, nogil=True)
def parse_lines(text, at, row, ts, identifier, dlc, flags, data, channel, names, lengths, state):  # type: ignore[no-untyped-def]
    """Lines from ``at`` on into the columns from ``row`` on, until either is full.

    Args:
        text: uint8, ending with a line end.
        data: uint8 (rows, 8 or 64), zero from ``row`` on. At a CAN FD line with too narrow ``data`` the kernel
            returns before it, with ``state[WIDEN]`` set.
        names, lengths: uint8 (255, 64) and int64 (255): channel names in order of appearance.
        state: int64 (5), the counters named above; lines count from 1.
    Returns: position and row to go on from.
    """
    state[WIDEN] = 0
    while at < text.size and row < ts.size:
        begin = _skip_blanks(text, at)
        if text[begin] == _NEWLINE:
            at = begin
        else:
            at = _line(text, begin, row, ts, identifier, dlc, flags, data, channel, names, lengths, state)
            if at == _WIDER:
                state[WIDEN] = 1
                return begin, row
            if at == _BAD:
                state[BAD] += 1
                if state[FIRST_BAD] == 0:
                    state[FIRST_BAD] = state[LINES] + 1
                data[row, :] = 0
                at = begin
                while text[at] != _NEWLINE:
                    at += 1
            else:
                row += 1
        state[LINES] += 1
        at += 1
    return at, row

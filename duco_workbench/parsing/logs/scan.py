"""What the kernels of the text formats have in common: words, numbers and line ends, scanned in place by numba.

Text is uint8 and ends with a line end; every loop stops at one, so nothing is read past its end. A line's kernel gives
the position behind what it read, or one of the codes below.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...jit import inlined

Bytes = NDArray[Any]  # uint8; its items take part in arithmetic of any width

# Instead of a position. The last two stop the kernel before the line, for Python to see to it.
BAD, SKIP, WIDER, ASIDE = -1, -2, -3, -4
# Items of `state`, int64: counters, why the kernel stopped, time zero (microseconds), then what a format needs.
LINES, BAD_LINES, FIRST_BAD, NAMES, STOP, START, OWN = range(7)
STATE_SIZE = OWN + 32

NEWLINE, SPACE, TAB, RETURN, DOT, COMMA = 10, 32, 9, 13, 46, 44
EXTENDED, REMOTE, ERROR = 0x8000_0000, 0x4000_0000, 0x2000_0000  # model's, as numbers that numba knows
FLAG_FD, FLAG_BRS, FLAG_ESI, FLAG_REMOTE, FLAG_ERROR, FLAG_TX = 1, 2, 4, 8, 16, 32  # model.Flag
FD_LENGTH = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 20, 24, 32, 48, 64], np.int64)  # by DLC code

HEX = np.full(256, 255, np.uint8)  # value of a digit
HEX[48:58] = np.arange(10)
HEX[65:71] = HEX[97:103] = np.arange(10, 16)


class Columns(NamedTuple):
    """Frames to be filled in, row by row; the arrays of :class:`duco_workbench.model.FrameBatch`."""

    ts: NDArray[Any]
    arbitration_id: NDArray[Any]
    dlc: NDArray[Any]
    flags: NDArray[Any]
    data: Bytes
    channel: NDArray[Any]


@inlined
def skip_blanks(text: Bytes, at: int) -> int:
    while text[at] == SPACE or text[at] == TAB or text[at] == RETURN:
        at += 1
    return at


@inlined
def is_end(text: Bytes, at: int) -> bool:
    """Of a word: a blank, the line end, or what is no text."""
    return bool(text[at] <= SPACE)


@inlined
def skip_word(text: Bytes, at: int) -> int:
    while not is_end(text, at):
        at += 1
    return at


@inlined
def begins(text: Bytes, at: int, word: Bytes) -> bool:
    """Whether ``word`` (lower case) stands there, in either case."""
    same = 0  # a line end is no letter: it stops here too
    while same < word.size and text[at + same] | 32 == word[same]:
        same += 1
    return bool(same == word.size)


@inlined
def decimal(text: Bytes, at: int, places: int) -> tuple[int, int]:
    """A number with a fraction -> (itself times 10**places in whole numbers, position); a further digit rounds."""
    begin, value, digits = at, 0, 0
    while 48 <= text[at] <= 57:
        value, at = value * 10 + (text[at] - 48), at + 1
    if not 0 < at - begin <= 17 - places:
        return value, BAD
    if text[at] == DOT:
        at += 1
        while 48 <= text[at] <= 57:
            if digits < places:
                value = value * 10 + (text[at] - 48)
            elif digits == places and text[at] >= 53:
                value += 1
            digits, at = digits + 1, at + 1
    for _ in range(digits, places):
        value *= 10
    return value, at


@inlined
def number(text: Bytes, at: int, base: int) -> tuple[int, int]:
    """Up to ten digits of a base (10 or 16) -> (value, position)."""
    begin, value = at, 0
    while HEX[text[at]] < base:
        value, at = value * base + HEX[text[at]], at + 1
        if at - begin > 10:
            return value, BAD
    return value, at if at > begin else BAD


@inlined
def byte_pairs(text: Bytes, at: int, data: Bytes, row: int, count: int) -> int:
    """``count`` bytes of two hex digits each, with blanks between -> position; BAD when there are fewer, or others."""
    for k in range(count):
        at = skip_blanks(text, at)
        if HEX[text[at]] > 15 or HEX[text[at + 1]] > 15 or not is_end(text, at + 2):
            return BAD
        data[row, k], at = HEX[text[at]] << 4 | HEX[text[at + 1]], at + 2
    return at


@inlined
def direction(text: Bytes, at: int) -> tuple[int, int]:
    """``Rx`` or ``Tx`` -> (0 or FLAG_TX, position)."""
    letter = text[at] | 32
    if (letter != 114 and letter != 116) or text[at + 1] | 32 != 120 or not is_end(text, at + 2):
        return 0, BAD
    return (FLAG_TX if letter == 116 else 0), at + 2


@inlined
def next_line(text: Bytes, begin: int, end: int, row: int, data: Bytes, state: NDArray[Any]) -> tuple[int, int]:
    """Behind a line that begins at ``begin`` and was read up to ``end`` (or BAD, SKIP) -> position and row to go on."""
    if end >= 0:
        row += 1
    else:
        if end == BAD:
            state[BAD_LINES] += 1
            if state[FIRST_BAD] == 0:
                state[FIRST_BAD] = state[LINES] + 1
        data[row, :] = 0
        end = begin
    while text[end] != NEWLINE:
        end += 1
    state[LINES] += 1
    return end + 1, row

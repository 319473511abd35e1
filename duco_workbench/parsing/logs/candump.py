"""candump logs (``candump -L`` / ``-l``), streamed: blocks of whole lines into the kernel, chunks of frames out."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ...model import FrameBatch
from .candump_kernel import BAD, FIRST_BAD, LINES, MAX_NAMES, NAME_LENGTH, NAMES, WIDEN, parse_lines
from .files import Source

CHUNK = 65_536  # frames of one batch
BLOCK = 1 << 21  # bytes read at a time
LONGEST_LINE = 1 << 16  # what has no line end for longer is not text


def read_candump(source: Source) -> Iterator[FrameBatch]:
    """Batches of up to 65,536 frames. Lines that are none are counted, skipped and said once."""
    stream, parser, rest, taken = source.stream(), _Parser(), b"", 0
    try:
        while block := stream.read1(BLOCK):  # what there is: a cut .gz gives all it has before it raises
            text, end, tail = (rest + block).rpartition(b"\n")
            taken += len(text) + len(end)
            rest = tail if len(tail) < LONGEST_LINE else b"?"  # one bad line, not a growing buffer
            yield from parser.feed(text + end)
            source.byte, source.line = taken, parser.line
        yield from parser.last_line(rest, source)
        yield from parser.take()
    except Exception:
        yield from parser.take()  # the stream broke (a cut .gz): what was complete counts
        raise
    finally:
        parser.say_bad_lines(source)


class _Parser:
    """Columns that fill up, and what the kernel remembers from call to call."""

    def __init__(self) -> None:
        self._names = np.zeros((MAX_NAMES, NAME_LENGTH), np.uint8)
        self._lengths = np.zeros(MAX_NAMES, np.int64)
        self._state = np.zeros(5, np.int64)
        self._width, self._seen = 8, 0
        self._renew()

    @property
    def line(self) -> int:
        """Number of the next line, from 1."""
        return int(self._state[LINES]) + 1

    def _renew(self) -> None:
        self._row = 0
        self._ts, self._id = np.empty(CHUNK, np.int64), np.empty(CHUNK, np.uint32)
        self._dlc, self._flags = np.empty(CHUNK, np.uint8), np.empty(CHUNK, np.uint8)
        self._data, self._channel = np.zeros((CHUNK, self._width), np.uint8), np.empty(CHUNK, np.uint8)

    def feed(self, text: bytes) -> Iterator[FrameBatch]:
        """Parse whole lines; full chunks come out."""
        at, buffer = 0, np.frombuffer(text, np.uint8)
        while at < len(buffer):
            at = self._parse(buffer, at)
            if self._state[WIDEN]:
                self._width = 64
                self._data = np.pad(self._data, ((0, 0), (0, 56)))
            elif self._row == CHUNK:
                yield from self.take()

    def _parse(self, buffer: NDArray[np.uint8], at: int) -> int:
        columns = (self._ts, self._id, self._dlc, self._flags, self._data, self._channel)
        end, self._row = parse_lines(buffer, at, self._row, *columns, self._names, self._lengths, self._state)
        return int(end)

    def take(self) -> Iterator[FrameBatch]:
        """The frames parsed since the last chunk, if any."""
        if not self._row:
            return
        self._seen += self._row
        whole = FrameBatch(self._ts, self._id, self._dlc, self._flags, self._data, self._channel, self._channel_names())
        yield whole[: self._row]
        self._renew()

    def _channel_names(self) -> tuple[str, ...]:
        known = range(int(self._state[NAMES]))
        return tuple(self._names[k, : self._lengths[k]].tobytes().decode("utf-8", "replace") for k in known)

    def last_line(self, rest: bytes, source: Source) -> Iterator[FrameBatch]:
        """A last line without a line end may have been cut: it counts only if it cannot be."""
        if not rest.strip():
            return
        if self._row == CHUNK - 1:
            yield from self.take()  # so that the line's row stays here until it is judged
        bad, row = int(self._state[BAD]), self._row
        yield from self.feed(rest + b"\n")
        parsed = self._row > row
        if parsed and self._cannot_be_cut():
            return
        if parsed:
            self._row -= 1
            self._data[self._row] = 0
        elif self._state[BAD] > bad:
            self._state[BAD] -= 1  # said below, not among the lines in the middle
        if self._seen + self._row:
            source.warn(f"damaged at {source.place}: read up to there (the last line is cut)")

    def _cannot_be_cut(self) -> bool:
        """It has eight bytes, or as many as the frame of its id before it, or it is all there is."""
        last = self._row - 1
        before = np.flatnonzero(self._id[:last] == self._id[last])
        length = self._dlc[last]
        return bool(length == 8 or self._seen + last == 0 or (len(before) and self._dlc[before[-1]] == length))

    def say_bad_lines(self, source: Source) -> None:
        if bad := int(self._state[BAD]):
            what = "1 line is no candump line" if bad == 1 else f"{bad:,} lines are no candump lines"
            source.warn(f"{what}, the first is line {self._state[FIRST_BAD]}: skipped")

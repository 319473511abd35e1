"""The driver of all text formats: blocks of whole lines into a format's kernel, chunks of frames out.

A line that is none of its format's is counted, skipped and said once. A last line that was cut is left out and said.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...model import FrameBatch
from .files import Source
from .rows import Naming, Rows
from .scan import ASIDE, BAD_LINES, FIRST_BAD, LINES, STATE_SIZE, STOP, WIDER, Bytes, Columns

BLOCK = 1 << 21  # bytes read at a time
LONGEST_LINE = 1 << 16  # what has no line end for longer is not text
_MARK = b"\xef\xbb\xbf"  # what editors on Windows put before UTF-8


class Kernel(Protocol):
    def __call__(
        self, text: Bytes, at: int, row: int, columns: Columns, names: Any, state: NDArray[np.int64], /
    ) -> tuple[int, int]:
        """Lines from ``at`` on into the rows from ``row`` on, until either is full or one needs Python.

        Args:
            text: uint8, ending with a line end.
            columns: data is zero from ``row`` on.
            names: what the format keeps of channel names.
            state: int64, see :mod:`.scan`; ``state[STOP]`` says why the kernel stopped before a line, or is 0.
        Returns: position and row to go on from.
        """


class Lines:
    """A format's parser: what its kernel fills in and remembers from call to call.

    Attributes:
        what: a line of the format, as a person calls it.
    """

    what = "log line"

    def __init__(self, source: Source, kernel: Kernel, naming: Naming, names: Any = None) -> None:
        self.source, self.rows = source, Rows(naming)
        self.state = np.zeros(STATE_SIZE, np.int64)
        self._kernel, self._names = kernel, np.zeros(1, np.uint8) if names is None else names

    def aside(self, line: str) -> bool:
        """A line that holds no frame but something about them, such as a date; False when it is nothing known."""
        return False

    def is_whole(self) -> bool:
        """Whether the last row is a whole frame although its line has no end."""
        return False

    @property
    def line(self) -> int:
        """Number of the next line, from 1."""
        return int(self.state[LINES]) + 1

    def feed(self, text: bytes) -> Iterator[FrameBatch]:
        """Parse whole lines; full batches come out."""
        at, buffer = 0, np.frombuffer(text, np.uint8)
        while at < len(buffer):
            at, row = self._kernel(buffer, at, self.rows.count, self.rows.columns, self._names, self.state)
            self.rows.count = int(row)
            stop = self.state[STOP]
            if stop == WIDER:
                self.rows.widen()
            elif stop == ASIDE:
                at = self._put_aside(text, at)
            if self.rows.full:
                yield from self.rows.take()

    def _put_aside(self, text: bytes, at: int) -> int:
        end = text.index(b"\n", at)
        if not self.aside(text[at:end].decode("utf-8", "replace").rstrip()):
            self.state[BAD_LINES] += 1
            self.state[FIRST_BAD] = self.state[FIRST_BAD] or self.line
        self.state[LINES] += 1
        return end + 1

    def last_line(self, rest: bytes) -> Iterator[FrameBatch]:
        """A last line without a line end may have been cut."""
        if len(self.rows.columns.ts) - self.rows.count == 1:
            yield from self.rows.take()  # so that the line's row stays here until it is judged
        bad, row = int(self.state[BAD_LINES]), self.rows.count
        try:
            yield from self.feed(rest + b"\n")
            is_bad = self.state[BAD_LINES] > bad
        except ValueError:
            is_bad = True
        self.state[BAD_LINES] = bad  # said here, not among the lines in the middle
        is_frame = self.rows.count > row
        if is_bad or (not self.is_whole() if is_frame else rest.strip()[:1].isdigit()):
            self.rows.count = row
            self.rows.columns.data[row] = 0
            if self.rows.taken + row:
                self.source.warn(f"damaged at {self.source.place}: read up to there (the last line is cut)")

    def say_bad_lines(self) -> None:
        if bad := int(self.state[BAD_LINES]):
            what = f"1 line is no {self.what}" if bad == 1 else f"{bad:,} lines are no {self.what}s"
            self.source.warn(f"{what}, the first is line {self.state[FIRST_BAD]}: skipped")


def read_lines(lines: Lines, block: int = BLOCK) -> Iterator[FrameBatch]:
    """Batches of up to 65,536 frames."""
    source, rest, total = lines.source, b"", 0
    try:
        stream = source.stream()
        while part := stream.read1(block):  # what there is: a cut .gz gives all it has before it raises
            if not total and part.startswith(_MARK):
                part = part.replace(_MARK, b"   ", 1)
            total += len(part)
            text, end, tail = (rest + part).rpartition(b"\n")
            rest = tail if len(tail) < LONGEST_LINE else b"?"  # one bad line, not a growing buffer
            yield from lines.feed(text + end)
            source.byte, source.line = total - len(tail), lines.line
        if rest.strip():
            yield from lines.last_line(rest)
        yield from lines.rows.take()
    except Exception:
        yield from lines.rows.take()  # the stream broke (a cut .gz): what was complete counts
        raise
    finally:
        lines.say_bad_lines()

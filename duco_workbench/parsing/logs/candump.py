"""candump logs (``candump -L`` / ``-l``), streamed: what their kernel does not know."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...model import FrameBatch
from .candump_kernel import parse_candump, room
from .files import Source
from .scan import NAMES
from .text import BLOCK, Lines, read_lines


def read_candump(source: Source) -> Iterator[FrameBatch]:
    """Batches of up to 65,536 frames. Lines that are none are counted, skipped and said once."""
    return read_lines(_Parser(source), BLOCK)


class _Parser(Lines):
    """Buses have names here, numbered in order of appearance."""

    what = "candump line"

    def __init__(self, source: Source) -> None:
        self._known = room()
        super().__init__(source, parse_candump, self._naming, self._known)

    def _naming(self, numbers: NDArray[Any]) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
        known = zip(self._known.text[: self.state[NAMES]], self._known.lengths, strict=False)
        return numbers, tuple(name[:length].tobytes().decode("utf-8", "replace") for name, length in known)

    def is_whole(self) -> bool:
        """It has eight bytes, or as many as the frame of its id before it, or it is all there is."""
        last, columns = self.rows.count - 1, self.rows.columns
        before = np.flatnonzero(columns.arbitration_id[:last] == columns.arbitration_id[last])
        length = columns.dlc[last]
        only = self.rows.taken + last == 0
        return bool(length == 8 or only or (len(before) and columns.dlc[before[-1]] == length))

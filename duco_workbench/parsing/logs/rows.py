"""Frames that a kernel fills in row by row, and the batches made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...model import FrameBatch, bus_name
from .scan import Columns

CHUNK = 65_536  # frames of one batch
Naming = Callable[[NDArray[Any]], "tuple[NDArray[np.uint8], tuple[str, ...]]"]  # numbers -> index, names


class Rows:
    """Room for the frames of one batch.

    Attributes:
        columns: ``CHUNK`` rows; data is 8 wide until a longer frame asks for :meth:`widen`, then 64.
        count: rows filled in so far.
        taken: frames given out before.
    """

    def __init__(self, naming: Naming) -> None:
        self.taken = 0
        self._width, self._naming = 8, naming
        self._renew()

    @property
    def full(self) -> bool:
        return self.count == len(self.columns.ts)

    def _renew(self) -> None:
        self.count = 0
        self.columns = Columns(
            np.empty(CHUNK, np.int64),
            np.empty(CHUNK, np.uint32),
            np.empty(CHUNK, np.uint8),
            np.empty(CHUNK, np.uint8),
            np.zeros((CHUNK, self._width), np.uint8),
            np.empty(CHUNK, np.uint8),
        )

    def widen(self) -> None:
        """Room for CAN FD, in this batch and all that follow."""
        self._width = 64
        data = np.zeros((len(self.columns.ts), 64), np.uint8)
        data[: self.count, :8] = self.columns.data[: self.count]
        self.columns = self.columns._replace(data=data)

    def take(self) -> Iterator[FrameBatch]:
        """The frames since the last batch, if any."""
        if not self.count:
            return
        self.taken += self.count
        ts, arbitration_id, dlc, flags, data, numbers = (column[: self.count] for column in self.columns)
        channel, names = self._naming(numbers)
        yield FrameBatch(ts, arbitration_id, dlc, flags, data, channel, names)
        self._renew()


def numbered(first: int) -> Naming:
    """Channels that the file counts from ``first`` on: the first is ``can0``."""

    def naming(numbers: NDArray[Any]) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
        present = np.flatnonzero(np.bincount(numbers))
        index = np.zeros(256, np.uint8)
        index[present] = np.arange(len(present))
        return index[numbers], tuple(bus_name(int(number) - first) for number in present)

    return naming

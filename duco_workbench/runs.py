"""Rows of values in order of series: where each series is, and its times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Runs(NamedTuple):
    """Where the rows of each of ``k`` series are, in order of series.

    Attributes:
        starts: int64 (k + 1), its first row, and at last the number of rows.
        at: int64 (k), where its times begin in ``times``: series of one message share them.
        times: int64, microseconds UTC.
    """

    starts: NDArray[np.int64]
    at: NDArray[np.int64]
    times: NDArray[np.int64]

    @property
    def counts(self) -> NDArray[np.int64]:
        """Rows of each series."""
        return np.diff(self.starts)

    def repeat(self, numbers: NDArray[np.int32]) -> NDArray[np.int32]:
        """A number of each series -> one of every row."""
        return np.repeat(numbers, self.counts)

    def ts(self) -> NDArray[np.int64]:
        """The time of every row."""
        shift = np.repeat(self.at - self.starts[:-1], self.counts)
        shift += np.arange(len(shift))
        return self.times[shift]

    def changes(
        self, value: NDArray[np.float64], status: NDArray[np.uint8]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The first and last row of each series and those that differ from the one before (NaN does not from NaN);
        and where each series begins among them, and their number."""
        is_nan = value != value
        kept = np.ones(len(value), bool)
        kept[1:] = (value[1:] != value[:-1]) & ~(is_nan[1:] & is_nan[:-1]) | (status[1:] != status[:-1])
        filled = self.counts > 0
        kept[self.starts[:-1][filled]] = kept[self.starts[1:][filled] - 1] = True
        rows = np.flatnonzero(kept)
        return rows, np.searchsorted(rows, self.starts)


def joined(parts: Sequence[Runs]) -> Runs:
    """Those of all parts, one after the other. Parts of one batch share their times, which are then there once."""
    tables = {id(part.times): part.times for part in parts}
    begins = dict(zip(tables, np.cumsum([0, *map(len, tables.values())]).tolist(), strict=False))
    rows = np.cumsum([0, *(part.starts[-1] for part in parts)])
    return parts[0]._replace(
        starts=np.concatenate([*(p.starts[:-1] + n for p, n in zip(parts, rows, strict=False)), rows[-1:]]),
        at=np.concatenate([part.at + begins[id(part.times)] for part in parts]),
        times=next(iter(tables.values())) if len(tables) == 1 else np.concatenate(list(tables.values())),
    )

"""Runs of samples: rows of one series that follow each other, found and counted in one pass."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ..columns import Samples
from ..jit import kernel
from ..model import STATUS_NAMES


class Runs(NamedTuple):
    """Columns, ``r`` runs in order of rows.

    Attributes:
        series: int64 (r), index into the samples' series.
        starts, ends: int64 (r), first row and the row after the last.
        statuses: int64 (r, 4), rows of each status.
    """

    series: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    statuses: NDArray[np.int64]

    @classmethod
    def of(cls, samples: Samples) -> Self:
        series = samples.series
        count = int(np.count_nonzero(series[1:] != series[:-1])) + 1 if len(series) else 0
        starts, statuses = np.zeros(count + 1, np.int64), np.zeros((count, len(STATUS_NAMES)), np.int64)
        _find(series, samples.status, starts, statuses)
        return cls(series[starts[:-1]].astype(np.int64), starts[:-1], starts[1:], statuses)


@kernel
def _find(series: Any, status: Any, starts: Any, statuses: Any) -> None:
    run = -1
    for row in range(len(series)):
        if row == 0 or series[row] != series[row - 1]:
            run += 1
            starts[run] = row
        statuses[run, status[row]] += 1
    starts[run + 1] = len(series)

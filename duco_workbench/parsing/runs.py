"""Runs of rows written out by kernels: many short ones are where numpy is slow."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..columns import Runs
from ..jit import kernel


@kernel
def _repeat(starts: Any, numbers: Any, rows: Any) -> None:
    for j in range(numbers.size):
        rows[starts[j] : starts[j + 1]] = numbers[j]


@kernel
def _times(starts: Any, at: Any, times: Any, rows: Any) -> None:
    for j in range(at.size):  # a slice would cost more than the few rows of most series
        to, begin, n = np.uint64(starts[j]), np.uint64(at[j]), np.uint64(starts[j + 1] - starts[j])
        for i in range(n):
            rows[to + i] = times[begin + i]


class CompiledRuns(Runs):
    """The same, sooner."""

    __slots__ = ()

    def repeat(self, numbers: NDArray[np.int32]) -> NDArray[np.int32]:
        rows = np.empty(self.starts[-1], np.int32)
        _repeat(self.starts, numbers, rows)
        return rows

    def ts(self) -> NDArray[np.int64]:
        rows = np.empty(self.starts[-1], np.int64)
        _times(self.starts, self.at, self.times, rows)
        return rows

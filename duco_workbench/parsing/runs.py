"""Runs of rows written out by kernels: many short ones are where numpy is slow."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..jit import kernel
from ..runs import Runs


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


@kernel
def _changes(starts: Any, value: Any, status: Any, rows: Any, begins: Any) -> int:
    count = 0
    for j in range(starts.size - 1):
        begins[j] = count
        last = starts[j + 1] - 1
        for i in range(starts[j], starts[j + 1]):
            is_alike = (
                starts[j] < i < last
                and status[i] == status[i - 1]
                and (value[i] == value[i - 1] or (value[i] != value[i] and value[i - 1] != value[i - 1]))
            )
            rows[count] = i
            count += not is_alike
    begins[starts.size - 1] = count
    return count


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

    def changes(
        self, value: NDArray[np.float64], status: NDArray[np.uint8]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        rows, begins = np.empty(len(value), np.int64), np.empty(len(self.starts), np.int64)
        count = _changes(self.starts, value, status, rows, begins)
        return rows[:count], begins

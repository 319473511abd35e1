"""Thinning, before anything is stored: most values of a bus repeat the one before them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..columns import Samples
from ..jit import kernel


@kernel
def _kept(series: Any, value: Any, status: Any, rows: Any) -> int:
    n, count = series.size, 0
    for i in range(n):
        keep = i == 0 or i == n - 1 or series[i] != series[i - 1] or series[i] != series[i + 1]
        if not keep:
            same = value[i] == value[i - 1] or (np.isnan(value[i]) and np.isnan(value[i - 1]))
            keep = not same or status[i] != status[i - 1]
        if keep:
            rows[count] = i
            count += 1
    return count


def thin(samples: Samples) -> Samples:
    """The first and the last row of every series, and every row whose value or status differs from the one before.

    Args:
        samples: sorted by (series, ts), as a decoder gives them. NaN equals NaN.

    Returns:
        Rows in the same order; the series table stays.
    """
    rows = np.empty(len(samples), np.int64)
    return samples[rows[: _kept(samples.series, samples.value, samples.status, rows)]]

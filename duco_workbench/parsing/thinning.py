"""Thinning, before anything is stored: most values of a bus repeat the one before them."""

from __future__ import annotations

import numpy as np

from ..columns import Samples


def thin(samples: Samples) -> Samples:
    """The first and the last row of every series, and every row whose value or status differs from the one before.

    Args:
        samples: sorted by (series, ts), as a decoder gives them. NaN equals NaN.

    Returns:
        Rows in the same order; the series table stays.
    """
    runs = samples.runs
    rows, starts = runs.changes(samples.value, samples.status)
    times = runs.times[rows + np.repeat(runs.at - runs.starts[:-1], np.diff(starts))]
    return samples.with_rows(rows, runs._replace(starts=starts, at=starts[:-1], times=times))

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
    series, value, status = samples.series, samples.value, samples.status
    is_nan = value != value
    changed = value[1:] != value[:-1]
    changed &= ~(is_nan[1:] & is_nan[:-1])
    changed |= status[1:] != status[:-1]
    begins = series[1:] != series[:-1]
    kept = np.ones(len(value), bool)
    kept[1:] = changed | begins
    kept[:-1] |= begins
    kept[-1:] = True
    return samples[np.flatnonzero(kept)]

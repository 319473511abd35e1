"""Samples as the rows a page draws: thinned to what a screen can show, packed into one array.

A row is four float64: number of the series on this page, time (ms since 1970 UTC), value (NaN: no number), status.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..columns import Samples
from ..live import Entry
from ..sinks.live import last_rows
from .layout import Series

BUCKET = 250_000  # µs; a curve of two minutes has some 480 pixels, so that this is one pixel


@lru_cache(maxsize=512)
def on_screen(entry: Entry) -> Samples:
    """The samples of an entry that a chart needs, worked out once for all pages that show it."""
    return thin_for_screen(entry.parsed.samples)


def thin_for_screen(samples: Samples) -> Samples:
    """Per series and quarter of a second the first, the last, the least and the greatest; sorted by series and time."""
    if not len(samples):
        return samples
    order = np.lexsort((samples.ts, samples.series))
    table = samples[order]
    bucket = table.ts // BUCKET
    new = np.ones(len(table), bool)
    new[1:] = (table.series[1:] != table.series[:-1]) | (bucket[1:] != bucket[:-1])
    group = np.cumsum(new) - 1
    by_value = np.lexsort((table.value, group))  # NaN comes last: a bucket with one keeps it as its "greatest"
    first = np.flatnonzero(new)
    last = np.append(first[1:], len(table)) - 1
    return table[np.unique(np.concatenate([first, last, by_value[first], by_value[last]]))]


def pack(samples: Samples, numbers: Mapping[Series, int], drawn: Collection[Series]) -> NDArray[np.float64]:
    """(n, 4) rows: all of the series that are drawn on a chart, of the others the newest. A series without a number on
    the page is left out."""
    if not len(samples):
        return np.empty((0, 4))
    keys = list(zip(samples.signals, samples.sources, strict=True))
    number = np.array([numbers.get(key, -1) for key in keys], np.int32)
    keep = np.array([key in drawn for key in keys], bool)[samples.series]
    keep[last_rows(samples)] = True
    chosen = samples[keep & (number[samples.series] >= 0)]
    return np.column_stack([number[chosen.series], chosen.ts / 1000, chosen.value, chosen.status]).astype(np.float64)


def break_rows(numbers: Collection[int], ts: int) -> NDArray[np.float64]:
    """(k, 4) rows without a value just after ``ts`` (microseconds): no line is drawn across a silence."""
    rows = np.full((len(numbers), 4), np.nan)
    rows[:, 0], rows[:, 1], rows[:, 3] = list(numbers), ts / 1000 + 0.001, BREAK
    return rows


BREAK = 255.0  # in place of a status: this row is no reading

"""Thinning against a slow reading of its definition."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from duco_workbench.columns import Samples
from duco_workbench.parsing import thin

NAN = float("nan")


def samples(rows: list[tuple[int, float, int]]) -> Samples:
    rows = sorted(rows, key=lambda row: row[0])
    names = tuple("abc")
    return Samples(
        names,
        names,
        names,
        np.array([r[0] for r in rows], np.int32),
        np.arange(len(rows), dtype=np.int64),
        np.array([r[1] for r in rows], np.float64),
        np.array([r[2] for r in rows], np.uint8),
    )


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.sampled_from([0.0, 1.0, NAN]), st.sampled_from([0, 0, 1])), max_size=40)
)
def test_first_last_and_changes_of_value_or_status(rows: list[tuple[int, float, int]]) -> None:
    full = samples(rows)
    wanted = []
    for k in range(3):
        of_series = np.flatnonzero(full.series == k).tolist()
        for at, i in enumerate(of_series):
            before = of_series[at - 1] if at else None
            is_edge = before is None or i == of_series[-1]
            if is_edge or repr((full.value[i], full.status[i])) != repr((full.value[before], full.status[before])):
                wanted.append(i)
    kept = thin(full)
    assert kept.ts.tolist() == wanted  # ts is the row number here
    assert kept.signals == full.signals
    assert thin(kept).ts.tolist() == kept.ts.tolist()


def test_nothing() -> None:
    assert len(thin(Samples.empty())) == 0

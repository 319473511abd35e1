from __future__ import annotations

import numpy as np

from duco_workbench.columns import Samples
from duco_workbench.screens.rows import BREAK, break_rows, pack, thin_for_screen


def samples(values: list[float], step: int = 10_000, status: list[int] | None = None) -> Samples:
    """Two series with the same values, ``step`` microseconds apart, the second's rows before the first's."""
    n = len(values)
    ts = np.arange(n, dtype=np.int64) * step
    codes = np.repeat(np.array([1, 0], np.int32), n)
    states = np.tile(np.array(status or [0] * n, np.uint8), 2)
    return Samples(
        ("A.x", "A.y"), ("can0", "can0"), ("", ""), codes, np.tile(ts, 2), np.tile(np.array(values, float), 2), states
    )


def test_a_quarter_second_keeps_first_last_least_and_greatest() -> None:
    values = [5.0, 1.0, 3.0, 9.0, 2.0, 4.0]
    thinned = thin_for_screen(samples(values))
    assert thinned.series.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert thinned.value.tolist() == [5.0, 1.0, 9.0, 4.0] * 2
    assert thinned.ts.tolist() == [0, 10_000, 30_000, 50_000] * 2


def test_slow_series_and_gaps_stay_whole() -> None:
    slow = samples([1.0, 2.0, 3.0], step=250_000)
    assert len(thin_for_screen(slow)) == 6
    broken = thin_for_screen(samples([1.0, 2.0, float("nan"), 3.0, 2.0], status=[0, 0, 1, 0, 0]))
    assert np.isnan(broken.value).sum() == 2
    assert len(thin_for_screen(Samples.empty())) == 0


def test_drawn_series_are_packed_whole_the_others_with_their_newest_value() -> None:
    rows = pack(samples([1.0, 2.0, 3.0]), {("A.x", "can0"): 7, ("A.y", "can0"): 8}, {("A.x", "can0")})
    assert rows[rows[:, 0] == 7].tolist() == [[7, 0, 1, 0], [7, 10, 2, 0], [7, 20, 3, 0]]
    assert rows[rows[:, 0] == 8].tolist() == [[8, 20, 3, 0]]
    assert pack(samples([1.0]), {}, set()).shape == (0, 4)


def test_a_break_is_no_reading() -> None:
    [row] = break_rows([4], 2_000_000).tolist()
    assert row[:2] == [4, 2000.001]
    assert np.isnan(row[2])
    assert row[3] == BREAK

"""Samples: rows of series, put together, picked, and as Arrow."""

from __future__ import annotations

import numpy as np
import pytest

from duco_workbench import parsing
from duco_workbench.columns import Samples
from duco_workbench.model import EXTENDED, FrameBatch
from duco_workbench.parsing import load_text

DBC = """
VERSION ""
BU_:
BO_ 2147483649 M: 8 X
 SG_ A : 0|8@1+ (1,0) [0|0] "km/h" X
 SG_ Wide : 0|64@1+ (1,0) [0|0] "" X
BO_ 2147483650 N: 8 X
 SG_ B : 8|8@1+ (1,0) [0|0] "m" X
"""


def decoded(machines: tuple[str, ...] = ("a", "b")) -> Samples:
    """Machine by machine M, N, M, N …, one frame a microsecond, its number in the first two bytes."""
    n = 12
    data = np.zeros((n, 8), np.uint8)
    data[:, 0] = data[:, 1] = np.arange(n)
    data[:, 7] = 255  # of Wide: not exact as float64
    ids = np.array([EXTENDED | 1, EXTENDED | 2], np.uint32)[np.arange(n) // 2 % 2]
    zeros = np.zeros(n, np.uint8)
    machine = np.arange(n, dtype=np.uint16) % 2 if machines else None
    frames = FrameBatch(np.arange(n), ids, zeros + 8, zeros, data, zeros, ("can0",), machine, machines)
    return parsing.Decoder(load_text(DBC)).decode(frames)


def rows(samples: Samples) -> list[tuple[object, ...]]:
    machines = samples.machines or ("",) * len(samples.signals)
    wide = samples.value if samples.integers is None else samples.integers.view(np.uint64)
    columns = (samples.series, samples.ts, samples.value, samples.status, wide)
    return sorted(
        (samples.signals[s], samples.sources[s], machines[s], ts, value, status, exact)
        for s, ts, value, status, exact in zip(*(c.tolist() for c in columns), strict=True)
    )


def test_machines_stay_apart_when_parts_are_put_together() -> None:
    samples = decoded()
    both = Samples.concat([samples, decoded(("b", "c"))])
    assert len(both.signals) == 3 * 3
    assert set(both.machines) == {"a", "b", "c"}
    assert rows(both) == sorted(rows(samples) + rows(decoded(("b", "c"))))
    assert Samples.concat([decoded(()), decoded(())]).machines == ()


@pytest.mark.parametrize("machines", [(), ("a", "b")])
def test_arrow_and_back(machines: tuple[str, ...]) -> None:
    samples = decoded(machines)
    table = samples.to_arrow()
    back = Samples.from_arrow(table)
    assert [row[:6] for row in rows(back)] == [row[:6] for row in rows(samples)]
    assert ("machine" in table.schema.names) == bool(machines)
    table.validate(full=True)


@pytest.mark.parametrize("is_sorted", [True, False], ids=["runs", "rows"])
def test_some_series(is_sorted: bool) -> None:
    samples = decoded()
    given = samples if is_sorted else samples[:]  # what is picked by rows has no runs
    wanted = np.array([name != "M.A" for name in samples.signals])
    picked = given.only(wanted)
    assert set(picked.signals) == {"M.Wide", "N.B"}
    assert rows(picked) == [row for row in rows(samples) if row[0] != "M.A"]
    assert picked.machines == tuple(m for m, w in zip(samples.machines, wanted, strict=True) if w)
    assert len(given.only(np.zeros(len(samples.signals), bool))) == 0


def test_runs_of_samples_without_them() -> None:
    samples = decoded()
    runs, computed = samples.runs, samples[:].runs
    assert runs.starts.tolist() == computed.starts.tolist()
    assert runs.ts().tolist() == computed.ts().tolist() == samples.ts.tolist()


def test_parts_of_one_batch_put_beside_each_other_share_its_times() -> None:
    samples, other = decoded(), decoded(("c", "d"))
    parts = [part for batch in (samples, other) for part in batch.by_machine().values()]
    both = Samples.beside(parts)
    assert len(both.runs.times) == len(samples.runs.times) + len(other.runs.times)
    wanted = Samples.concat(parts)
    assert rows(both) == rows(wanted)
    assert [row[:2] for row in rows(both)] == [row[:2] for row in sorted(rows(samples) + rows(other))]

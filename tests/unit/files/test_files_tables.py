"""Samples become tables without losing a row, a unit or what a reading is worth."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from log_kit import POWERTRAIN, simulated

from duco_workbench import parsing
from duco_workbench.columns import Samples
from duco_workbench.files import wide
from duco_workbench.files.long import FEWEST_ROWS, SCHEMA, Rows, table
from duco_workbench.files.selection import Selection
from duco_workbench.files.wide import Columns, Key
from duco_workbench.model import STATUS_NAMES


@pytest.fixture(scope="module")
def samples() -> Samples:
    return parsing.Decoder(parsing.load(POWERTRAIN)).decode(simulated(20))


def test_the_long_table_has_every_row(samples: Samples) -> None:
    long = table(samples)
    assert long.schema == SCHEMA
    long.validate(full=True)
    rows = long.to_pandas()
    assert rows.ts.astype("int64").tolist() == samples.ts.tolist()
    for column, names in (("signal", samples.signals), ("source", samples.sources), ("unit", samples.units)):
        assert rows[column].astype(str).tolist() == [names[i] for i in samples.series.tolist()]
    assert rows.status.astype(str).tolist() == [STATUS_NAMES[i] for i in samples.status.tolist()]
    np.testing.assert_array_equal(rows.value.to_numpy(), samples.value)
    assert long["value"].null_count == int(np.isnan(samples.value).sum()) > 0


def test_small_batches_wait_for_each_other(samples: Samples) -> None:
    rows = Rows()
    parts: list[pa.Table] = []
    while len(parts) < 2:
        parts += rows.add(samples)
    parts += rows.rest()
    assert len(parts) == 2
    assert all(len(part) >= FEWEST_ROWS for part in parts)
    assert list(rows.rest()) == []


def test_wide_tables_are_the_pivot_of_the_long_one(samples: Samples) -> None:
    columns = Columns([parsing.load(POWERTRAIN)], Selection([], []))
    tables = dict([*columns.add(samples), *columns.rest()])
    assert {key.message for key in tables} == {name.partition(".")[0] for name in samples.signals}
    eec1 = tables[Key("EEC1", "can0:00")]
    eec1.validate(full=True)
    expected = samples.wide("EEC1")
    rows = eec1.to_pandas().set_index("ts").drop(columns="source")
    for name in rows:
        if f"EEC1.{name}" in expected:
            np.testing.assert_array_equal(rows[name].to_numpy(), expected[f"EEC1.{name}"].to_numpy())
    assert (
        eec1.schema.field("EngSpeed").metadata[b"unit"].decode()
        == samples.units[samples.signals.index("EEC1.EngSpeed")]
    )


def test_wide_tables_go_out_when_they_are_large(samples: Samples, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wide, "MOST_BYTES", 1)
    columns = Columns([parsing.load(POWERTRAIN)], Selection([], []))
    assert len(list(columns.add(samples))) > 10
    assert list(columns.rest()) == []


def test_signals_that_a_frame_does_not_have_are_null() -> None:
    database = parsing.load_text(
        'VERSION ""\nBU_:\nBO_ 256 M: 8 X\n SG_ S M : 0|8@1+ (1,0) [0|0] "" X\n SG_ A m1 : 8|8@1+ (1,0) [0|0] "V" X\n'
        ' SG_ B m2 : 8|8@1+ (1,0) [0|0] "" X\n'
    )
    frames = simulated(1)[:3]
    frames.arbitration_id[:], frames.dlc[:], frames.channel[:] = 0x100, 8, 0
    frames.ts[:] = [10, 20, 30]
    frames.data[:, :2] = [[1, 7], [2, 8], [1, 9]]
    columns = Columns([database], Selection([], []))
    samples = parsing.Decoder(database).decode(frames)
    ((key, rows),) = [*columns.add(samples), *columns.rest()]
    assert key == Key("M", "can0")
    assert rows.drop_columns(["ts", "source"]).to_pydict() == {
        "S": [1, 2, 1],
        "A": [7, None, 9],
        "B": [None, 8, None],
    }

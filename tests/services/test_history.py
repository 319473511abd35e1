"""What a notebook asks of the store, against rows known one by one."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from records import T, record

from duco_workbench.columns import Event, Parsed, Samples, Text
from duco_workbench.errors import ConfigError, ServiceError
from duco_workbench.history import History
from duco_workbench.local.store.process import running
from duco_workbench.model import DeadLetter, Dtc
from duco_workbench.schema import migrate
from duco_workbench.sinks.clickhouse import DeadLetterTable, RawArchive, SampleTable, connect

S = 1_000_000
SPEED, RPM, ODD = "CCVS1.Speed", "EEC1.EngineSpeed", "EEC1.Odd_Name"


def message(seq: int, start: int, **changes: Any) -> Parsed:
    """Speed at 0 s and 2 s from two senders, rpm each second with one reading not available, each of 3 s."""
    samples = Samples(
        (SPEED, SPEED, RPM, ODD),
        ("can0:00", "can0:0b", "can0:00", "can0"),
        ("km/h", "km/h", "1/min", ""),
        np.array([0, 0, 1, 2, 2, 2, 3], np.int32),
        start + np.array([0, 2, 2, 0, 1, 2, 0], np.int64) * S,
        np.array([10.0, 12.0, 99.0, 800.0, np.nan, 5000.0, 1.0]),
        np.array([0, 0, 0, 0, 1, 3, 0], np.uint8),
    )
    origin = record(seq, ts=start, ts_enqueued=start, **changes)
    extra = {
        "texts": (Text(start, "VI.VIN", "can0:00", "WDB123"),),
        "dtcs": (Dtc(start, "can0:00", 110, 3, None, 0, "red"), Dtc(start, "can0:00", 190, 2, 4, 0)),
        "events": (Event(start, "key_on", "info", "{}"),),
    }
    return Parsed(origin, False, 1, samples, **extra)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    with running(tmp_path_factory.mktemp("store")) as store:
        migrate(connect(store.url))
        messages = [message(1, T), message(2, T + 60 * S), message(1, T, chassis_id="m2")]
        messages.append(message(1, T, chassis_id="other", tenant="stranger"))

        async def fill() -> None:
            await SampleTable(store.url).write(messages)
            await RawArchive(store.url).write([m.record for m in messages])
            late = record(3, b"\xff\xfe", ts=T + 10**15, ts_enqueued=T)
            await RawArchive(store.url).write([late])
            await DeadLetterTable(store.url).write([DeadLetter(late, "malformed_json", "no JSON")])

        asyncio.run(fill())
        found = History(store.url)
        yield found
        found.close()


def values(table: pa.Table) -> list[tuple[str, str, int, float]]:
    rows = table.to_pylist()
    ts = table["ts"].cast(pa.int64()).to_pylist()
    return [(r["signal"], r["source"], (t - T) // S, r["value"]) for r, t in zip(rows, ts, strict=True)]


def test_machines_of_the_tenant_and_their_times(history: History) -> None:
    rows = history.machines().to_arrow().to_pylist()
    assert [(r["chassis_id"], r["messages"]) for r in rows] == [("m1", 3), ("m2", 1)]
    first, last = (int(rows[0][k].timestamp() * S) for k in ("first", "last"))
    assert (first, last) == (T, T + 60 * S)  # not the one whose clock was 31 years off


def test_series(history: History) -> None:
    rows = history.series("m2").to_arrow().to_pylist()
    assert [(r["signal"], r["source"], r["count"]) for r in rows] == [
        (SPEED, "can0:00", 2),
        (SPEED, "can0:0b", 1),
        (RPM, "can0:00", 3),
        (ODD, "can0", 1),
    ]


def test_values_without_status_are_only_good_ones(history: History) -> None:
    found = values(history.samples("m1", RPM, T, T + 10 * S).to_arrow())
    assert found[0] == (RPM, "can0:00", 0, 800.0)
    assert np.isnan([value for *_, value in found[1:]]).all()  # not available; out of range
    assert len(found) == 3


def test_values_with_status_are_as_stored(history: History) -> None:
    table = history.samples("m1", [RPM], T, T + 10 * S, status=True).to_arrow()
    assert table["status"].to_pylist() == ["ok", "not_available", "out_of_range"]
    assert table["value"].to_pylist()[2] == 5000.0
    again = Samples.from_arrow(table)
    assert (again.signals, again.status.tolist()) == ((RPM,), [0, 1, 3])


@pytest.mark.parametrize(
    ("signals", "series"),
    [
        (None, 4),
        ("*", 4),
        ([], 0),
        (SPEED, 2),
        ([SPEED, RPM], 3),
        ("Speed", 2),
        ("EngineSpeed", 1),
        ("EEC1.*", 2),
        ("*Speed", 3),
        ("EEC1.Odd?Name", 1),
        ("EEC1.Odd_*", 1),
        ("EEC_.*", 0),
        ("*.*' OR 1=1 --", 0),
        (f"{SPEED}@can0:0b", 1),
        ("*@can0", 1),
        ([f"{SPEED}@can0:00", "*@can0:0?"], 3),
    ],
)
def test_field_lists(history: History, signals: Any, series: int) -> None:
    table = history.samples("m2", signals).to_arrow()
    assert len({(s, c) for s, c, *_ in values(table)}) == series


@pytest.mark.parametrize(
    "start",
    [
        T + 60 * S,
        datetime.fromtimestamp(T // S, UTC) + timedelta(seconds=60),
        (datetime.fromtimestamp(T // S, UTC) + timedelta(seconds=60)).astimezone(timezone(timedelta(hours=5.5))),
        pd.Timestamp(T // S + 60, unit="s", tz="Europe/Berlin"),
        (datetime.fromtimestamp(T // S, UTC) + timedelta(seconds=60)).isoformat(),
    ],
)
def test_a_range_holds_its_start_and_not_its_end(history: History, start: Any) -> None:
    assert [t for *_, t, _ in values(history.samples("m1", SPEED + "@can0:00", start).to_arrow())] == [60, 62]
    assert [t for *_, t, _ in values(history.samples("m1", SPEED + "@can0:00", end=start).to_arrow())] == [0, 2]


@pytest.mark.parametrize(
    "time", [datetime(2026, 1, 1), "2026-01-01", "2026-01-01T00:00:00", pd.Timestamp("2026-01-01")]
)
def test_times_without_a_zone_are_refused(history: History, time: Any) -> None:
    with pytest.raises(ConfigError, match=r"has no zone; add one, e\.g\. 2026-01-01T00:00:00\+00:00"):
        history.samples("m1", start=time)


@pytest.mark.parametrize("time", ["yesterday", 1.5, True])
def test_what_is_no_time_is_refused(history: History, time: Any) -> None:
    with pytest.raises(ConfigError, match="is no time"):
        history.samples("m1", start=time)


def test_wide_fills_forward_but_not_over_what_was_not_available(history: History) -> None:
    table = history.wide("m1", [SPEED, RPM], T + S, T + 10 * S).to_arrow()
    assert table.column_names == ["ts", f"{SPEED}@can0:00", f"{SPEED}@can0:0b", RPM]
    frame = table.to_pandas()
    assert ((frame["ts"].astype("int64") - T) // S).tolist() == [1, 2]
    assert frame[f"{SPEED}@can0:00"].tolist() == [10.0, 12.0]  # 10 from before the start
    assert frame[f"{SPEED}@can0:0b"].isna().tolist() == [True, False]
    assert frame[RPM].isna().all()


def test_wide_on_a_regular_grid(history: History) -> None:
    frame = history.wide("m1", [f"{SPEED}@can0:00"], T - S, T + 4 * S, every="500ms").to_pandas()
    assert frame[SPEED].fillna(-1).tolist() == [-1, -1, 10, 10, 10, 10, 12, 12, 12, 12]
    assert frame["ts"].diff().dropna().unique().tolist() == [pd.Timedelta("500ms")]
    assert len(history.wide("m1", RPM, T, T + 4 * S, every=timedelta(seconds=2))) == 2


def test_wide_of_nothing_and_of_too_much(history: History) -> None:
    empty = history.wide("m1", RPM, T + 10**13, T + 2 * 10**13)
    assert (len(empty), empty.columns) == (0, ["ts"])
    with pytest.raises(ConfigError, match="too many"):
        history.wide("m1", RPM, T, T + 10**15, every=1)
    with pytest.raises(ConfigError, match="no span of time"):
        history.wide("m1", RPM, every="soon")


def test_latest(history: History) -> None:
    rows = history.latest("m1", RPM).to_arrow().to_pylist()
    assert [(r["value"], r["status"]) for r in rows] == [(5000.0, "out_of_range")]
    assert int(rows[0]["ts"].timestamp() * S) == T + 62 * S


def test_raw_records_come_back_as_they_went_in(history: History) -> None:
    assert history.raw("m1", T, T + 61 * S) == [message(1, T).record, message(2, T + 60 * S).record]
    assert len(history.raw("m1")) == 3
    assert len(history.raw("m1", limit=1)) == 1


def test_codes_events_and_texts(history: History) -> None:
    codes = history.dtcs("m1", end=T + S).to_arrow().to_pylist()
    assert [(c["spn"], c["fmi"], c["oc"], c["lamps"]) for c in codes] == [(110, 3, None, "red"), (190, 2, 4, "")]
    assert history.events("m1").to_arrow()["name"].to_pylist() == ["key_on", "key_on"]
    assert history.texts("m1", end=T + S).to_arrow()["text"].to_pylist() == ["WDB123"]


def test_dead_letters_with_their_bytes(history: History) -> None:
    (letter,) = history.dead_letters().to_arrow().to_pylist()
    assert (letter["chassis_id"], letter["reason"], letter["body"]) == ("m1", "malformed_json", b"\xff\xfe")
    assert len(history.dead_letters("m2")) == 0


def test_sql_reads_with_parameters(history: History) -> None:
    rows = history.sql("SELECT count() AS n FROM samples WHERE signal = {s:String}", {"s": RPM}).to_arrow().to_pylist()
    assert rows == [{"n": 12}]


@pytest.mark.parametrize(
    "query",
    [
        "DROP TABLE events",
        "INSERT INTO events (tenant) VALUES ('x')",
        "SELECT * FROM file('/etc/passwd', 'LineAsString')",
    ],
)
def test_sql_cannot_write_nor_read_files(history: History, query: str) -> None:
    with pytest.raises(ConfigError, match=r"cannot answer this"):
        history.sql(query)
    assert len(history.events("m1")) == 2


def test_unknown_names_are_answered_with_known_ones(history: History) -> None:
    with pytest.raises(ConfigError, match=r"no machine 'm9'; it has m1, m2"):
        history.samples("m9")
    with pytest.raises(ConfigError, match=r"no signal 'EEC1.EngineSped'; near it: EEC1.EngineSpeed"):
        history.samples("m1", ["EEC1.EngineSped"])
    with pytest.raises(ConfigError, match="no machine 'other'"):
        history.raw("other")
    assert len(history.samples("m1", RPM, end=0)) == 0  # known, but nothing then


def test_a_screen_may_ask_for_what_was_never_stored(history: History) -> None:
    asked = ["EEC1.EngineSpeed", "EEC1.NeverSent"]
    assert len(history.samples("m1", asked, missing_ok=True)) == len(history.samples("m1", asked[:1])) > 0


def test_frames_of_both_kinds(history: History) -> None:
    rows = history.samples("m2")
    pandas, polars = rows.to_pandas(), rows.to_polars()
    assert str(pandas["ts"].dtype) == "datetime64[us, UTC]"
    assert polars.schema["ts"].time_zone == "UTC"  # type: ignore[attr-defined]
    assert pandas["value"].isna().sum() == 2
    assert len(pandas) == len(polars) == len(rows) == 7
    assert "7 rows" in rows._repr_html_()


def test_a_store_that_is_away(history: History) -> None:
    with pytest.raises(ServiceError, match="does not answer"):
        History("http://127.0.0.1:9/duco").machines()


def test_nothing_heavy_is_loaded_before_it_is_asked_for() -> None:
    code = "import sys, duco_workbench.history; print([m for m in ('pandas', 'polars', 'chdb') if m in sys.modules])"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )

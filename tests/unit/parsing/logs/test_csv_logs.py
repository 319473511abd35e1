"""Tables of frames: python-can's writer and reader as oracle, more columns, garbage and cuts."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duco_workbench.errors import ConfigError
from duco_workbench.model import ERROR, EXTENDED, REMOTE, Flag
from duco_workbench.parsing.logs import open_log, read_log

HEAD = "timestamp,arbitration_id,extended,remote,error,dlc,data\n"
GOOD = "1700000000.25,0x123,0,0,0,2,AQI=\n"


def table(folder: Path, text: str) -> Path:
    path = folder / "drive.csv"
    path.write_text(text)
    return path


@pytest.mark.parametrize("is_fd", [False, True])
def test_as_python_can_reads_what_it_writes(
    write: Any, busy: Any, read: Any, written: Any, frames: Any, by_python_can: Any, is_fd: bool
) -> None:
    """It writes neither bus nor direction, nor that a frame is CAN FD: a long one can be nothing else."""
    messages = busy(1, 2000, is_fd)
    path = write("a.csv", messages)
    batch, warnings = read(path, tz=None)
    found = frames(batch)
    bare = [(row[0], *row[2:4], row[4] & ~Flag.FD, row[5]) for row in found]
    assert bare == [(row[0], *row[2:]) for row in by_python_can(path)]
    assert [row[0] for row in found] == [row[0] for row in written(messages)]
    assert [bool(row[4] & Flag.FD) for row in found] == [row[3] > 8 for row in found]
    assert batch.channels == ("can0",)
    assert warnings == []


def test_more_columns_in_any_order(tmp_path: Path, frames: Any) -> None:
    text = (
        "channel,data_hex,timestamp,arbitration_id,extended,tx,fd,brs,esi,remote,error,dlc\n"
        "1,01 02 FF,1700000000.5,18FEF100,1,1,1,1,0,0,0,3\n"
        "0,0102ff,1700000001,0x7FF,0,0,0,0,0,0,0,3\r\n"
        "0,,1700000002,1,0,0,0,0,0,1,0,5\n"
        "7,,1700000003,0,1,0,0,0,0,0,1,0\n"
        f"7,{'ab' * 64},1700000004,1,0,0,1,0,1,0,0,64\n"
    )
    assert frames(read_log(table(tmp_path, text))) == [
        (1_700_000_000_500_000, "can1", 0x18FEF100 | EXTENDED, 3, Flag.TX | Flag.FD | Flag.BRS, b"\1\2\xff"),
        (1_700_000_001_000_000, "can0", 0x7FF, 3, 0, b"\1\2\xff"),
        (1_700_000_002_000_000, "can0", 1 | REMOTE, 5, Flag.REMOTE, b""),
        (1_700_000_003_000_000, "can7", ERROR, 0, Flag.ERROR, b""),
        (1_700_000_004_000_000, "can7", 1, 64, Flag.FD | Flag.ESI, b"\xab" * 64),
    ]


def test_three_columns_are_enough(tmp_path: Path, frames: Any) -> None:
    assert frames(read_log(table(tmp_path, "Timestamp, arbitration_id, data_hex\n1700000000.0,123,0102\n"))) == [
        (1_700_000_000_000_000, "can0", 0x123, 2, 0, b"\1\2")
    ]


@pytest.mark.parametrize(
    "head",
    [
        "time,id,data",
        "timestamp,arbitration_id",
        "timestamp,data",
        "timestamp,arbitration_id,data,speed",
        "timestamp,arbitration_id,data,data",
        "1700000000.25,0x123,0,0,0,2,AQI=",
    ],
)
def test_other_tables_are_refused_by_their_columns(tmp_path: Path, head: str) -> None:
    with pytest.raises(ConfigError, match=r"drive\.csv begins with .*names its columns there: timestamp, arbitrat"):
        open_log(table(tmp_path, head + "\n" + GOOD))


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("0.0", 0),
        ("1e-06", 1),
        ("1.25e-05", 12),
        ("2.5e-7", 0),
        ("9.99e-05", 100),
        ("1.5", 1_500_000),
        ("7", 7_000_000),
    ],
)
def test_small_times_as_python_writes_them(tmp_path: Path, text: str, micros: int) -> None:
    rows = "".join(f"{ts},0x123,0,0,0,0,\n" for ts in ("0.0", text))
    stamps = read_log(table(tmp_path, HEAD + rows), start=0).ts.tolist()
    assert stamps == [0, micros]


GARBAGE = [
    "hello",
    "1700000000.25",
    "1700000000.25,0x123,0,0,0,2",
    "1700000000.25,0x123,0,0,0,2,AQI=,9",
    "-1.5,0x123,0,0,0,2,AQI=",
    "nan,0x123,0,0,0,2,AQI=",
    "1700000000.25,0xzz,0,0,0,2,AQI=",
    "1700000000.25,0x3FFFFFFF,1,0,0,2,AQI=",
    "1700000000.25,0x123,2,0,0,2,AQI=",
    "1700000000.25,0x123,,0,0,2,AQI=",
    "1700000000.25,0x123,0,0,0,3,AQI=",
    "1700000000.25,0x123,0,0,0,2,AQ",
    "1700000000.25,0x123,0,0,0,2,AQ!=",
    "1700000000.25,0x123,0,0,0,99,AQI=",
    "1700000000.25,0x123,0,0,0,64," + base64.b64encode(bytes(65)).decode(),
    "\x00" * 200,
]


@pytest.mark.parametrize("line", GARBAGE)
def test_garbage_between_lines_is_skipped_counted_and_leaves_no_trace(
    tmp_path: Path, read: Any, frames: Any, line: str
) -> None:
    batch, warnings = read(table(tmp_path, HEAD + GOOD + line + "\n" + GOOD + "\n" + line + "\n" + GOOD))
    assert [row[5] for row in frames(batch)] == [b"\1\2"] * 3
    assert warnings == ["drive.csv: 2 lines are no CSV rows, the first is line 3: skipped"]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(10**15, 4 * 10**15), st.binary(max_size=64)), min_size=1, max_size=20))
def test_any_row_comes_back(tmp_path_factory: Any, rows: list[tuple[int, bytes]]) -> None:
    lines = [f"{ts / 1e6!r},0x1,0,0,0,{len(data)},{base64.b64encode(data).decode()}\n" for ts, data in rows]
    batch = read_log(table(tmp_path_factory.mktemp("logs"), HEAD + "".join(lines)))
    assert batch.ts.tolist() == [ts for ts, _ in rows]
    assert [data[:n].tobytes() for data, n in zip(batch.data, batch.dlc, strict=True)] == [data for _, data in rows]


def test_cut_anywhere(write: Any, busy: Any, gives_a_beginning: Any) -> None:
    path = write("a.csv", busy(2, 12, is_fd=True))
    content = path.read_bytes()
    gives_a_beginning(path, content, content.index(b"\n", len(HEAD)) + 1)


@pytest.mark.parametrize("seed", range(40))
def test_overwritten_anywhere(write: Any, busy: Any, survives: Any, seed: int) -> None:
    path = write("a.csv", busy(3, 200, is_fd=True))
    survives(path, path.read_bytes(), seed, 1 + seed)


def test_a_cut_zip(write: Any, busy: Any, gives_a_cut_zips_beginning: Any) -> None:
    gives_a_cut_zips_beginning(write("a.csv", busy(4, 3000)), 1000, 2000)

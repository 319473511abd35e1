"""Vector .asc: python-can's writer and reader as oracle, the forms it does not write, garbage and cuts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duco_workbench.errors import ConfigError
from duco_workbench.model import ERROR, EXTENDED, REMOTE, Flag
from duco_workbench.parsing.logs import open_log

START = 1_719_822_600_125_000  # of HEAD, in UTC
HEAD = "date Mon Jul 1 08:30:00.125 am 2024\nbase hex  timestamps absolute\ninternal events logged\n// version 9.0.0\n"
TAIL = "End TriggerBlock\n"


def asc(folder: Path, body: str, head: str = HEAD) -> Path:
    path = folder / "drive.asc"
    path.write_text(head + body + TAIL)
    return path


@pytest.fixture
def _utc_machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """python-can writes the date in the machine's zone."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("_utc_machine")
@pytest.mark.parametrize("is_fd", [False, True])
def test_as_python_can_reads_what_it_writes(
    write: Any, busy: Any, read: Any, written: Any, frames: Any, by_python_can: Any, is_fd: bool
) -> None:
    messages = busy(1, 2000, is_fd)
    path = write("a.asc", messages)
    batch, warnings = read(path)
    found = frames(batch)
    assert warnings == []
    assert found == by_python_can(path, written(messages)[0][0])
    as_written = written(messages)
    assert [row[0] for row in found] == [row[0] for row in as_written]
    data = [k for k, row in enumerate(as_written) if not row[4] & Flag.ERROR]
    assert [found[k] for k in data] == [as_written[k] for k in data]


@pytest.mark.parametrize(
    ("line", "identifier", "flags", "dlc", "data"),
    [
        ("1  123             Rx   d 3 01 02 03", 0x123, 0, 3, b"\1\2\3"),
        ("1  123             Tx   d 0", 0x123, Flag.TX, 0, b""),
        ("1  18FEF100x       rx   D 2 A b", 0x18FEF100 | EXTENDED, 0, 2, b"\x0a\x0b"),
        ("1  123  Rx d f 01 02 03 04 05 06 07 08  Length = 1", 0x123, 0, 8, bytes(range(1, 9))),
        ("1  123  Rx r", 0x123 | REMOTE, Flag.REMOTE, 0, b""),
        ("1  123x Tx r 8 Length = 0", 0x123 | EXTENDED | REMOTE, Flag.REMOTE | Flag.TX, 8, b""),
        ("1  123  Rx r Length = 0", 0x123 | REMOTE, Flag.REMOTE, 0, b""),
        ("1  ErrorFrame  ECC: 10100010", ERROR, Flag.ERROR, 0, b""),
        ("CANFD   1 Rx ErrorFrame Not Acknowledge error", ERROR, Flag.ERROR | Flag.FD, 0, b""),
        ("CANFD   1 Rx 123 1 1 2 2 0A 0B 0 0 7000 0", 0x123, Flag.FD | Flag.BRS | Flag.ESI, 2, b"\x0a\x0b"),
        ("CANFD   1 Tx 123x Name_2 0 0 2 2 0A 0B 0 0 1000 0", 0x123 | EXTENDED, Flag.FD | Flag.TX, 2, b"\x0a\x0b"),
        ("CANFD   1 Rx 123 0 0 f 64 " + "AB " * 64 + "0 0 1000 0", 0x123, Flag.FD, 64, b"\xab" * 64),
        ("CANFD   1 Rx 123 0 0 0 0 0 0 1000 0", 0x123, Flag.FD, 0, b""),  # no data is not remote
        ("CANFD   1 Rx 123 0 0 2 2 0A 0B", 0x123, Flag.FD, 2, b"\x0a\x0b"),  # flags not given
        ("CANFD   1 Rx 123 0 0 2 2 0A 0B 102203 84 303040 2000", 0x123, Flag.FD, 2, b"\x0a\x0b"),
        ("CANFD   1 Rx 123 0 0 2 2 0A 0B 102203 84 300040 2000", 0x123, 0, 2, b"\x0a\x0b"),  # a classic frame
        ("CANFD   3 Tx 50005x 0 1 5 0 140000 73 200050 7a60", 0x50005 | EXTENDED | REMOTE, 40, 5, b""),
    ],
)
def test_forms_of_a_frame(
    tmp_path: Path, read: Any, frames: Any, line: str, identifier: int, flags: int, dlc: int, data: bytes
) -> None:
    batch, warnings = read(asc(tmp_path, f"   1.500001 {line}\n"))
    bus = "can2" if "  3 " in line else "can0"
    assert frames(batch) == [(START + 1_500_001, bus, identifier, dlc, flags, data)]
    assert warnings == []


def test_base_dec(tmp_path: Path, read: Any, frames: Any) -> None:
    body = (
        "   0.1 1  291             Rx   d 3 1 16 255\n"
        "   0.2 2  419361024x      Tx   r 8\n"
        "   0.3 CANFD   1 Rx 291 1 0 9 12 1 2 3 4 5 6 7 8 9 10 11 255 0 0 3000\n"
    )
    batch, warnings = read(asc(tmp_path, body, HEAD.replace("hex", "dec")))
    assert [row[1:] for row in frames(batch)] == [
        ("can0", 0x123, 3, 0, b"\x01\x10\xff"),
        ("can1", 419361024 | EXTENDED | REMOTE, 8, Flag.REMOTE | Flag.TX, b""),
        ("can0", 0x123, 12, Flag.FD | Flag.BRS, bytes([*range(1, 12), 255])),
    ]
    assert warnings == []


def test_other_events_are_no_garbage(tmp_path: Path, read: Any) -> None:
    """Also a request to transmit is no frame; the frame that follows it is."""
    body = (
        "// comment\nPrevious log file: a.asc\nBegin Triggerblock Mon Jul 1 08:30:00.125 am 2024\n"
        "   0.000000 Start of measurement\n"
        "   0.000001 1  Statistic: D 0 R 0 XD 2 XR 0 E 0 O 0 B 0.0%\n"
        "   0.000001 CAN 1 Status:chip status error active\n"
        "   0.000001 1  OverloadFrame\n"
        "   0.000002 1  J1939TP FEE3p 6 0 0 - Rx d 23 A0 0F A6\n"
        "   0.000002 1  123  TxRq d 1 01\n   0.000002 CANFD 1 TxRq 123 1 0 1 1 01\n"
        "   0.000003 SV: 3 0 1 ::Env = 4\n   0.000003 log trigger event\n"
        "\r\n\n   0.000004 1  123  Tx   d 1 01\r\n"
    )
    batch, warnings = read(asc(tmp_path, body))
    assert (batch.ts - START).tolist() == [4]
    assert warnings == []


GARBAGE = [
    "hello",
    "- 1.0 1 123 Rx d 1 01",
    "   1,5 1 123 Rx d 1 01",
    "   1.0x 1 123 Rx d 1 01",
    "   123456789012.0 1 123 Rx d 1 01",
    "   1.0 1  123 d 1 01",
    "   1.0 1  Engine Rx d 1 01",
    "   1.0 1  3FFFFFFFx Rx d 1 01",
    "   1.0 1  123 Rx q 1 01",
    "   1.0 1  123 Rx d",
    "   1.0 1  123 Rx d 99 01",
    "   1.0 CANFD",
    "   1.0 CANFD 1 Rx 123 1 0 9",
    "   1.0 CANFD 1 Rx 123 1 0 f 65 " + "00 " * 65,
    "   1.0 CANFD 1 Rx 123 Name 7 0 1 1 00",
    "   1.0 CANFD 999 Rx 123 1 0 1 1 00",
    "\x00" * 200,
]


@pytest.mark.parametrize("line", GARBAGE)
def test_garbage_between_lines_is_skipped_counted_and_leaves_no_trace(
    tmp_path: Path, read: Any, frames: Any, line: str
) -> None:
    good = "   0.1 1  123  Rx d 2 01 02\n"
    batch, warnings = read(asc(tmp_path, good + line + "\n" + good + line + "\n" + good))
    assert [row[5] for row in frames(batch)] == [b"\1\2"] * 3
    assert warnings == ["drive.asc: 2 lines are no .asc lines, the first is line 6: skipped"]


@pytest.mark.parametrize("data", ["d 3 01 02", "d 3 01 zz 03", "d 1 0102", "d 1 1FF", "d 2 01 x2"])
def test_a_line_whose_data_cannot_be_read_is_skipped_and_counted(
    tmp_path: Path, read: Any, frames: Any, data: str
) -> None:
    good = "   0.1 1  123  Rx d 2 01 02\n"
    batch, warnings = read(asc(tmp_path, good + f"   0.2 1  123 Rx {data}\n" + "   0.3 1  123  Rx d 0\n"))
    assert [row[5] for row in frames(batch)] == [b"\1\2", b""]
    assert not batch.data[1].any()
    assert warnings == ["drive.asc: 1 line is no .asc line, the first is line 6: skipped"]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 10**13), min_size=1, max_size=20))
def test_any_microsecond_comes_back(tmp_path_factory: Any, stamps: list[int]) -> None:
    body = "".join(f" {ts // 10**6}.{ts % 10**6:06} 1  123  Rx d 0\n" for ts in stamps)
    with open_log(asc(tmp_path_factory.mktemp("logs"), body), tz="UTC") as log:
        assert (next(log).ts - START).tolist() == stamps


@pytest.mark.parametrize("is_fd", [False, True])
def test_cut_anywhere(write: Any, busy: Any, gives_a_beginning: Any, is_fd: bool) -> None:
    path = write("a.asc", busy(2, 10, is_fd))
    content = path.read_bytes()
    first = content.index(b"Rx")
    gives_a_beginning(path, content, content.index(b"\n", first) + 1)


@pytest.mark.parametrize("seed", range(40))
def test_overwritten_anywhere(write: Any, busy: Any, survives: Any, seed: int) -> None:
    path = write("a.asc", busy(3, 200, is_fd=True))
    survives(path, path.read_bytes(), seed, 1 + seed)


def test_a_cut_zip(write: Any, busy: Any, gives_a_cut_zips_beginning: Any) -> None:
    gives_a_cut_zips_beginning(write("a.asc", busy(4, 3000)), 1000, 2000)


def test_the_zone_that_placed_it_is_recorded(tmp_path: Path) -> None:
    path = asc(tmp_path, "   0.1 1  123  Rx d 0\n")
    with open_log(path, tz="Europe/Berlin") as log:
        assert log.zone == "Europe/Berlin"
    with open_log(path, start=0) as log:
        assert log.zone is None
    with pytest.raises(ConfigError, match="local times only"):
        open_log(path)


def test_a_mark_before_the_first_line_is_no_part_of_it(tmp_path: Path, read: Any) -> None:
    path = asc(tmp_path, "   0.1 1  123  Rx d 0\n", head="\ufeff" + HEAD)
    batch, warnings = read(path)
    assert (batch.ts.tolist(), warnings) == ([START + 100_000], [])

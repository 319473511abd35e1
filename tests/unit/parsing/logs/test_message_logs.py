"""Formats beside candump and MF4: what its writers wrote comes back, at times that no machine's zone decides."""

from __future__ import annotations

import gzip
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import can
import numpy as np
import pytest

from duco_workbench.errors import ConfigError
from duco_workbench.model import ERROR, EXTENDED, REMOTE, Flag, FrameBatch
from duco_workbench.parsing.logs import messages, open_log, read_log, rows

SUMMER, WINTER = "2024-07-01", "2024-01-15"


@pytest.fixture(params=["Asia/Tokyo", "America/New_York", "UTC"])
def machine_zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


def micros(text: str) -> int:
    moment = datetime.fromisoformat(text)
    assert moment.tzinfo
    return round(moment.timestamp() * 1_000_000)


def test_asc(machine_zone: str, write: Any, written: Any, frames: Any, classic: Any, special: Any, fd: Any) -> None:
    """python-can writes the date in the machine's zone: told that zone, we read the very times back."""
    everything = [*classic[:4], *special, *fd, classic[4]]
    assert frames(read_log(write("a.asc", everything), tz=machine_zone)) == written(everything)


def test_blf(machine_zone: str, write: Any, written: Any, frames: Any, classic: Any, special: Any, fd: Any) -> None:
    everything = [*classic[:4], *special, *fd, classic[4]]
    with open_log(write("a.blf", everything)) as log:
        (batch,) = log
    assert frames(batch) == written(everything)
    (warning,) = log.warnings
    assert warning.startswith("a.blf: its start (2023-11-14 22:13:20) names no time zone and is taken for UTC")
    two_hours = 7_200_000_000
    as_local = read_log(write("b.blf", classic), tz="Africa/Maputo")
    assert frames(as_local) == written(classic, -two_hours)


def test_trc(machine_zone: str, write: Any, written: Any, frames: Any, classic: Any) -> None:
    """python-can writes UTC; bus numbers begin at 1, as in PCAN-View."""
    expected = [(ts, f"can{int(bus[3:]) + 1}", *rest) for ts, bus, *rest in written(classic)]
    assert frames(read_log(write("a.trc", classic), tz="UTC")) == expected
    shifted = read_log(tmp := write("b.trc", classic), tz="Asia/Kolkata")
    assert shifted.ts.tolist() == [row[0] - 5 * 3_600_000_000 - 1_800_000_000 for row in expected], tmp


@pytest.mark.parametrize("name", ["a.csv", "a.db"])
def test_csv_and_sqlite(write: Any, written: Any, frames: Any, classic: Any, special: Any, name: str) -> None:
    """They hold neither bus nor direction."""
    expected = [
        (ts, "can0", identifier, dlc, flags & ~Flag.TX, data)
        for ts, _, identifier, dlc, flags, data in written([*classic, *special])
    ]
    assert frames(read_log(write(name, [*classic, *special]))) == expected


@pytest.mark.parametrize("name", ["a.asc", "a.blf", "a.trc", "a.csv", "a.db"])
def test_zipped(tmp_path: Path, write: Any, frames: Any, classic: Any, name: str) -> None:
    plain = write(name, classic)
    zipped = tmp_path / f"z.{name}.gz"
    zipped.write_bytes(gzip.compress(plain.read_bytes()))
    with open_log(zipped, tz="UTC") as log:
        assert frames(next(log)) == frames(read_log(plain, tz="UTC"))
        list(log)
        assert log.progress() == 1.0


@pytest.mark.parametrize("name", ["a.asc", "a.trc"])
def test_local_times_need_a_zone(write: Any, classic: Any, name: str) -> None:
    path = write(name, classic)
    with pytest.raises(ConfigError, match=r"local times only.*--tz"):
        open_log(path)
    assert read_log(path, start=5_000_000).ts.tolist()[:3] == [5_000_000, 5_000_001, 6_000_007]


def asc(folder: Path, text: str) -> Path:
    path = folder / "drive.asc"
    path.write_text(text, encoding="cp1252")
    return path


CANOE = """\
date Mon Jul 1 08:30:00.125 am 2024
base hex  timestamps absolute
internal events logged
// version 9.0.0
Begin Triggerblock Mon Jul 1 08:30:00.125 am 2024
   0.000000 Start of measurement
   0.015991 CAN 1 Status:chip status error passive - TxErr: 132 RxErr: 0
   0.015992 1  18EBFF00x       Rx   d 8 01 A0 0F A6 60 3B D1 40  Length = 273910 BitCount = 141 ID = 418119424x
   0.020000 2  7FF             Tx   d 3 01 02 03
   0.030000 1  J1939TP FEE3p 6 0 0 - Rx d 23 A0 0F A6
   1.000000 1  ErrorFrame
   2.500000 1  123             Rx   r 4
   3.000001 CANFD   1 Rx     18FEF200x      1 0 9 12 01 02 03 04 05 06 07 08 09 0a 0b 0c    0    0     3000 0 0 0 0 0
End TriggerBlock
"""


def test_a_canoe_log(tmp_path: Path, machine_zone: str, frames: Any) -> None:
    start = micros(f"{SUMMER}T08:30:00.125+02:00")
    path = asc(tmp_path, CANOE)
    assert frames(read_log(path, tz="Europe/Berlin")) == [
        (start + 15_992, "can0", 0x18EBFF00 | EXTENDED, 8, 0, bytes.fromhex("01A00FA6603BD140")),
        (start + 20_000, "can1", 0x7FF, 3, Flag.TX, b"\1\2\3"),
        (start + 1_000_000, "can0", ERROR, 0, Flag.ERROR, b""),
        (start + 2_500_000, "can0", 0x123 | REMOTE, 4, Flag.REMOTE, b""),
        (start + 3_000_001, "can0", 0x18FEF200 | EXTENDED, 12, Flag.FD | Flag.BRS, bytes(range(1, 13))),
    ]


@pytest.mark.parametrize(
    ("date", "expected"),
    [
        ("Mon Jan 15 08:30:00 am 2024", f"{WINTER}T08:30:00+01:00"),
        ("Mon Jan 15 12:30:00.5 pm 2024", f"{WINTER}T12:30:00.005+01:00"),
        ("Mon Jan 15 12:30:00.500 am 2024", f"{WINTER}T00:30:00.500+01:00"),
        ("Mon Jan 15 23:30:00.123456 2024", f"{WINTER}T23:30:00.123456+01:00"),
        ("Fre Mär 15 23:30:00.123 2024", "2024-03-15T23:30:00.123+01:00"),
        ("Don Okt 17 23:30:00.123 2024", "2024-10-17T23:30:00.123+02:00"),
    ],
)
def test_dates_of_asc_headers(tmp_path: Path, date: str, expected: str) -> None:
    path = asc(tmp_path, CANOE.replace("Mon Jul 1 08:30:00.125 am 2024", date))
    assert read_log(path, tz="Europe/Berlin").ts[0] == micros(expected) + 15_992


def test_each_trigger_block_has_its_own_start(tmp_path: Path) -> None:
    second = CANOE[CANOE.index("Begin") :].replace("08:30:00.125 am", "09:30:00.125 am")
    stamps = read_log(asc(tmp_path, CANOE + second), tz="UTC").ts
    assert (stamps[5:] - stamps[:5]).tolist() == [3_600_000_000] * 5


def test_a_frame_right_behind_a_short_header_is_not_swallowed(tmp_path: Path) -> None:
    text = "date Mon Jul 1 08:30:00.125 am 2024\nbase hex timestamps absolute\n   1.5 1 123 Rx d 1 FF\n"
    assert read_log(asc(tmp_path, text), tz="UTC").ts.tolist() == [micros(f"{SUMMER}T08:30:01.625+00:00")]


def test_asc_timestamps_from_line_to_line(tmp_path: Path) -> None:
    """What python-can does not know: each time counts from the event before, be it a frame or not."""
    relative, latest = [], 0.0
    for line in CANOE.replace("timestamps absolute", "timestamps relative").splitlines():
        if match := re.match(r" +(\d+\.\d{6})", line):
            line = line.replace(match[1], f"{float(match[1]) - latest:.6f}", 1)
            latest = float(match[1])
        relative.append(line)
    absolute = read_log(asc(tmp_path, CANOE), tz="UTC")
    (tmp_path / "twice").mkdir()
    second = "\n".join(relative[4:]).replace("08:30:00.125 am", "08:31:00.125 am")
    path = asc(tmp_path / "twice", "\n".join(relative) + "\n" + second + "\n")
    assert read_log(path, tz="UTC").ts.tolist() == [
        *absolute.ts.tolist(),
        *(absolute.ts + 60_000_000).tolist(),
    ]


def test_asc_without_a_date_needs_a_start(tmp_path: Path) -> None:
    path = asc(tmp_path, "base hex timestamps absolute\n" + CANOE[CANOE.index("   0.015992") :])
    with pytest.raises(ConfigError, match="--start"):
        open_log(path, tz="UTC")
    assert read_log(path, start=7).ts.tolist()[:2] == [7, 7 + 4008]


PCAN = """\
;$FILEVERSION=1.1
;$STARTTIME=45474.3541666666666667
;   PCAN-View
;-------------------------------------------------------------------------------
     1)         0.1  Rx     18FEF100  8  01 02 03 04 05 06 07 08
     2)      1000.5  Tx         0123  2  AA BB
     3)      1001.5  Rx         0123  4  RTR
"""


def test_a_pcan_view_log(tmp_path: Path, frames: Any) -> None:
    path = tmp_path / "drive.trc"
    path.write_text(PCAN)
    start = micros(f"{SUMMER}T08:30:00+02:00")
    assert frames(read_log(path, tz="Europe/Berlin")) == [
        (start + 100, "can1", 0x18FEF100 | EXTENDED, 8, 0, bytes(range(1, 9))),
        (start + 1_000_500, "can1", 0x123, 2, Flag.TX, b"\xaa\xbb"),
        (start + 1_001_500, "can1", 0x123 | REMOTE, 4, Flag.REMOTE, b""),
    ]


def test_trc_of_version_1_0_has_no_date(tmp_path: Path) -> None:
    path = tmp_path / "drive.trc"
    path.write_text("; no header\n     1)      1841 0001 8 00 00 00 00 00 00 00 00\n")
    with pytest.raises(ConfigError, match=r"the first is 1\.841000 s.*--start"):
        open_log(path, tz="UTC")


def test_trc_with_can_fd_has_lengths_not_codes(tmp_path: Path, frames: Any) -> None:
    path = tmp_path / "drive.trc"
    head = ";$FILEVERSION=2.1\n;$STARTTIME=45474.5\n;$COLUMNS=N,O,T,B,I,d,R,L,D\n"
    path.write_text(head + f"      1      0.500 FB  2 18FEF100 Rx -  15   {'AB ' * 64}\n")
    ((_, bus, _, dlc, flags, data),) = frames(read_log(path, tz="UTC"))
    assert (bus, dlc, flags, data) == ("can2", 64, Flag.FD | Flag.BRS, b"\xab" * 64)


@pytest.mark.parametrize("name", ["a.asc", "a.trc", "a.csv"])
def test_a_text_log_cut_anywhere_gives_a_beginning_of_it(write: Any, frames: Any, classic: Any, name: str) -> None:
    path = write(name, classic)
    whole, text = frames(read_log(path, tz="UTC")), path.read_bytes()
    first = text.index(b"0x18fef100" if name == "a.csv" else b"18FEF100")
    begin = text.index(b"\n", first) + 1
    for length in range(begin, len(text)):
        path.write_bytes(text[:length])
        with open_log(path, tz="UTC") as log:
            found = [row for batch in log for row in frames(batch)]
        assert found == whole[: len(found)]
        assert len(found) >= 1
        if len(found) < len(whole) and not text[:length].endswith(b"\n") and text[:length].split(b"\n")[-1].strip():
            assert any("damaged at byte" in warning for warning in log.warnings)


def test_a_blf_cut_anywhere_gives_a_beginning_of_it_and_says_so(write: Any, frames: Any) -> None:
    random = Random(1)
    many = [
        can.Message(timestamp=1_700_000_000 + k / 1000, arbitration_id=k, data=random.randbytes(8), channel=0)
        for k in range(9000)
    ]
    path = write("a.blf", many)
    whole, content = frames(read_log(path, tz="UTC")), path.read_bytes()
    counts = []
    for share in (0.3, 0.5, 0.9, 0.999):
        path.write_bytes(content[: int(len(content) * share)])
        with open_log(path, tz="UTC") as log:
            found = [row for batch in log for row in frames(batch)]
        counts.append(len(found))
        assert found == whole[: len(found)]
        assert any("damaged at byte" in warning for warning in log.warnings)
    assert 1000 < counts[0] < counts[1] < counts[2] < 9000


@pytest.mark.parametrize("name", ["a.asc", "a.blf", "a.trc", "a.csv", "a.db", "a.log"])
def test_many_messages_come_in_chunks(write: Any, monkeypatch: pytest.MonkeyPatch, classic: Any, name: str) -> None:
    path = write(name, classic)
    whole = read_log(path, tz="UTC")
    monkeypatch.setattr(messages if name == "a.db" else rows, "CHUNK", 2)
    with open_log(path, tz="UTC") as log:
        batches = list(log)
    assert [len(batch) for batch in batches] == [2, 2, 1]
    assert np.array_equal(FrameBatch.concat(batches).data, whole.data)


@pytest.mark.parametrize("name", ["a.asc", "a.blf", "a.trc", "a.csv", "a.db", "a.log", "a.mf4", "a.dat"])
@pytest.mark.parametrize(
    "content", [b"", b"this is no log\n" * 20, bytes(range(256)) * 8], ids=["empty", "text", "bytes"]
)
def test_what_is_no_log_is_one_sentence(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        open_log(path, tz=UTC.tzname(None))
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)

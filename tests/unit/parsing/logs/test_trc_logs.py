"""PEAK .trc: the examples of PEAK's specification in every version, python-can as oracle, garbage and cuts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import can
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duco_workbench.errors import ConfigError
from duco_workbench.model import ERROR, EXTENDED, REMOTE, Flag
from duco_workbench.parsing.logs import open_log

START = 1_719_822_600_000_000  # 45474.354166666667 in UTC
DATE = ";$STARTTIME=45474.3541666666666667\n"
EIGHT = bytes([0, 0, 0, 0, 4, 0, 0])


def trc(folder: Path, version: str, body: str, columns: str = "") -> Path:
    path = folder / "drive.trc"
    head = f";$FILEVERSION={version}\n{DATE}" if version else ""
    path.write_text(
        head + (f";$COLUMNS={columns}\n" if columns else "") + ";\n;   comment 1) 2\n" + body, newline="\r\n"
    )
    return path


V1_0 = """\
     1)      1841      0001  8  00 00 00 00 00 00 00 00
     2)      1842      0008  4  ERROR 00 19 08 08
     3)      1843  FFFFFFFF  4  00 00 00 04 -- -- -- --  BUSLIGHT
     4)      1844      0100  3  RTR
     5)      1845  18FEF100  2  0A FF
"""
V1_1 = """\
     1)      1059.9  Rx         0300  7  00 00 00 00 04 00 00
     3)      1298.9  Tx         0400  2  00 00
     5)      1346.8  Warng  FFFFFFFF  4  00 00 00 04  BUSLIGHT
     6)      1349.2  Error      0008  4  00 19 08 08
     7)      1352.7  Rx         0100  3  RTR
"""
V1_2 = """\
     1)      1059.900  1  Rx         0300  7  00 00 00 00 04 00 00
     3)      1298.945  2  Tx         0400  2  00 00
     5)      1346.834  1  Warng  FFFFFFFF  4  00 00 00 04  BUSLIGHT
     6)      1349.222  1  Error      0008  4  00 19 08 08
     7)      1352.743  1  Rx         0100  3  RTR
"""
V1_3 = """\
     1)      1059.900 1  Rx        0300 -  7    00 00 00 00 04 00 00
     3)      1298.945 2  Tx        0400 -  2    00 00
     5)      1346.834 1  Warng FFFFFFFF -  4    00 00 00 04  BUSLIGHT
     6)      1349.222 1  Error     0008 -  4    00 19 08 08
     7)      1352.743 1  Rx        0100 -  3    RTR
"""
V2_0 = """\
      1      1059.900 DT     0300 Rx 7  00 00 00 00 04 00 00
      3      1298.945 DT     0400 Tx 2  00 00
      5      1334.416 FD     0500 Tx 12 01 02 03 04 05 06 07 08 09 0A 0B 0C
      6      1334.522 ER          Rx    04 00 02 00 00
      7      1334.531 ST          Rx    00 00 00 08
      8      1334.643 EC          Rx    02 02
      9      1335.156 DT 18EFC034 Tx 8  01 02 03 04 05 06 07 08
     10      1336.543 RR     0100 Rx 3
"""
V2_1 = """\
      1      1059.900 DT 1      0300 Rx -  7    00 00 00 00 04 00 00
      3      1298.945 DT 2      0400 Tx -  2    00 00
      5      1334.416 FD 1      0500 Tx -  9    01 02 03 04 05 06 07 08 09 0A 0B 0C
      6      1334.522 ER 1         - Rx -  5    04 00 02 00 00
      7      1334.224 EV 1  User-defined event for bus 1
      8      1334.225 EV -  User-defined event for all busses
      9      1334.231 ST 1         - Rx -  4    00 00 00 08
     11      1334.643 EC 1         - Rx -  2    02 02
     12      1335.156 DT 1  18EFC034 Tx -  8    01 02 03 04 05 06 07 08
     13      1336.543 RR 1      0100 Rx -  3
"""


def old(fine: bool, buses: bool) -> list[tuple[Any, ...]]:
    """What versions 1.1 to 1.3 say: 1.1 to a tenth of a millisecond, without buses."""
    stamps = [1_059_900, 1_298_945, 1_349_222, 1_352_743]
    frames = [(0x300, 7, 0, EIGHT), (0x400, 2, Flag.TX, b"\0\0"), (ERROR, 0, Flag.ERROR, b"")]
    frames.append((0x100 | REMOTE, 3, Flag.REMOTE, b""))
    return [
        (START + (ts if fine else ts // 100 * 100), "can2" if buses and frame[0] == 0x400 else "can1", *frame)
        for ts, frame in zip(stamps, frames, strict=True)
    ]


def new(buses: bool) -> list[tuple[Any, ...]]:
    return [
        (START + 1_059_900, "can1", 0x300, 7, 0, EIGHT),
        (START + 1_298_945, "can2" if buses else "can1", 0x400, 2, Flag.TX, b"\0\0"),
        (START + 1_334_416, "can1", 0x500, 12, Flag.TX | Flag.FD, bytes(range(1, 13))),
        (START + 1_334_522, "can1", ERROR, 0, Flag.ERROR, b""),
        (START + 1_335_156, "can1", 0x18EFC034 | EXTENDED, 8, Flag.TX, bytes(range(1, 9))),
        (START + 1_336_543, "can1", 0x100 | REMOTE, 3, Flag.REMOTE, b""),
    ]


@pytest.mark.parametrize(
    ("version", "body", "columns", "expected"),
    [
        ("1.1", V1_1, "", old(fine=False, buses=False)),
        ("1.2", V1_2, "", old(fine=True, buses=True)),
        ("1.3", V1_3, "", old(fine=True, buses=True)),
        ("2.0", V2_0, "N,O,T,I,d,l,D", new(buses=False)),
        ("2.0", V2_0, "", new(buses=False)),
        ("2.1", V2_1, "N,O,T,B,I,d,R,L,D", new(buses=True)),
    ],
)
def test_every_version(
    tmp_path: Path, read: Any, frames: Any, version: str, body: str, columns: str, expected: list[tuple[Any, ...]]
) -> None:
    batch, warnings = read(trc(tmp_path, version, body, columns))
    assert frames(batch) == expected
    assert warnings == []


def test_version_1_0_has_no_date(tmp_path: Path, read: Any, frames: Any) -> None:
    batch, warnings = read(trc(tmp_path, "", V1_0), start=0)
    assert frames(batch) == [
        (0, "can1", 1, 8, 0, bytes(8)),
        (1_000, "can1", ERROR, 0, Flag.ERROR, b""),
        (3_000, "can1", 0x100 | REMOTE, 3, Flag.REMOTE, b""),
        (4_000, "can1", 0x18FEF100 | EXTENDED, 2, 0, b"\x0a\xff"),
    ]
    assert warnings == []


@pytest.mark.parametrize(
    ("version", "body", "columns"),
    [("1.1", V1_1, ""), ("1.3", V1_3, ""), ("2.0", V2_0, "N,O,T,I,d,l,D"), ("2.1", V2_1, "N,O,T,B,I,d,R,L,D")],
)
def test_as_python_can_reads_it(
    tmp_path: Path, read: Any, frames: Any, by_python_can: Any, version: str, body: str, columns: str
) -> None:
    """It leaves error frames out, and gives CAN FD a DLC's number for a length."""
    path = trc(tmp_path, version, body, columns)
    ours = [row for row in frames(read(path)[0]) if not row[4] & Flag.ERROR]
    assert ours == by_python_can(path)


def test_types_of_can_fd(tmp_path: Path, read: Any, frames: Any) -> None:
    """As PEAK defines them; python-can takes FE for both bits and BI for ESI alone."""
    body = "".join(
        f"   {k}  0.5 {kind} 1 0500 Rx - 9 {'AB ' * 12}\n" for k, kind in enumerate(["FD", "FB", "FE", "BI"])
    )
    flags = [row[4] for row in frames(read(trc(tmp_path, "2.1", body))[0])]
    assert flags == [Flag.FD, Flag.FD | Flag.BRS, Flag.FD | Flag.ESI, Flag.FD | Flag.BRS | Flag.ESI]


def test_what_python_can_writes(
    write: Any, busy: Any, read: Any, written: Any, frames: Any, by_python_can: Any
) -> None:
    """It writes no remote and no error frames, and the start only as well as a float of days can say."""
    messages = [m for m in busy(1, 2000) if not m.is_error_frame and not m.is_remote_frame]
    path = write("a.trc", messages)
    batch, warnings = read(path)
    found, expected = frames(batch), written(messages)
    assert [row[2:] for row in found] == [row[2:] for row in expected]
    assert [row[1] for row in found] == [f"can{int(row[1][3:]) + 1}" for row in expected]
    assert [row[0] - found[0][0] for row in found] == [row[0] - expected[0][0] for row in expected]
    assert warnings == []
    assert [row[1:] for row in by_python_can(path)] == [row[1:] for row in found]
    assert [row[0] for row in by_python_can(path)] == pytest.approx([row[0] for row in found], abs=2)


def test_version_1_0_as_python_can_writes_it(tmp_path: Path, busy: Any, read: Any, frames: Any) -> None:
    messages = [m for m in busy(2, 200) if not m.is_error_frame and not m.is_remote_frame]
    with can.TRCWriter(tmp_path / "a.trc") as writer:
        writer.file_version = can.TRCFileVersion.V1_0
        for m in messages:
            writer.on_message_received(m)
    found = frames(read(tmp_path / "a.trc", start=0)[0])
    assert [row[5] for row in found] == [bytes(m.data) for m in messages]
    assert [row[2] & 0x1FFFFFFF for row in found] == [m.arbitration_id for m in messages]


@pytest.mark.parametrize(
    "line",
    [
        "hello",
        "x 1) 1.0 Rx 0300 1 00",
        "     1)",
        "     1)      1059,9  Rx         0300  1  00",
        "     1)      1059.9  Rz         0300  1  00",
        "     1)      1059.9  Rx         03zz  1  00",
        "     1)      1059.9  Rx         3FFFFFFF  1  00",
        "     1)      1059.9  Rx         0300  1",
        "     1)      1059.9  Rx         0300  3  00 11",
        "     1)      1059.9  Rx         0300  2  00 1",
        "     1)      1059.9  Rx         0300  2  00 zz",
        "     1)      1059.9  Rx         0300  99  00 11",
        "\x00" * 200,
    ],
)
def test_garbage_between_lines_is_skipped_counted_and_leaves_no_trace(
    tmp_path: Path, read: Any, frames: Any, line: str
) -> None:
    good = "     1)      1059.9  Rx         0300  2  01 02\n"
    batch, warnings = read(trc(tmp_path, "1.1", good + line + "\n" + good + line + "\n" + good))
    assert [row[5] for row in frames(batch)] == [b"\1\2"] * 3
    assert warnings == ["drive.trc: 2 lines are no .trc lines, the first is line 6: skipped"]


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (";$FILEVERSION=3.0\n", r"drive\.trc is a trace of version '3.0'; known are 1.0, 1.1"),
        (";$FILEVERSION=2.1\n;$COLUMNS=N,T,I,D\n", r"drive\.trc has columns 'N,T,I,D'; an offset \(O\)"),
        (";$FILEVERSION=2.1\n;$COLUMNS=" + ",".join("NOID" * 9) + "\n", "has columns"),
        (";$FILEVERSION=1.1\n" + DATE.replace("45474", "x"), "times relative to an unknown start"),
    ],
)
def test_headers_that_cannot_be_read(tmp_path: Path, read: Any, head: str, said: str) -> None:
    path = tmp_path / "drive.trc"
    path.write_text(head + V1_1)
    with pytest.raises(ConfigError, match=said):
        read(path)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 10**13), min_size=1, max_size=20))
def test_any_microsecond_comes_back(tmp_path_factory: Any, stamps: list[int]) -> None:
    body = "".join(f" 1 {ts // 1000}.{ts % 1000:03} DT 1 0100 Rx - 0\n" for ts in stamps)
    with open_log(trc(tmp_path_factory.mktemp("logs"), "2.1", body), tz="UTC") as log:
        assert (next(log).ts - START).tolist() == stamps


@pytest.mark.parametrize(("version", "body"), [("1.1", V1_1), ("1.3", V1_3), ("2.0", V2_0), ("2.1", V2_1)])
def test_cut_anywhere(tmp_path: Path, gives_a_beginning: Any, version: str, body: str) -> None:
    path = trc(tmp_path, version, body)
    content = path.read_bytes()
    gives_a_beginning(path, content, content.index(b"\r\n", content.index(b"1059.9")) + 2)


@pytest.mark.parametrize("seed", range(40))
def test_overwritten_anywhere(tmp_path: Path, survives: Any, seed: int) -> None:
    version, body = [("", V1_0), ("1.2", V1_2), ("2.0", V2_0), ("2.1", V2_1)][seed % 4]
    path = trc(tmp_path, version, body * 20)
    survives(path, path.read_bytes(), seed, 1 + seed)


def test_a_cut_zip(tmp_path: Path, gives_a_cut_zips_beginning: Any) -> None:
    lines = (f" 1 {k}.5 DT 1 0100 Rx - 2 {k % 251:02X} {k % 83:02X}\n" for k in range(9000))
    gives_a_cut_zips_beginning(trc(tmp_path, "2.1", "".join(lines)), 1000, 9000)

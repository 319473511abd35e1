"""Vector .blf: python-can's writer and reader as oracle, objects by hand that it does not write, damage anywhere."""

from __future__ import annotations

import re
import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import can
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duco_workbench.errors import ConfigError
from duco_workbench.model import ERROR, EXTENDED, REMOTE, Flag
from duco_workbench.parsing.logs import blf, open_log

START = 1_719_822_600_125_000
SYSTEMTIME = (2024, 7, 1, 1, 8, 30, 0, 125)
TEN_MICROS, ONE_NANO = 1, 2
EIGHT = bytes(range(1, 9))


def an_object(kind: int, content: bytes, time: int = 1_500_000, unit: int = ONE_NANO, version: int = 1) -> bytes:
    head = struct.pack("<LHHQ", unit, 0, 0, time) if version == 1 else struct.pack("<LBxHQ8x", unit, 0, 0, time)
    size = 16 + len(head) + len(content)
    return struct.pack("<4sHHLL", b"LOBJ", 16 + len(head), version, size, kind) + head + content + bytes(size % 4)


def a_container(content: bytes, method: int = 2) -> bytes:
    packed = zlib.compress(content) if method == 2 else content
    size = 32 + len(packed)
    head = struct.pack("<4sHHLL", b"LOBJ", 16, 1, size, 10) + struct.pack("<H6xL4x", method, len(content))
    return head + packed + bytes(size % 4)


def a_file(*parts: bytes, start: tuple[int, ...] = SYSTEMTIME) -> bytes:
    size = 144 + sum(map(len, parts))
    head = struct.pack("<4sLBBBBBBBBQQLL8H8H", b"LOGG", 144, 5, 0, 0, 0, 2, 6, 8, 1, size, size, 1, 0, *start, *start)
    return head.ljust(144, b"\0") + b"".join(parts)


def classic(channel: int, identifier: int, data: bytes, flags: int = 0, dlc: int | None = None) -> bytes:
    return struct.pack("<HBBL8s", channel, flags, len(data) if dlc is None else dlc, identifier, data)


def fd(identifier: int, data: bytes, bits: int, flags: int = 0, dlc: int = 15) -> bytes:
    return struct.pack("<HBBLLBBB5x64s", 1, flags, dlc, identifier, 0, 0, bits, len(data), data)


def fd_64(identifier: int, data: bytes, bits: int, valid: int, tx: int = 0, extra: int = 0, dlc: int = 15) -> bytes:
    """``extra``: where what follows the data begins, counted from the object's first byte."""
    return struct.pack("<BBBBLLLLLLLHBBL", 1, dlc, valid, 0, identifier, 0, bits, *[0] * 5, tx, extra, 0) + data


@pytest.fixture
def log(tmp_path: Path) -> Any:
    def write(*parts: bytes) -> Path:
        path = tmp_path / "drive.blf"
        path.write_bytes(a_file(*parts))
        return path

    return write


@pytest.mark.parametrize("compression", [-1, 0, 9])
@pytest.mark.parametrize("is_fd", [False, True])
def test_as_python_can_reads_what_it_writes(
    tmp_path: Path, busy: Any, read: Any, written: Any, frames: Any, by_python_can: Any, is_fd: bool, compression: int
) -> None:
    """Containers far smaller than usual, so that many objects span two."""
    messages, path = busy(1, 5000, is_fd), tmp_path / "a.blf"
    with can.BLFWriter(path, compression_level=compression, max_container_size=1000) as writer:
        for m in messages:
            writer.on_message_received(m)
    batch, warnings = read(path)
    assert frames(batch) == written(messages)
    assert frames(batch) == by_python_can(path)
    assert warnings == []


CONTENTS = [
    (1, classic(2, 0x123, EIGHT), ("can1", 0x123, 8, 0, EIGHT)),
    (86, classic(1, 0x98FEF100, b"\1\2", flags=1), ("can0", 0x18FEF100 | EXTENDED, 2, Flag.TX, b"\1\2")),
    (86, classic(1, 0x123, EIGHT, dlc=15) + bytes(8), ("can0", 0x123, 8, 0, EIGHT)),
    (1, classic(1, 0x123, EIGHT, flags=0x80, dlc=5), ("can0", 0x123 | REMOTE, 5, Flag.REMOTE, b"")),
    (2, struct.pack("<HHL", 3, 0, 0), ("can2", ERROR, 0, Flag.ERROR, b"")),
    (
        73,
        struct.pack("<HHLBBBxLLH2x8s", 1, 0, 0, 0, 0, 2, 0, 0x80000123, 0, EIGHT),
        ("can0", 0x123 | ERROR, 2, Flag.ERROR, b"\1\2"),
    ),
    (100, fd(0x123, bytes(64), 1), ("can0", 0x123, 64, Flag.FD, bytes(64))),
    (100, fd(0x80000123, EIGHT, 7, flags=1, dlc=8), ("can0", 0x123 | EXTENDED, 8, Flag.FD | 6 | Flag.TX, EIGHT)),
    (100, fd(0x123, EIGHT, 0, dlc=8), ("can0", 0x123, 8, 0, EIGHT)),
    (100, fd(0x123, b"", 0, flags=0x80, dlc=3), ("can0", 0x123 | REMOTE, 3, Flag.REMOTE, b"")),
    (101, fd_64(0x123, EIGHT * 8, 0x3000, 64), ("can0", 0x123, 64, Flag.FD | Flag.BRS, EIGHT * 8)),
    (
        101,
        fd_64(0x80000123, EIGHT, 0x5000, 8, tx=1),
        ("can0", 0x123 | EXTENDED, 8, Flag.FD | Flag.ESI | Flag.TX, EIGHT),
    ),
    (101, fd_64(0x123, EIGHT, 0, 8, dlc=8), ("can0", 0x123, 8, 0, EIGHT)),
    (101, fd_64(0x123, b"", 0x10, 0, dlc=4), ("can0", 0x123 | REMOTE, 4, Flag.REMOTE, b"")),
    (101, fd_64(0x123, EIGHT, 0x1000, 12), ("can0", 0x123, 12, Flag.FD, EIGHT + bytes(4))),  # zeros left out
]


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(("kind", "content", "expected"), CONTENTS, ids=range(len(CONTENTS)))
def test_objects(
    log: Any, read: Any, frames: Any, by_python_can: Any, kind: int, content: bytes, expected: Any, version: int
) -> None:
    path = log(a_container(an_object(kind, content, version=version)))
    batch, _ = read(path)
    assert frames(batch) == [(START + 1500, *expected)]
    if kind != 2:  # which it does not know
        assert frames(batch) == by_python_can(path)


def test_what_follows_the_data_of_an_object_is_none_of_it(log: Any, read: Any, frames: Any, by_python_can: Any) -> None:
    path = log(a_container(an_object(101, fd_64(0x123, EIGHT + b"\xff" * 16, 0x1000, 12, extra=32 + 40 + 8))))
    assert (
        frames(read(path)[0]) == by_python_can(path) == [(START + 1500, "can0", 0x123, 12, Flag.FD, EIGHT + bytes(4))]
    )


def test_an_error_on_a_can_fd_bus(log: Any, read: Any, frames: Any) -> None:
    content = struct.pack("<BBBBHHHBBL", 2, 8, 8, 0, 0, 0, 0, 0, 0, 0x123) + bytes(92)
    assert frames(read(log(a_container(an_object(104, content))))[0]) == [
        (START + 1500, "can1", 0x123 | ERROR, 0, Flag.ERROR | Flag.FD, b"")
    ]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**16), st.sampled_from([1, 2]))
def test_times_are_exact_in_both_units(tmp_path_factory: Any, time: int, version: int) -> None:
    path = tmp_path_factory.mktemp("logs") / "a.blf"
    nanos = an_object(1, classic(1, 1, b""), time, ONE_NANO, version)
    tens = an_object(1, classic(1, 1, b""), time // 10_000, TEN_MICROS, version)
    path.write_bytes(a_file(a_container(nanos + tens)))
    with open_log(path, tz="UTC") as log:
        assert (next(log).ts - START).tolist() == [(time + 500) // 1000, time // 10_000 * 10]


def test_objects_of_other_kinds_and_outside_of_containers(log: Any, read: Any) -> None:
    frame = an_object(1, classic(1, 0x123, EIGHT))
    others = an_object(96, b"marker") + an_object(115, bytes(7)) + an_object(1, bytes(16), version=7 - 4)
    batch, warnings = read(log(a_container(others + frame + others), frame, a_container(frame, method=0), frame))
    assert (len(batch), warnings) == (4, [])


def test_an_object_may_span_many_containers(log: Any, read: Any, frames: Any) -> None:
    content = b"".join(an_object(100, fd(k, bytes([k] * 64), 1)) for k in range(20))
    parts = [a_container(content[at : at + 7]) for at in range(0, len(content), 7)]
    batch, warnings = read(log(*parts))
    assert [(row[2], row[5]) for row in frames(batch)] == [(k, bytes([k] * 64)) for k in range(20)]
    assert warnings == []


def test_a_start_that_is_not_set_needs_one(tmp_path: Path, read: Any) -> None:
    path = tmp_path / "drive.blf"
    path.write_bytes(a_file(a_container(an_object(1, classic(1, 1, b""))), start=(0,) * 8))
    with pytest.raises(ConfigError, match=r"times relative.*--start"):
        read(path)
    assert read(path, start=7)[0].ts.tolist() == [7]


def test_the_zone_that_placed_it_is_recorded(log: Any) -> None:
    path = log(a_container(an_object(1, classic(1, 1, b""))))
    with open_log(path, tz="Europe/Berlin") as opened:
        assert next(opened).ts.tolist() == [START + 1500 - 7_200_000_000]
        assert opened.zone == "Europe/Berlin"
    with open_log(path) as opened:
        assert opened.zone is None
        assert opened.warnings[0].startswith("drive.blf: its start (2024-07-01 08:30:00) names no time zone")


FRAME = an_object(1, classic(1, 0x123, EIGHT))
PACKED = zlib.compress(FRAME)
WRONG_SUM = a_container(FRAME).replace(PACKED[-4:], b"\0\0\0\0")


@pytest.mark.parametrize(
    ("broken", "count", "said"),
    [
        (b"\0" * 100, 2, r"damaged at byte {at}: read up to there \(no container begins there\)"),
        (a_container(FRAME, method=1), 2, r"damaged at byte {at}: .*packed by an unknown method \(1\)"),
        (a_container(b"no object" * 9), 2, r"damaged at byte {at}: .*an object of its container cannot be read"),
        (a_container(an_object(1, bytes(8))), 2, r"damaged at byte {at}: .*cannot be read"),
        (a_container(FRAME + FRAME[:-5]), 3, r"damaged at byte {end}: .*the last container or object is cut"),
        (a_container(FRAME)[:40] + b"\xff" * 9, 2, r"damaged at byte {end}: .*the last container or object is cut"),
        (a_container(FRAME)[:18], 2, r"damaged at byte {end}: .*the last container or object is cut"),
        (WRONG_SUM, 2, r"damaged at byte {at}: .*Error -3 .*incorrect data check"),
        (struct.pack("<4sHHLL", b"LOBJ", 16, 1, 0xFFFFFFFF, 10), 2, r"damaged at byte {at}: .*no container begins"),
        (struct.pack("<4sHHLL", b"LOBJ", 16, 1, 3, 10), 2, r"damaged at byte {at}: .*no container begins there"),
        (b"LOBJ", 2, r"damaged at byte {end}: .*the last container or object is cut"),
    ],
    ids=range(11),
)
def test_damage_keeps_what_came_before(log: Any, read: Any, broken: bytes, count: int, said: str) -> None:
    good = a_container(FRAME + FRAME)
    path = log(good, broken)
    batch, (warning,) = read(path)
    assert len(batch) == count
    at, end = 144 + len(good), 144 + len(good) + len(broken)
    assert re.match(f"drive.blf: {said.format(at=at, end=end)}", warning), warning


def test_an_object_that_says_it_is_huge_is_not_waited_for(log: Any, read: Any) -> None:
    huge = struct.pack("<4sHHLL", b"LOBJ", 32, 1, 0x7FFFFFFF, 1)
    batch, (warning,) = read(log(a_container(FRAME), a_container(huge), *[a_container(FRAME)] * 50))
    assert len(batch) == 1
    assert "an object of its container cannot be read" in warning


def test_a_container_that_holds_too_much(log: Any, read: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blf, "_LARGEST", 10_000)
    batch, (warning,) = read(log(a_container(FRAME), a_container(FRAME * 1000)))
    assert len(batch) == 1
    assert "a container holds more than 10,000 bytes" in warning


@pytest.mark.parametrize("is_fd", [False, True])
def test_cut_anywhere(tmp_path: Path, busy: Any, gives_a_beginning: Any, is_fd: bool) -> None:
    path = tmp_path / "a.blf"
    with can.BLFWriter(path, max_container_size=300) as writer:
        for m in busy(2, 20, is_fd):
            writer.on_message_received(m)
    content = path.read_bytes()
    second = content.index(b"LOBJ", content.index(b"LOBJ") + 4)
    gives_a_beginning(path, content, second)


def test_every_cut_is_said(tmp_path: Path, busy: Any, read: Any, write: Any) -> None:
    path = write("a.blf", busy(2, 300))
    content = path.read_bytes()
    for length in range(len(content) // 2, len(content), 7):
        path.write_bytes(content[:length])
        _, (warning,) = read(path)
        assert f"damaged at byte {length:,}: read up to there (" in warning


@pytest.mark.parametrize("compression", [0, 6])
@pytest.mark.parametrize("seed", range(60))
def test_overwritten_anywhere(tmp_path: Path, busy: Any, survives: Any, seed: int, compression: int) -> None:
    path = tmp_path / "a.blf"
    with can.BLFWriter(path, compression_level=compression, max_container_size=2000) as writer:
        for m in busy(3, 200, is_fd=True):
            writer.on_message_received(m)
    survives(path, path.read_bytes(), seed, 1 + seed)


def test_a_cut_zip(write: Any, busy: Any, gives_a_cut_zips_beginning: Any) -> None:
    gives_a_cut_zips_beginning(write("a.blf", busy(4, 9000)), 3000, 6000)


def test_memory_has_a_bound(tmp_path: Path) -> None:
    """A million frames, a few containers' worth of memory."""
    path = tmp_path / "a.blf"
    path.write_bytes(a_file(*[a_container(FRAME * 4000)] * 250))
    with open_log(path, tz="UTC") as log:
        tracemalloc.start()
        try:
            sizes = {len(batch) for batch in log}
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert log.frames == 1_000_000
    assert max(sizes) == 65_536
    assert peak < 20_000_000

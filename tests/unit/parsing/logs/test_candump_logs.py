"""candump logs: every line form, exact times, garbage and cuts."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duco_workbench.errors import ConfigError
from duco_workbench.model import ERROR, EXTENDED, REMOTE, Flag, FrameBatch
from duco_workbench.parsing.logs import candump, open_log, read_log

GOOD = "(1700000000.000001) can0 18FEF100#0102030405060708\n"


def log_of(folder: Path, text: str | bytes) -> Path:
    path = folder / "drive.log"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def all_of(path: Path) -> tuple[FrameBatch, list[str]]:
    with open_log(path) as log:
        return FrameBatch.concat(list(log)), log.warnings


def test_what_python_can_writes(write: Any, written: Any, frames: Any, classic: Any, special: Any, fd: Any) -> None:
    messages = [*classic[:3], *special, *fd]
    expected = written(messages)
    # The writer numbers error frames as bus errors, on the bus given.
    expected[4] = (*expected[4][:2], ERROR | 0x80, *expected[4][3:])
    assert frames(read_log(write("a.log", messages))) == expected


@pytest.mark.parametrize(
    ("text", "identifier", "flags", "dlc", "data"),
    [
        ("123#", 0x123, 0, 0, b""),
        ("7FF#00", 0x7FF, 0, 1, b"\0"),
        ("1#aB", 1, 0, 1, b"\xab"),
        ("00000123#11", 0x123 | EXTENDED, 0, 1, b"\x11"),
        ("98FEF100#11", 0x18FEF100 | EXTENDED, 0, 1, b"\x11"),
        ("123#11.22.33", 0x123, 0, 3, b"\x11\x22\x33"),
        ("123#1122334455667788_B", 0x123, 0, 8, bytes.fromhex("1122334455667788")),
        ("123#11 R", 0x123, 0, 1, b"\x11"),
        ("123#11 T", 0x123, Flag.TX, 1, b"\x11"),
        ("123#R", 0x123 | REMOTE, Flag.REMOTE, 0, b""),
        ("18FEF100#R8", 0x18FEF100 | EXTENDED | REMOTE, Flag.REMOTE, 8, b""),
        ("123#R5 T", 0x123 | REMOTE, Flag.REMOTE | Flag.TX, 5, b""),
        ("20000088#0000000000000000", 0x88 | ERROR, Flag.ERROR, 8, bytes(8)),
        ("123##0", 0x123, Flag.FD, 0, b""),
        ("123##1" + "AB" * 64, 0x123, Flag.FD | Flag.BRS, 64, b"\xab" * 64),
        ("18FEF100##3112233", 0x18FEF100 | EXTENDED, Flag.FD | Flag.BRS | Flag.ESI, 3, b"\x11\x22\x33"),
    ],
)
def test_forms_of_a_frame(
    tmp_path: Path, frames: Any, text: str, identifier: int, flags: int, dlc: int, data: bytes
) -> None:
    batch, warnings = all_of(log_of(tmp_path, f"(1700000000.5) vcan0 {text}\n"))
    assert frames(batch) == [(1_700_000_000_500_000, "vcan0", identifier, dlc, flags, data)]
    assert warnings == []


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("1436509052.249713", 1_436_509_052_249_713),
        ("1436509052", 1_436_509_052_000_000),
        ("1436509052.", 1_436_509_052_000_000),
        ("1436509052.2", 1_436_509_052_200_000),
        ("1436509052.0000009", 1_436_509_052_000_001),
        ("1436509052.999999499", 1_436_509_052_999_999),
        ("1436509052.9999995", 1_436_509_053_000_000),
        ("01436509052.249713", 1_436_509_052_249_713),
    ],
)
def test_times_are_exact(tmp_path: Path, text: str, micros: int) -> None:
    assert read_log(log_of(tmp_path, f"({text}) can0 123#\n")).ts.tolist() == [micros]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(10**15, 4 * 10**15), min_size=1, max_size=20))
def test_any_microsecond_comes_back(tmp_path_factory: Any, stamps: list[int]) -> None:
    text = "".join(f"({ts // 10**6}.{ts % 10**6:06}) can0 123#\n" for ts in stamps)
    assert read_log(log_of(tmp_path_factory.mktemp("logs"), text)).ts.tolist() == stamps


@pytest.mark.parametrize(
    "line",
    [
        "hello",
        "(1700000000.0) can0",
        "(1700000000.0) can0 ",
        "(1700000000.0)",
        "()",
        "(",
        "(.5) can0 123#11",
        "(-1700000000.0) can0 123#11",
        "(123456789012.0) can0 123#11",
        "1700000000.0 can0 123#11",
        "(1700000000.0) can0 123",
        "(1700000000.0) can0 #11",
        "(1700000000.0) can0 800#11",
        "(1700000000.0) can0 123456789#11",
        "(1700000000.0) can0 123#1",
        "(1700000000.0) can0 123#11zz",
        "(1700000000.0) can0 123#112233445566778899",
        "(1700000000.0) can0 123#11 X",
        "(1700000000.0) can0 123##",
        "(1700000000.0) can0 123##0" + "00" * 65,
        "(1700000000.0) " + "n" * 65 + " 123#11",
        "\x00" * 200,
        "ÿ(1700000000.0) can0 123#11",
    ],
)
def test_garbage_between_lines_is_skipped_counted_and_leaves_no_trace(tmp_path: Path, frames: Any, line: str) -> None:
    short = "(1700000000.000002) can0 123#01\n"
    batch, warnings = all_of(log_of(tmp_path, GOOD + line + "\n" + short + line + "\n" + short))
    assert [(row[2], row[5]) for row in frames(batch)] == [
        (0x18FEF100 | EXTENDED, bytes(range(1, 9))),
        (0x123, b"\x01"),
        (0x123, b"\x01"),
    ]
    assert warnings == ["drive.log: 2 lines are no candump lines, the first is line 2: skipped"]


def test_blank_lines_and_windows_line_ends_are_no_garbage(tmp_path: Path) -> None:
    batch, warnings = all_of(log_of(tmp_path, "\n\r\n" + GOOD.replace("\n", "\r\n") + "  \n" + GOOD))
    assert (len(batch), warnings) == (2, [])


def test_chunks_have_a_bound_and_do_not_change_what_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [f"(1700000000.{k:06}) can{k % 3} {k % 0x800:03X}#{k:08X}\n" for k in range(150_000)]
    path = log_of(tmp_path, "".join(rows))
    with open_log(path) as log:
        batches = list(log)
    assert [len(batch) for batch in batches] == [65_536, 65_536, 150_000 - 2 * 65_536]
    whole = FrameBatch.concat(batches)
    assert whole.channels == ("can0", "can1", "can2")
    counter = np.arange(150_000)
    assert np.array_equal(whole.ts, 1_700_000_000_000_000 + counter)
    assert np.array_equal(whole.data[:, :4].copy().view(">u4").ravel(), counter)
    assert np.array_equal(whole.channel, counter % 3)
    monkeypatch.setattr(candump, "BLOCK", 1000)
    small = read_log(path)
    assert np.array_equal(small.data, whole.data)
    assert np.array_equal(small.ts, whole.ts)


def test_can_fd_in_the_middle_widens_without_losing_a_line(tmp_path: Path, frames: Any) -> None:
    text = GOOD * 3 + "(1700000000.1) can1 123##1" + "AB" * 48 + "\n" + GOOD
    batch, warnings = all_of(log_of(tmp_path, text))
    assert [row[3] for row in frames(batch)] == [8, 8, 8, 48, 8]
    assert [row[1] for row in frames(batch)] == ["can0", "can0", "can0", "can1", "can0"]
    assert warnings == []


def test_many_buses(tmp_path: Path) -> None:
    text = "".join(f"(1700000000.1) bus{k} 123#11\n" for k in range(300))
    batch, warnings = all_of(log_of(tmp_path, text))
    assert batch.channels == tuple(f"bus{k}" for k in range(255))
    assert warnings == ["drive.log: 45 lines are no candump lines, the first is line 256: skipped"]


def test_a_log_cut_anywhere_gives_a_beginning_of_it(tmp_path: Path, frames: Any) -> None:
    """The heart of damage: never an exception past the first frame, never a frame that was not there."""
    lines = [
        "(1700000000.000001) can0 18FEF100#0102030405060708\n",
        "(1700000000.000002) can0 123#AABBCC\n",
        "(1700000000.000003) can0 18FEF100#1112131415161718\n",
        "(1700000000.000004) can0 123#DDEEFF\n",
    ]
    text = "".join(lines)
    whole = frames(read_log(log_of(tmp_path, text)))
    for length in range(len(lines[0]), len(text)):
        batch, warnings = all_of(log_of(tmp_path, text[:length]))
        found = frames(batch)
        assert found == whole[: len(found)]
        complete = text[:length].count("\n")
        assert len(found) in (complete, complete + 1)
        clean = text[:length].endswith("\n") or len(found) == complete + 1
        assert bool(warnings) is not clean, text[:length]


def test_a_cut_log_says_where(tmp_path: Path) -> None:
    _, warnings = all_of(log_of(tmp_path, GOOD * 2 + "(1700000001.0) can0 18FEF1"))
    assert warnings == [f"drive.log: damaged at byte {2 * len(GOOD)} (line 3): read up to there (the last line is cut)"]


def test_one_line_without_an_end_is_read(tmp_path: Path) -> None:
    assert len(read_log(log_of(tmp_path, "(1700000000.0) can0 123#11"))) == 1


def test_the_last_line_counts_when_its_row_fills_the_chunk(tmp_path: Path) -> None:
    path = log_of(tmp_path, (GOOD * 65_536)[:-1])
    with open_log(path) as log:
        assert sum(len(batch) for batch in log) == 65_536
    assert log.warnings == []


def test_megabytes_without_a_line_end_cost_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candump, "BLOCK", 100_000)
    seen = []
    feed = candump._Parser.feed
    monkeypatch.setattr(candump._Parser, "feed", lambda self, text: (seen.append(len(text)), feed(self, text))[1])
    batch, warnings = all_of(log_of(tmp_path, GOOD.encode() + bytes(3_000_000) + b"\n" + GOOD.encode()))
    assert len(batch) == 2
    assert warnings == ["drive.log: 1 line is no candump line, the first is line 2: skipped"]
    assert max(seen) < 200_000


def test_zipped_and_cut_zipped(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    text = "".join(f"(1700000000.{k:06}) can0 123#{random.bytes(8).hex()}\n" for k in range(5000))
    whole = gzip.compress(text.encode())
    path = tmp_path / "drive.log.gz"
    path.write_bytes(whole)
    batch, warnings = all_of(path)
    assert (len(batch), warnings) == (5000, [])
    path.write_bytes(whole[: len(whole) // 2])
    part, warnings = all_of(path)
    assert 0 < len(part) < 5000
    assert np.array_equal(part.data, batch.data[: len(part)])
    assert len(warnings) == 1
    assert warnings[0].startswith("drive.log.gz: damaged at byte ")


@pytest.mark.parametrize(
    "text", [b"", b"\n\n", b"no frame\n" * 10, bytes(100), b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 9]
)
def test_nothing_to_read_is_one_sentence(tmp_path: Path, text: bytes) -> None:
    with pytest.raises(ConfigError, match=r"drive\.log (is empty|holds no CAN frame)") as caught:
        open_log(log_of(tmp_path, text))
    assert "\n" not in str(caught.value)

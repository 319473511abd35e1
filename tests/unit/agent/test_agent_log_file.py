"""A log that plays as a bus: every frame of the file, each when its time comes."""

from __future__ import annotations

from pathlib import Path

import can
import numpy as np
import pytest
from agent_frames import Clock, T

from agent.log_file import LogFile
from duco_workbench.model import SECOND, FrameBatch
from duco_workbench.parsing.logs import open_log

CANDUMP = """\
(1436509052.249713) can0 18FEF100#0011223344556677
(1436509052.349713) can1 123#FF
(1436509052.449713) can0 18FECA00#
(1436509053.249713) can1 7FF#R4
(1436509054.249713) can0 18FEF200##3001122334455667788AABBCC T
"""
FIRST = 1_436_509_052_249_713


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "truck.log"
    path.write_text(CANDUMP)
    return path


def numbers(frames: FrameBatch) -> list[int]:
    return (frames.arbitration_id & 0x1FFF_FFFF).tolist()


def test_frames_come_when_their_time_has_come(log: Path) -> None:
    clock = Clock()
    source = LogFile("log", log, clock=clock)
    assert source.state == "opening"
    source.open()
    assert source.state == "up"
    frames = source.read()
    assert (frames.ts.tolist(), numbers(frames), frames.channels) == ([T], [0x18FEF100], ("can0",))
    clock.at = T + 350_000
    frames = source.read()
    assert frames.ts.tolist() == [T + 100_000, T + 200_000]
    assert [frames.channels[c] for c in frames.channel] == ["can1", "can0"]
    assert len(source.read()) == 0
    assert not source.ended
    clock.at = T + 60 * SECOND
    assert source.read().ts.tolist() == [T + SECOND, T + 2 * SECOND]
    assert source.ended
    assert "is over" in source.state
    assert len(source.read()) == 0


def test_it_plays_faster(log: Path) -> None:
    clock = Clock()
    source = LogFile("log", log, speed=4, clock=clock)
    source.open()
    clock.at += SECOND // 2
    assert source.read().ts.tolist() == [T, T + 25_000, T + 50_000, T + SECOND // 4, T + SECOND // 2]


def test_it_begins_again_a_second_later(log: Path) -> None:
    clock = Clock()
    source = LogFile("log", log, repeat=True, clock=clock)
    source.open()
    clock.at += 6 * SECOND
    ts = source.read().ts
    assert len(ts) == 11
    assert np.diff(ts)[4] == SECOND
    assert (ts[5:10] - ts[5]).tolist() == (ts[:5] - ts[0]).tolist()
    assert not source.ended


def test_as_fast_as_it_can_be_read_it_gives_what_an_import_of_the_file_gives(log: Path) -> None:
    source = LogFile("log", log, speed=0)
    source.open()
    played, imported = source.read(), FrameBatch.concat(list(open_log(log)))
    assert played.ts[0] == FIRST
    assert played.channels == imported.channels
    for column in ("ts", "arbitration_id", "dlc", "flags", "data", "channel"):
        assert getattr(played, column).tolist() == getattr(imported, column).tolist(), column


def test_a_log_of_can_fd_is_as_wide_as_it_needs(tmp_path: Path) -> None:
    path = tmp_path / "fd.log"
    with can.Logger(path) as writer:
        writer.on_message_received(
            can.Message(1.5e9, 1, is_fd=True, bitrate_switch=True, data=bytes(64), channel="can0")
        )
        writer.on_message_received(can.Message(1.5e9 + 1, 2, data=b"\1", channel="can0"))
    clock = Clock()
    source = LogFile("log", path, clock=clock)
    source.open()
    assert source.read().data.shape == (1, 64)
    clock.at += SECOND
    assert source.read().data.shape == (1, 8)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("no.log", None, "No such file"),
        ("empty.log", "", "no frame"),
        ("log.unknown", "x", "unknown"),
        ("words.log", "these are\nwords only\n", ""),
    ],
)
@pytest.mark.parametrize("repeat", [False, True])
def test_a_file_that_is_none_is_over_at_once_and_says_why(
    tmp_path: Path, name: str, text: str | None, says: str, repeat: bool
) -> None:
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    source = LogFile("log", path, repeat=repeat)
    source.open()
    assert source.ended
    assert len(source.read()) == 0
    assert str(path) in source.state
    assert says in source.state


def test_what_stands_before_a_broken_line_is_played(tmp_path: Path) -> None:
    path = tmp_path / "torn.log"
    path.write_text(CANDUMP + "(14365090")
    clock = Clock()
    source = LogFile("log", path, clock=clock)
    source.open()
    clock.at += 60 * SECOND
    assert len(source.read()) == 5
    assert source.ended
    assert "cannot be read further" in source.state


def test_a_log_without_a_date_needs_a_speed(tmp_path: Path) -> None:
    path = tmp_path / "relative.log"
    path.write_text("(0.000001) can0 123#00\n(2.0) can0 123#01\n")
    source = LogFile("log", path, speed=0)
    source.open()
    assert source.ended
    assert "give it a speed" in source.state
    clock = Clock()
    source = LogFile("log", path, clock=clock)
    source.open()
    clock.at += 2 * SECOND
    assert source.read().ts.tolist() == [T, T + 1_999_999]


def test_closing_ends_it(log: Path) -> None:
    source = LogFile("log", log, clock=Clock(T))
    source.open()
    source.close()
    assert source.ended
    assert len(source.read()) == 0

"""Key on and off, from a file, from traffic, or always; told once per turn with the time it began."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from agent_frames import Clock, T, batch

from agent import key as key_module
from agent.drafts import Draft
from agent.key import STEADY, AlwaysOn, Key, KeyFile, Traffic
from duco_workbench.model import SECOND, FrameBatch


def turns(drafts: list[Draft]) -> list[tuple[str, int]]:
    assert {d.msg_type for d in drafts} <= {"vehicle_event"}
    return [(d.payload.name, d.ts - T) for d in drafts]


@pytest.fixture
def value(tmp_path: Path) -> Path:
    return tmp_path / "value"


def test_always_on_is_one_event() -> None:
    key = Key(AlwaysOn(), clock=Clock())
    assert turns(key.look() + key.look()) == [("key_on", 0)]
    assert key.is_on
    assert key.trouble == ""


def test_a_file_turns_the_key_when_it_holds(value: Path) -> None:
    value.write_text("0\n")
    clock = Clock()
    key = Key(KeyFile(str(value)), clock=clock)
    assert turns(key.look()) == []  # it was off before
    assert not key.is_on
    value.write_text("1\n")
    clock.at += SECOND
    assert turns(key.look()) == []
    clock.at += STEADY
    assert turns(key.look()) == [("key_on", SECOND)]
    assert key.is_on
    value.write_text("0\n")
    clock.at = T + 10 * SECOND
    assert turns(key.look()) == []
    assert key.is_on
    clock.at += STEADY
    assert turns(key.look() + key.look()) == [("key_off", 10 * SECOND)]
    assert not key.is_on


def test_a_moment_s_drop_is_no_turn(value: Path) -> None:
    value.write_text("1")
    clock = Clock()
    key = Key(KeyFile(str(value)), clock=clock)
    key.look()
    found: list[Draft] = []
    for text in "0101010":
        value.write_text(text)
        clock.at += STEADY - 1
        found += key.look()
    assert found == []
    assert key.is_on


def test_a_key_that_cannot_be_seen_is_taken_for_on_and_that_is_said(value: Path) -> None:
    clock = Clock()
    key = Key(KeyFile(str(value)), clock=clock)
    assert turns(key.look()) == [("key_on", 0)]
    assert str(value) in key.trouble
    assert "takes it for on" in key.trouble
    value.write_text("0")
    for _ in range(2):
        clock.at += STEADY
        key.look()
    assert not key.is_on
    assert key.trouble == ""
    value.unlink()
    for _ in range(2):
        clock.at += STEADY
        key.look()
    assert key.is_on


@pytest.mark.parametrize(("text", "is_on"), [("ON\n", True), ("on", False), ("", False), ("\xff", False)])
def test_another_word_for_on(value: Path, text: str, is_on: bool) -> None:
    value.write_bytes(text.encode("latin-1"))
    assert KeyFile(str(value), "ON").is_on() is is_on


def test_traffic_turns_the_key() -> None:
    clock, monotonic = Clock(), Clock(0)
    traffic = Traffic(5.0, monotonic=monotonic)
    key = Key(traffic, clock=clock)

    def after(seconds: float, frames: FrameBatch | None = None) -> list[tuple[str, int]]:
        clock.at += round(seconds * SECOND)
        monotonic.at += round(seconds * SECOND)
        assert traffic.on_frames(FrameBatch.empty() if frames is None else frames) == []
        return turns(key.look())

    some = batch((0, 0x123, b""))
    assert after(0) == []
    assert not key.is_on
    assert after(1, some) == []
    assert after(1) == [("key_on", SECOND)]
    assert after(3.9) == []
    assert after(0.1) == []
    assert after(0.5) == [("key_off", 6 * SECOND)]
    assert after(60) == []
    assert after(1, some) + after(1, some) == [("key_on", round(67.5 * SECOND))]


def test_a_clock_set_by_years_turns_no_key() -> None:
    clock, monotonic = Clock(), Clock(0)
    traffic = Traffic(5.0, monotonic=monotonic)
    key = Key(traffic, clock=clock)
    traffic.on_frames(batch((0, 0x123, b"")))
    key.look()
    clock.at += 10**14
    assert key.look() == []
    clock.at -= 2 * 10**14
    assert key.look() == []
    assert key.is_on


async def test_it_looks_by_itself(value: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_module, "LOOK", 0.005)
    value.write_text("1")
    clock, drafts = Clock(), list[Draft]()
    key = Key(KeyFile(str(value)), clock=clock)
    task = asyncio.create_task(key.run(drafts.append))
    async with asyncio.timeout(30):
        while not drafts:
            await asyncio.sleep(0.005)
        value.write_text("0")
        while key.is_on:
            clock.at += STEADY // 2
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])
    assert [name for name, _ in turns(drafts)] == ["key_on", "key_off"]

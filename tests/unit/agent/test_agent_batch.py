"""The open batch: what is handed on when, in normal and in realtime mode."""

from __future__ import annotations

import dataclasses

import numpy as np
from agent_frames import T, batch

from agent.batch import LATE, MOST, PIECE, Batch
from agent.drafts import Draft
from duco_workbench import wire
from duco_workbench.model import SECOND, FrameBatch

T0 = T // (10 * SECOND) * 10 * SECOND  # a window begins
TP = 0x9CECFF00, 0x9CEBFF00


def frames(*seconds: float) -> FrameBatch:
    found = batch(*((0, 0x123, bytes([at])) for at in range(len(seconds))))
    return dataclasses.replace(found, ts=np.array([at_(second) for second in seconds], np.int64))


def at_(second: float) -> int:
    return T0 + round(second * SECOND)


def event(second: float) -> Draft:
    return Draft("vehicle_event", at_(second), wire.EventBody("x"))


def shape(drafts: list[Draft]) -> list[int | str]:
    """Frames in each envelope, and the kinds of the others."""
    return [d.payload.blocks[0].n if isinstance(d.payload, wire.Can) else d.payload.name for d in drafts]


def test_a_window_is_handed_on_when_frames_of_the_next_are_read_and_the_others_with_it() -> None:
    open_batch = Batch("T", 10, 1)
    open_batch.ready(at_(0.3))
    open_batch.add(frames(1, 2), at_(2))
    open_batch.say(event(3))
    assert open_batch.ready(at_(9)) == []
    open_batch.add(frames(9.99, 10.01), at_(10.02))
    assert shape(open_batch.ready(at_(10.02))) == [3, "x"]
    assert open_batch.ready(at_(10.5)) == [], "the next window is open"


def test_a_silent_bus_is_sealed_a_moment_after_the_window_has_ended() -> None:
    open_batch = Batch("T", 10, 1)
    open_batch.add(frames(1), at_(1))
    open_batch.ready(at_(1))
    assert open_batch.ready(at_(10) + LATE - 1) == []
    assert shape(open_batch.ready(at_(10) + LATE)) == [1]


def test_without_frames_the_other_messages_go_at_the_end_of_the_window() -> None:
    open_batch = Batch("T", 10, 1)
    open_batch.ready(at_(1))
    open_batch.say(event(2))
    assert open_batch.ready(at_(9)) == []
    assert shape(open_batch.ready(at_(10) + LATE)) == ["x"]


def test_realtime_seals_the_open_batch_at_once_and_then_each_second() -> None:
    open_batch = Batch("T", 10, 1)
    open_batch.ready(at_(0.3))
    open_batch.add(frames(1, 2, 2.2), at_(2.2))
    assert shape(open_batch.switch(True, at_(2.3))) == [3]
    assert open_batch.realtime
    open_batch.add(frames(2.4, 2.9, 3.0), at_(3.01))
    assert shape(open_batch.ready(at_(3.01))) == [2]
    open_batch.add(frames(3.5), at_(3.5))
    assert shape(open_batch.switch(False, at_(3.6))) == [2]
    open_batch.add(frames(4, 5, 6), at_(6))
    assert open_batch.ready(at_(6)) == []


def test_a_log_with_its_own_times_is_cut_by_them_and_not_by_the_clock() -> None:
    open_batch = Batch("T", 10, 1)
    year = 365 * 86_400
    open_batch.ready(at_(year))
    open_batch.add(frames(1, 2), at_(year))
    assert open_batch.ready(at_(year + 5)) == []
    open_batch.add(frames(3, 9, 11), at_(year + 5.1))
    assert shape(open_batch.ready(at_(year + 5.1))) == [4]
    assert open_batch.ready(at_(year + 13)) == []
    assert shape(open_batch.ready(at_(year + 15))) == [1], "it has ended: its time goes on with the clock"


def test_a_forced_seal_leaves_an_open_session_and_the_end_takes_it() -> None:
    begun = batch((0, TP[0], bytes([32, 20, 0, 3, 255, 0xCA, 0xFE, 0])), (1000, TP[1], bytes([1, *range(7)])))
    begun = dataclasses.replace(begun, ts=begun.ts - T + at_(1))
    open_batch = Batch("T", 10, 1)
    open_batch.add(begun, at_(1.1))
    open_batch.add(frames(1.1), at_(1.1))
    assert shape(open_batch.switch(True, at_(1.2))) == [1]
    assert shape(open_batch.finish()) == [2]
    assert open_batch.finish() == []


def test_what_grows_large_is_handed_on_before_its_window_has_ended() -> None:
    open_batch = Batch("T", 10, 1)
    open_batch.ready(at_(1))
    for text in ("x" * (MOST // 2), ""):
        line = Draft("vehicle_log", at_(1), wire.LogLine("info", "hmi", text))
        count = 0
        while not open_batch.is_full:
            assert open_batch.ready(at_(2)) == []
            open_batch.say(line)
            count += 1
        assert count <= MOST // max(len(text), PIECE) + 1, "small ones take memory, too"
        assert len(open_batch.ready(at_(2))) == count
        assert not open_batch.is_full

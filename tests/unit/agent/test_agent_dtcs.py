"""Trouble codes: told when they appear, change or clear, with the time and the text that the decoder gives them."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from agent_frames import T, batch

from agent.drafts import Draft
from agent.dtcs import DtcWatcher
from duco_workbench import wire
from duco_workbench.j1939.dm1 import dtcs
from duco_workbench.j1939.transport import Sessions
from duco_workbench.model import SECOND, FrameBatch

MOST_OPEN = 1024  # bytes kept of what is not complete

Row = tuple[int, int, bytes]

AMBER, RED, OFF = b"\x04\xff", b"\x10\xff", b"\x00\xff"
NO_FAULT = OFF + b"\0\0\0\0\xff\xff"


def code(spn: int, fmi: int, oc: int = 1) -> bytes:
    return bytes([spn & 255, spn >> 8 & 255, spn >> 16 << 5 | fmi, oc])


def dm1(data: bytes, ts: int = 0, sender: int = 0) -> Row:
    """A DM1 of one frame."""
    return ts, 0x98FECA00 | sender, data.ljust(8, b"\xff")


def bam(data: bytes, ts: int = 0, sender: int = 0, gap: int = 50_000) -> list[Row]:
    """A DM1 as a broadcast of several frames."""
    packets = (len(data) + 6) // 7
    head = bytes([32, len(data) & 255, len(data) >> 8, packets, 255, 0xCA, 0xFE, 0])
    parts = [bytes([i + 1]) + data[7 * i : 7 * i + 7].ljust(7, b"\xff") for i in range(packets)]
    return [(ts, 0x9CECFF00 | sender, head)] + [
        (ts + gap * (i + 1), 0x9CEBFF00 | sender, part) for i, part in enumerate(parts)
    ]


THREE = AMBER + code(100, 3) + code(110, 0, 5) + code(520_192, 31, 126)


def told(drafts: list[Draft]) -> list[tuple[int, str, list[tuple[int, int, int | None]], dict[str, str]]]:
    assert {d.msg_type for d in drafts} <= {"vehicle_dtc"}
    return [
        (d.ts - T, d.payload.source, [(c.spn, c.fmi, c.oc) for c in d.payload.dtcs], d.payload.lamps) for d in drafts
    ]


def test_codes_are_told_when_they_appear_change_and_clear() -> None:
    rows = [
        dm1(NO_FAULT, 0),
        dm1(NO_FAULT, 1),
        dm1(AMBER + code(100, 3), 2),
        dm1(AMBER + code(100, 3), 3),
        dm1(AMBER + code(100, 3, 2), 4),
        dm1(RED + code(100, 3, 2), 5),
        dm1(NO_FAULT, 6),
        dm1(NO_FAULT, 7),
    ]
    watcher = DtcWatcher()
    found = told([d for row in rows for d in watcher.on_frames(batch(row))])
    assert found == [
        (0, "can0:00", [], {}),
        (2, "can0:00", [(100, 3, 1)], {"amber-warning": "on"}),
        (4, "can0:00", [(100, 3, 2)], {"amber-warning": "on"}),
        (5, "can0:00", [(100, 3, 2)], {"red-stop": "on"}),
        (6, "can0:00", [], {}),
    ]
    assert told(DtcWatcher().on_frames(batch(*rows))) == found  # whatever portions they come in


def test_every_sender_and_bus_has_codes_of_its_own() -> None:
    one = batch(dm1(AMBER + code(100, 3), 0, 0x00), dm1(RED + code(100, 3), 1, 0x21))
    other = batch(dm1(AMBER + code(100, 3), 2, 0x00), channel="can1")
    watcher = DtcWatcher()
    assert [t[1] for t in told(watcher.on_frames(FrameBatch.concat([one, other])))] == ["can0:00", "can0:21", "can1:00"]
    assert watcher.on_frames(FrameBatch.concat([other, one])) == []


def test_active_codes_are_told_again_after_a_minute_cleared_ones_are_not() -> None:
    watcher = DtcWatcher(repeat_s=60)
    active = [dm1(AMBER + code(100, 3), s * SECOND, 1) for s in range(130)]
    clear = [dm1(NO_FAULT, s * SECOND, 2) for s in range(130)]
    times = [(t[1], t[0] // SECOND) for row in active + clear for t in told(watcher.on_frames(batch(row)))]
    assert times == [("can0:01", 0), ("can0:01", 60), ("can0:01", 120), ("can0:02", 0)]


@pytest.mark.parametrize("cut", [0, 1, 2, 3])
def test_a_broadcast_over_two_calls_has_the_time_of_its_last_frame(cut: int) -> None:
    rows = bam(THREE)
    watcher = DtcWatcher()
    drafts = watcher.on_frames(batch(*rows[:cut])) + watcher.on_frames(batch(*rows[cut:]))
    codes = [(100, 3, 1), (110, 0, 5), (520_192, 31, 126)]
    assert told(drafts) == [(100_000, "can0:00", codes, {"amber-warning": "on"})]


def test_broadcasts_of_several_senders_frame_by_frame() -> None:
    rows = sorted(
        [*bam(THREE, 0, 1), *bam(RED + code(7, 7) + code(8, 8), 10, 2), *bam(THREE, SECOND, 1), dm1(NO_FAULT, 30, 3)]
    )
    watcher = DtcWatcher()
    drafts = [d for row in rows for d in watcher.on_frames(batch(row))]
    assert {t[1]: len(t[2]) for t in told(drafts)} == {"can0:01": 3, "can0:02": 2, "can0:03": 0}
    assert len(drafts) == 3  # the second of sender 1 says nothing new
    assert not watcher._sessions._open  # nothing is kept of what is complete


def test_a_session_to_one_receiver_with_its_handshakes() -> None:
    size, packets = len(THREE), (len(THREE) + 6) // 7
    data = [row[2] for row in bam(THREE)[1:]]
    rows: list[Row] = [
        (0, 0x9CECF900, bytes([16, size, 0, packets, 255, 0xCA, 0xFE, 0])),
        (1, 0x9CEC00F9, bytes([17, packets, 1, 255, 255, 0xCA, 0xFE, 0])),
        *((2 + i, 0x9CEBF900, part) for i, part in enumerate(data)),
        (9, 0x9CEC00F9, bytes([19, size, 0, packets, 255, 0xCA, 0xFE, 0])),
    ]
    watcher = DtcWatcher()
    drafts = [d for row in rows for d in watcher.on_frames(batch(row))]
    assert [len(t[2]) for t in told(drafts)] == [3]


def test_a_session_that_falls_silent_is_given_up() -> None:
    rows, watcher = bam(THREE), DtcWatcher()
    assert watcher.on_frames(batch(*rows[:2])) == []
    late = [(ts + 10 * SECOND, number, data) for ts, number, data in rows]
    assert watcher.on_frames(batch(*late[2:])) == []
    assert len(watcher.on_frames(batch(*((ts + SECOND, n, d) for ts, n, d in late)))) == 1


@pytest.mark.parametrize("cut", range(1, 6))
def test_a_message_is_given_once_whatever_follows_it_in_its_batch(cut: int) -> None:
    rows = [*bam(THREE), *bam(RED + code(7, 7) + code(8, 8), SECOND)]
    sessions = Sessions()
    found = sessions.read(batch(*rows[:cut])) + [m for row in rows[cut:] for m in sessions.read(batch(row))]
    assert [m.data for _, m in found] == [THREE, RED + code(7, 7) + code(8, 8)]


def test_a_receiver_that_asks_to_wait_for_ever_is_not_hoarded() -> None:
    sessions = Sessions()
    sessions.read(batch((0, 0x9CECF900, bytes([16, 14, 0, 2, 255, 0xCA, 0xFE, 0]))))
    hold = bytes([17, 0, 255, 255, 255, 0xCA, 0xFE, 0])
    for i in range(0, 3000, 100):
        sessions.read(batch(*((i * 1000 + j, 0x9CEC00F9, hold) for j in range(100))))
    assert sum(len(session.data) for session in sessions._open.values()) <= MOST_OPEN


def test_the_decoder_reads_the_same_codes_of_the_same_time_and_lamps() -> None:
    """So that the row of the message and the row of the frame are one."""
    rows = sorted([*bam(THREE, 0, 1), dm1(b"\x54\x10" + code(91, 2, 127), 40, 2), *bam(THREE, SECOND, 4)])
    drafts = DtcWatcher().on_frames(batch(*rows))
    ours = {
        (d.ts, d.payload.source, c.spn, c.fmi, c.oc, c.cm, ",".join(f"{k}:{v}" for k, v in d.payload.lamps.items()))
        for d in drafts
        for c in d.payload.dtcs
    }
    theirs = {(c.ts, c.source, c.spn, c.fmi, c.oc, c.cm, c.lamps) for c in dtcs(batch(*rows))}
    assert ours == theirs
    assert len(ours) == 7


def test_what_is_no_whole_dm1_says_nothing() -> None:
    watcher = DtcWatcher()
    assert len(watcher.on_frames(batch(dm1(AMBER + code(100, 3))))) == 1
    short = batch((1, 0x98FECA00, b""), (2, 0x98FECA00, b"\0\xff"), (3, 0x98FECA00, b"\0\xff\0\0"))
    assert watcher.on_frames(short) == []  # least of all that the code is gone
    assert watcher.on_frames(batch((4, 0xD8FECA00, b""), (5, 0x18FECA00, NO_FAULT))) == []  # remote, and not extended
    assert watcher.on_frames(FrameBatch.empty()) == []


def test_noise_is_borne_and_not_hoarded() -> None:
    random = np.random.default_rng(3)
    watcher = DtcWatcher()
    for i in range(0, 4000, 50):
        ids = random.choice([0x9CECFF01, 0x9CEBFF01, 0x9CEC0201, 0x9CEB0102, 0x98FECA05], 50)
        rows = [(i * 1000 + j, int(n), random.integers(0, 256, 8, np.uint8).tobytes()) for j, n in enumerate(ids)]
        for draft in watcher.on_frames(batch(*rows)):
            assert msgspec.convert(msgspec.to_builtins(draft.payload), wire.Dtcs) == draft.payload
    assert sum(len(session.data) for session in watcher._sessions._open.values()) <= 3 * MOST_OPEN

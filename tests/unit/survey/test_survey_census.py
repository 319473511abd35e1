"""The census counts what is there, in one pass, by chunks of any size."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from log_kit import batch, simulated

from duco_workbench.model import ERROR, EXTENDED, Flag, FrameBatch
from duco_workbench.survey import census
from duco_workbench.survey.census import Census, hex_of
from duco_workbench.survey.guesses import checksums, counters
from duco_workbench.survey.report import moving_bits


def counted(frames: FrameBatch, size: int = 65_536) -> Census:
    found = Census()
    for at in range(0, len(frames), size):
        found.add(frames[at : at + size])
    return found


@pytest.mark.parametrize("size", [13, 65_536])
def test_counts_periods_and_bits_are_those_of_numpy(size: int) -> None:
    frames = simulated(20)
    found = counted(frames, size)
    ids = found.ids()
    assert found.frames == len(frames)
    assert int(ids.count.sum()) == len(frames)
    for row in range(len(ids)):
        mine = frames[(frames.channel == ids.bus[row]) & (frames.arbitration_id == ids.arbitration_id[row]),]
        words = mine.data.view(np.uint64)[:, 0]
        assert ids.count[row] == len(mine)
        assert (ids.first[row], ids.last[row]) == (mine.ts[0], mine.ts[-1])
        assert ids.moved[row, 0] == np.bitwise_or.reduce(words ^ words[0])
        if 1 < len(mine) <= 64:
            assert abs(ids.period[row] - np.median(np.diff(mine.ts))) <= np.ptp(np.diff(mine.ts))
        if len(mine) == 2:
            assert ids.period[row] == mine.ts[1] - mine.ts[0]


def test_a_regular_id_has_its_period_and_no_jitter_however_long_it_runs() -> None:
    frames = batch([(i * 10_000, 0x100, bytes(8)) for i in range(5000)])
    ids = counted(frames, 100).ids()
    assert (ids.period.tolist(), ids.jitter.tolist()) == ([10_000], [0])


def test_an_id_seen_once_has_no_period() -> None:
    ids = counted(batch([(0, 0x100, b"")])).ids()
    assert (ids.period.tolist(), ids.jitter.tolist()) == ([-1], [-1])


def test_eleven_and_twenty_nine_bits_are_different_ids_and_buses_are_apart() -> None:
    both = batch([(0, 0x100, bytes(8)), (1, 0x100 | EXTENDED, bytes(8))])
    found = counted(FrameBatch.concat([both, replace(both, channels=("can1",))]))
    assert [bus.name for bus in found.buses] == ["can0", "can1"]
    ids = found.ids()
    assert list(zip(ids.bus.tolist(), map(hex_of, ids.arbitration_id.tolist()), strict=True)) == [
        (0, "100"),
        (0, "00000100"),
        (1, "100"),
        (1, "00000100"),
    ]


def test_error_and_remote_frames_are_counted_and_are_no_ids() -> None:
    frames = batch([(0, 0x100, bytes(8)), (1, ERROR | 4, bytes(8)), (2, 0x4000_0123, b"")])
    frames.flags[1], frames.flags[2] = Flag.ERROR, Flag.REMOTE
    found = counted(frames)
    (bus,) = found.buses
    assert (bus.frames, bus.errors, bus.remotes, len(found.ids())) == (3, 1, 1, 1)


def test_a_fuzzed_bus_is_listed_to_a_bound_and_counted_beyond(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(census, "MOST_IDS", 4096)
    n = 10_000
    fuzzed = FrameBatch(
        np.arange(2 * n, dtype=np.int64),
        np.tile(np.arange(n, dtype=np.uint32) | np.uint32(EXTENDED), 2),
        np.full(2 * n, 8, np.uint8),
        np.zeros(2 * n, np.uint8),
        np.zeros((2 * n, 8), np.uint8),
        np.zeros(2 * n, np.uint8),
    )
    found = counted(fuzzed, 1000)
    ids = found.ids()
    assert len(ids) == 4096
    assert (ids.count == 2).all()
    (bus,) = found.buses
    assert (bus.frames, bus.unlisted) == (2 * n, 2 * (n - 4096))


def test_bits_past_the_shorter_data_do_not_move() -> None:
    ids = counted(batch([(0, 1, b"\xff\xff"), (1, 1, b"\xff"), (2, 1, b"\xfe")])).ids()
    assert moving_bits(ids, 0, 2) == ".......x ........"
    assert int(ids.lengths[0]) == 1 << 1 | 1 << 2


def test_can_fd_has_its_64_bytes() -> None:
    frames = simulated(1)[:2]
    wide = replace(
        frames,
        arbitration_id=np.array([5, 5], np.uint32),
        channel=np.zeros(2, np.uint8),
        dlc=np.array([64, 64], np.uint8),
        data=np.array([[0] * 64, [0] * 63 + [128]], np.uint8),
    )
    ids = counted(wide).ids()
    assert moving_bits(ids, 0, 64).split()[-1] == "x......."


def test_counters_and_checksums_are_guessed() -> None:
    random = np.random.default_rng(1)
    rows = []
    for i in range(500):
        body = random.integers(0, 256, 8, dtype=np.uint8)
        body[6] = (body[6] & 0xF0) | i % 16
        body[7] = np.bitwise_xor.reduce(body[:7]) ^ 0x5A
        rows.append((i * 1000, 0x123, body.tobytes()))
        rows.append((i * 1000, 0x124, bytes([i % 256]) + body[1:7].tobytes() + bytes([7])))
    ids = counted(batch(rows)).ids()
    assert (counters(ids, 0), checksums(ids, 0)) == (["byte 6 low"], ["byte 7 XOR"])
    assert (counters(ids, 1), checksums(ids, 1)) == (["byte 0", "byte 6 low"], [])


def test_a_crc_is_guessed_whatever_it_begins_with() -> None:
    def crc(data: bytes) -> int:  # SAE J1850, with an id hashed in front
        remainder = 0xFF
        for byte in b"\x12\x34" + data:
            remainder ^= byte
            for _ in range(8):
                remainder = (remainder << 1) ^ (0x11D if remainder & 0x80 else 0)
        return remainder ^ 0xFF

    bodies = [body.tobytes() for body in np.random.default_rng(1).integers(0, 256, (100, 7), dtype=np.uint8)]
    ids = counted(batch([(i * 1000, 0x123, bytes([crc(body)]) + body) for i, body in enumerate(bodies)])).ids()
    assert checksums(ids, 0) == ["byte 0 CRC-8 1D"]
    noise = counted(batch([(i * 1000, 0x123, b"\x00" + body) for i, body in enumerate(bodies)])).ids()
    assert checksums(noise, 0) == []

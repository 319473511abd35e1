"""Chunks cut no transport session: every frame comes once, and sessions end as they do in one batch."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from log_kit import batch, simulated

from duco_workbench.j1939.transport import reassemble
from duco_workbench.model import FrameBatch
from duco_workbench.survey.sessions import whole_sessions


def pieces(frames: FrameBatch, size: int) -> list[FrameBatch]:
    return [frames[at : at + size] for at in range(0, len(frames), size)]


def rows(batches: list[FrameBatch]) -> list[tuple[int, int, bytes]]:
    whole = FrameBatch.concat(batches)
    return sorted(zip(whole.ts.tolist(), whole.arbitration_id.tolist(), map(bytes, whole.data), strict=True))


@pytest.mark.parametrize("size", [7, 100, 1000])
def test_sessions_are_whole_whatever_the_chunk(size: int) -> None:
    frames = simulated(30)
    cut = list(whole_sessions(pieces(frames, size)))
    assert rows(cut) == rows([frames])
    outcomes: Counter[str] = Counter()
    messages = []
    for part in cut:
        found, ended = reassemble(part)
        outcomes += ended
        messages += [(m.ts, m.pgn, m.data) for m in found]
    expected, ended = reassemble(frames)
    assert sorted(messages) == sorted((m.ts, m.pgn, m.data) for m in expected)
    assert outcomes == ended


def test_each_bus_stays_in_order_of_time_but_for_what_waited() -> None:
    for part in whole_sessions(pieces(simulated(30), 100)):
        for name in part.channels:
            assert (np.diff(part.of(name).ts) >= 0).all()


def test_a_session_that_never_ends_waits_for_its_time_out_only() -> None:
    announced = (0, 0x9CECFF00, bytes([32, 20, 0, 3, 255, 0xEC, 0xFE, 0]))
    later = [(ts * 1_000_000, 0x98FEF100, bytes(8)) for ts in range(1, 5)]
    first, *_ = whole_sessions(batch([row]) for row in [announced, *later])
    assert len(first) == 0
    parts = [len(part) for part in whole_sessions(batch([row]) for row in [announced, *later])]
    assert parts == [0, 1, 2, 1, 1]

"""Sessions, long messages and codes are the same whatever chunks a recording comes in."""

from __future__ import annotations

import pytest
from log_kit import simulated

from duco_workbench.j1939.transport import reassemble
from duco_workbench.survey.traffic import Traffic


@pytest.mark.parametrize("size", [7, 100, 1000])
def test_sessions_are_whole_whatever_the_chunk(size: int) -> None:
    frames, whole, cut = simulated(30), Traffic(), Traffic()
    whole.add(frames)
    for at in range(0, len(frames), size):
        cut.add(frames[at : at + size])
    whole.end()
    cut.end()
    expected, ended = reassemble(frames)
    assert cut.outcomes == whole.outcomes == ended
    assert sum(seen.count for seen in cut.long.values()) == len(expected) > 0
    assert (cut.long, cut.codes, cut.names) == (whole.long, whole.codes, whole.names)

"""Frames and time for tests of what the agent collects."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from duco_workbench.model import FrameBatch

T = 1_760_000_000_000_000  # microseconds UTC
PATIENCE = 30.0  # seconds; only ends what hangs


def batch(*rows: tuple[int, int, bytes], channel: str = "can0") -> FrameBatch:
    """Rows of (microseconds since T, arbitration id with SocketCAN's bits, data)."""
    n = len(rows)
    return FrameBatch(
        np.array([T + ts for ts, _, _ in rows], np.int64),
        np.array([number for _, number, _ in rows], np.uint32),
        np.array([len(data) for _, _, data in rows], np.uint8),
        np.zeros(n, np.uint8),
        np.array([list(data.ljust(8, b"\0")) for _, _, data in rows], np.uint8).reshape(n, 8),
        np.zeros(n, np.uint8),
        (channel,),
    )


class Clock:
    """A clock that a test sets, microseconds."""

    def __init__(self, at: int = T) -> None:
        self.at = at

    def __call__(self) -> int:
        return self.at


def eventually(condition: Callable[[], Any]) -> Any:
    """The first true answer. Raises: AssertionError when there is none."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if answer := condition():
            return answer
        time.sleep(0.005)
    raise AssertionError("it never came true")

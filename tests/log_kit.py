"""candump logs for tests: of a simulated machine, and of a few lines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from duco_workbench.local.simulation import SimulatedMachine
from duco_workbench.model import EXTENDED, ID_MASK, SECOND, FrameBatch

START = 1_760_000_400 * SECOND
POWERTRAIN, IMPLEMENT = SimulatedMachine.bindings()["can0"], SimulatedMachine.bindings()["can1"]


def simulated(seconds: int, start: int = START) -> FrameBatch:
    """A machine with a J1939 bus can0 (transport sessions too) and a bus can1 of 11- and 29-bit ids."""
    return SimulatedMachine("kit").frames(start, start + seconds * SECOND)


def write_candump(path: Path, frames: FrameBatch) -> Path:
    columns = (frames.ts, frames.arbitration_id, frames.dlc, frames.channel)
    with path.open("w") as file:
        for i, (ts, number, dlc, channel) in enumerate(zip(*(c.tolist() for c in columns), strict=True)):
            name = f"{number & ID_MASK:0{8 if number & EXTENDED else 3}X}"
            data = frames.data[i, :dlc].tobytes().hex().upper()
            file.write(f"({ts // SECOND}.{ts % SECOND:06d}) {frames.channels[channel]} {name}#{data}\n")
    return path


def batch(rows: Sequence[tuple[int, int, bytes]], channel: str = "can0") -> FrameBatch:
    """Of (ts, arbitration id with bit 31, data)."""
    n = len(rows)
    data = np.zeros((n, 8), np.uint8)
    for i, (_, _, body) in enumerate(rows):
        data[i, : len(body)] = np.frombuffer(body, np.uint8)
    return FrameBatch(
        np.array([ts for ts, _, _ in rows], np.int64),
        np.array([number for _, number, _ in rows], np.uint32),
        np.array([len(body) for _, _, body in rows], np.uint8),
        np.zeros(n, np.uint8),
        data,
        np.zeros(n, np.uint8),
        (channel,),
    )

"""What tests of the whole stack share: the command line, a log to play or import, patience."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from duco_workbench.model import SECOND, FrameBatch


def eventually(check: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.2)


def duco(*arguments: str, data: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "duco_workbench.cli", *arguments, "--data", str(data)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def write_candump(path: Path, frames: FrameBatch) -> Path:
    columns = (frames.ts, frames.channel, frames.arbitration_id, frames.dlc)
    with path.open("w") as file:
        for t, c, i, n, d in zip(*(column.tolist() for column in columns), frames.data, strict=True):
            identifier = f"{i & 0x1FFFFFFF:08X}" if i >> 31 else f"{i:03X}"
            file.write(f"({t // SECOND}.{t % SECOND:06d}) {frames.channels[c]} {identifier}#{d[:n].tobytes().hex()}\n")
    return path

"""What tests of the whole stack share: the command line, a log to play or import, patience."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from duco_workbench.local.supervision import Supervisor
from duco_workbench.model import SECOND, FrameBatch

PATIENCE_S = 120.0  # no promise: only ends what hangs


def eventually(check: Callable[[], Any], seconds: float = PATIENCE_S) -> Any:
    """Poll until it is true; returns what it returned."""
    deadline = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.2)
    return found


def kill(supervisor: Supervisor, part: str) -> None:
    """``kill -9``; returns when another one runs in its place."""
    pid = eventually(lambda: supervisor.states()[part]["pid"])  # what waits to be started again has none

    def runs_again(state: dict[str, Any]) -> bool:
        return state["statename"] == "RUNNING" and state["pid"] != pid

    os.kill(pid, signal.SIGKILL)
    eventually(lambda: runs_again(supervisor.states()[part]))


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

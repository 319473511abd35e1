"""Reading logs against python-can's readers, alternating in one run: nanoseconds a frame and the ratio.   make bench

The files are written by python-can: a busy J1939 bus, and for .blf and .asc a CAN FD bus too. Both sides read whole
files; python-can gives a message at a time, ours gives columns.
"""

from __future__ import annotations

import gzip
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import can

from duco_workbench.parsing.logs import read_log

FRAMES, ROUNDS = 30_000, 5
START = 1_760_000_400.0


def messages(fd: bool) -> list[can.Message]:
    random.seed(1)
    return [
        can.Message(
            timestamp=START + k / 2500,
            arbitration_id=0x0CF00400 + random.randrange(64) * 256,
            data=random.randbytes(64 if fd else 8),
            channel=k % 2,
            is_fd=fd,
            bitrate_switch=fd,
        )
        for k in range(FRAMES)
    ]


def write(path: Path, fd: bool = False) -> Path:
    with can.Logger(path) as logger:
        for message in messages(fd):
            logger.on_message_received(message)
    return path


def files(folder: Path) -> dict[str, Path]:
    """A file for each line of the result; the zipped one is the first, zipped."""
    found = {name: write(folder / f"a.{name}") for name in ("log", "asc", "blf", "trc", "csv", "mf4")}
    found |= {f"{name} FD": write(folder / f"fd.{name}", fd=True) for name in ("asc", "blf")}
    zipped = folder / "a.log.gz"
    zipped.write_bytes(gzip.compress(found["log"].read_bytes(), 6))
    return {**found, "log.gz": zipped}


def by_python_can(path: Path) -> int:
    with can.LogReader(path) as reader:
        return sum(1 for _ in reader)


def by_us(path: Path) -> int:
    return len(read_log(path, tz="UTC"))


def nanoseconds(run: Callable[[Path], int], path: Path) -> float:
    begin = time.perf_counter()
    if run(path) != FRAMES:
        raise SystemExit(f"{path.name}: frames are missing")
    return (time.perf_counter() - begin) / FRAMES * 1e9


def compare(name: str, path: Path) -> None:
    by_us(path)  # kernels come from the cache
    ours, theirs = [], []
    for _ in range(ROUNDS):
        theirs.append(nanoseconds(by_python_can, path))
        ours.append(nanoseconds(by_us, path))
    low, middle, high = statistics.quantiles(ours, n=4)
    ratio = statistics.median(b / a for a, b in zip(ours, theirs, strict=True))
    print(
        f"  {name:8} ours median {middle:8.1f}   quartiles {low:8.1f} {high:8.1f}   "
        f"python-can median {statistics.median(theirs):9.1f}   ratio {ratio:6.1f}"
    )


def main() -> None:
    print(f"{FRAMES:,} frames a file; nanoseconds a frame, {ROUNDS} alternating rounds")
    with tempfile.TemporaryDirectory() as folder:
        for name, path in files(Path(folder)).items():
            compare(name, path)


if __name__ == "__main__":
    main()

"""Decoding against cantools, alternating in one run: medians, quartiles and the ratio.   make bench

The frames are five minutes of the simulated machine's powertrain bus: J1939, two senders, transport protocol.
Ours gives statuses, sources, texts and trouble codes as well; cantools is given each message by its PGN for nothing.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import cantools

from duco_workbench import parsing
from duco_workbench.j1939 import match_key
from duco_workbench.local.simulation import SimulatedMachine
from duco_workbench.model import SECOND, FrameBatch

START = 1_760_000_400 * SECOND
ROUNDS = 7


def by_cantools(frames: FrameBatch, path: str) -> Callable[[], int]:
    """A loop over frames that decodes what matches, as a script would; gives the number of values."""
    messages = {match_key(m.frame_id): m for m in cantools.database.load_file(path).messages}
    rows = [
        (messages[key], data[:n].tobytes())
        for i, n, data in zip(frames.arbitration_id.tolist(), frames.dlc.tolist(), frames.data, strict=True)
        if (key := match_key(i & 0x1FFFFFFF)) in messages and messages[key].length <= n
    ]

    def run() -> int:
        return sum(len(m.decode(data, decode_choices=False)) for m, data in rows)

    return run


def by_us(frames: FrameBatch, path: str) -> Callable[[], int]:
    decoder = parsing.Decoder(parsing.load(path))
    return lambda: len(decoder.decode(frames))


def seconds(run: Callable[[], int]) -> tuple[float, int]:
    begin = time.perf_counter()
    values = run()
    return time.perf_counter() - begin, values


def main() -> None:
    path = str(SimulatedMachine.bindings()["can0"])
    frames = SimulatedMachine("bench").frames(START, START + 300 * SECOND).of("can0")
    runs = {"cantools": by_cantools(frames, path), "ours": by_us(frames, path)}
    seconds(runs["ours"])  # kernels come from the cache
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            took, values = seconds(run)
            times[name].append(took / values * 1e9)
    print(f"{len(frames):,} frames; nanoseconds a value, {ROUNDS} alternating rounds")
    for name, taken in times.items():
        low, middle, high = statistics.quantiles(taken, n=4)
        print(f"  {name:10} median {middle:9.1f}   quartiles {low:9.1f} {high:9.1f}")
    ratios = [theirs / ours for theirs, ours in zip(times["cantools"], times["ours"], strict=True)]
    print(f"  ratio      median {statistics.median(ratios):9.1f}")


if __name__ == "__main__":
    main()

"""Decoding against cantools, asammdf, can_decoder and the memory, alternating in one run.   make bench-decode

    python tests/bench/bench_decode.py [LOG DBC] ... [--json FILE]

Without a log: five minutes of the simulated machine's powertrain bus (J1939, two senders, transport protocol), a car
of opendbc, and CAN FD frames of 64 bytes with 50 signals. Ours gives statuses and sources as well; cantools is given
each message by its parameter group for nothing, and only frames as long as their message. The bound is the time to copy
as many bytes as a batch is read and written.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import can
import cantools
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from dbc_files import dbc_files

from duco_workbench import parsing
from duco_workbench.j1939 import match_key
from duco_workbench.local.simulation import SimulatedMachine
from duco_workbench.model import EXTENDED, SECOND, Flag, FrameBatch

START = 1_760_000_400 * SECOND
ROUNDS = 15
LIVE = 1_000
CAR = "vw_mqb.dbc"
SHORTEST = 0.05  # seconds of a round
OF_A_SLOW_PEER = 20_000  # frames
Run = Callable[[], Any]


def by_cantools(frames: FrameBatch, dbc: str) -> Run:
    """A loop over frames, as a script would do it."""
    messages = [m for m in cantools.database.load_file(dbc, strict=False).messages if takes(m)]
    exact = {m.frame_id | (EXTENDED if m.is_extended_frame else 0): m for m in messages}
    groups = {match_key(m.frame_id): m for m in messages if m.protocol == "j1939"}
    rows = list(zip(frames.arbitration_id.tolist(), map(bytes, frames.data), frames.dlc.tolist(), strict=True))

    def run() -> int:
        count = 0
        for number, data, length in rows:
            message = exact.get(number) or groups.get(match_key(number))
            if message is not None and message.length <= length:
                count += len(message.decode(data[:length], decode_choices=False))  # type: ignore[arg-type]
        return count

    return run


def takes(message: Any) -> bool:
    """Whether cantools decodes a message at all: it fails where signals overlap."""
    try:
        return message.decode(bytes(message.length), decode_choices=False) is not None
    except cantools.database.DecodeError:
        return False


def by_asammdf(path: Path, dbc: str) -> Run:
    import asammdf

    def run() -> None:
        with asammdf.MDF(path) as log:
            log.extract_bus_logging({"CAN": [(dbc, 0)]}).close()

    return run


def by_can_decoder(frames: FrameBatch, dbc: str) -> Run:
    import can_decoder
    import pandas as pd

    decoder = can_decoder.DataFrameDecoder(can_decoder.load_dbc(dbc, use_j1939=is_j1939(dbc)))
    columns = {
        "IDE": frames.arbitration_id >> 31 == 1,
        "ID": frames.arbitration_id & 0x1FFF_FFFF,
        "DataBytes": [row[:n] for row, n in zip(frames.data.tolist(), frames.dlc.tolist(), strict=True)],
    }
    table = pd.DataFrame(columns, index=pd.to_datetime(frames.ts, unit="us", utc=True).rename("TimeStamp"))
    return lambda: decoder.decode_frame(table)


def by_memory(frames: FrameBatch, dbc: str) -> Run:
    """Copies the bytes that a decoder has to read and to write at least."""
    samples = parsing.Decoder(parsing.load(dbc)).decode(frames)
    read = sum(c.nbytes for c in (frames.ts, frames.arbitration_id, frames.dlc, frames.flags, frames.data))
    written = samples.value.nbytes + samples.status.nbytes + frames.ts.nbytes
    source, target = np.ones(max(read, written), np.uint8), np.ones(max(read, written), np.uint8)
    return lambda: np.copyto(target, source)


def is_j1939(dbc: str) -> bool:
    return any(m.is_j1939 for m in parsing.load(dbc).messages)


def peers(frames: FrameBatch, dbc: str, folder: Path) -> Iterator[tuple[str, int, Run]]:
    """Name, frames of a run, and what to run."""
    n, few = len(frames), frames[:OF_A_SLOW_PEER]
    decoder, database = parsing.Decoder(parsing.load(dbc)), parsing.load(dbc)
    chunk = 65_536 if frames.data.shape[1] == 8 else 16_384  # what a chunk becomes stays in the caches
    chunks = [frames[i : i + chunk] for i in range(0, n, chunk)]
    live = [frames[i : i + LIVE] for i in range(0, min(n, 20 * LIVE), LIVE)]
    yield "ours, chunks", n, lambda: [len(decoder.decode(part)) for part in chunks]
    yield "ours, to memory", n, lambda: decoder.decode(frames)
    yield "ours, to Arrow", n, lambda: decoder.decode(frames).to_arrow()
    yield "ours, 1,000 frames to Arrow", sum(map(len, live)), lambda: [len(decoder.decode(b).to_arrow()) for b in live]
    vectorised = parsing.Decoder(database, compiled=False)
    yield "ours, numpy", n, lambda: vectorised.decode(frames)
    yield "memory bound", n, by_memory(frames, dbc)
    yield "cantools", len(few), by_cantools(few, dbc)
    yield "asammdf", n, by_asammdf(as_mf4(frames, folder), dbc)
    if frames.data.shape[1] == 8:
        yield "can_decoder", n, by_can_decoder(frames, dbc)


def as_mf4(frames: FrameBatch, folder: Path) -> Path:
    path = folder / f"{len(list(folder.iterdir()))}.mf4"
    with can.MF4Writer(path) as writer:
        for i, (ts, number, length, flags) in enumerate(
            zip(*(c.tolist() for c in (frames.ts, frames.arbitration_id, frames.dlc, frames.flags)), strict=True)
        ):
            message = can.Message(
                timestamp=ts / 1e6,
                arbitration_id=number & 0x1FFF_FFFF,
                is_extended_id=bool(number & EXTENDED),
                is_fd=bool(flags & Flag.FD),
                dlc=length,
                data=frames.data[i, :length].tobytes(),
                channel=1,
            )
            writer.on_message_received(message)
    return path


def fd_case(folder: Path) -> tuple[str, FrameBatch, str]:
    """Twenty messages of 64 bytes, 50 signals each, in random order with random data."""
    lines = ['VERSION ""', "BU_: A"]
    for k in range(20):
        lines.append(f"BO_ {256 + k} M{k}: 64 A")
        for j in range(50):  # of 8, 12, 4 and 16 bits
            lines.append(
                f' SG_ S{j} : {40 * (j // 4) + (0, 8, 20, 24)[j % 4]}|{(8, 12, 4, 16)[j % 4]}@1+ (0.1,-40) [0|0] "u" A'
            )
    path = folder / "fd.dbc"
    path.write_text("\n".join(lines) + "\n")
    rng, n = np.random.default_rng(1), 40_000
    ids, zeros = rng.integers(256, 276, n).astype(np.uint32), np.zeros(n, np.uint8)
    data = rng.integers(0, 256, (n, 64)).astype(np.uint8)
    length, flags = np.full(n, 64, np.uint8), np.full(n, Flag.FD, np.uint8)
    return "CAN FD, generated", FrameBatch(START + 500 * np.arange(n), ids, length, flags, data, zeros), str(path)


def car_case(folder: Path) -> tuple[str, FrameBatch, str]:
    """A car of opendbc: every message of up to eight bytes 50 times a second, for half a minute, with random data."""
    name, body = next(file for file in dbc_files("opendbc") if file[0].endswith(CAR))
    path = folder / CAR
    path.write_bytes(body)
    # cantools refuses frames of multiplexer values it does not know, of which random data are full
    plain = [m for m in parsing.load(path).messages if not any(s.is_multiplexer for s in m.signals)]
    messages = [m for m in plain if m.length <= 8]
    n, rng = 1500 * len(messages), np.random.default_rng(2)
    ids = np.array([m.frame_id | (EXTENDED if m.is_extended else 0) for m in messages], np.uint32)
    length = np.array([m.length for m in messages], np.uint8)
    order, zeros = np.tile(np.arange(len(messages)), 1500), np.zeros(n, np.uint8)
    data = rng.integers(0, 256, (n, 8)).astype(np.uint8)
    data[np.arange(8) >= length[order][:, None]] = 0
    ts = START + 20_000 * np.repeat(np.arange(1500), len(messages))
    return name, FrameBatch(ts, ids[order], length[order], zeros, data, zeros), str(path)


def cases(arguments: list[str], folder: Path) -> Iterator[tuple[str, FrameBatch, str]]:
    if not arguments:
        frames = SimulatedMachine("bench").frames(START, START + 300 * SECOND).of("can0")
        yield "simulated machine, J1939", frames, str(SimulatedMachine.bindings()["can0"])
        yield car_case(folder)
        yield fd_case(folder)
    for log, dbc in zip(arguments[::2], arguments[1::2], strict=True):
        frames = parsing.read_log(log, tz="UTC")
        bus = frames.channels[np.bincount(frames.channel).argmax()]  # the busiest
        yield f"{Path(log).parent.name}/{Path(log).name} {bus}", frames.of(bus), dbc


def measured(runs: list[tuple[str, int, Run]]) -> dict[str, list[float]]:
    """Nanoseconds a frame of every run, round by round; a slow peer does fewer."""
    times: dict[str, list[float]] = {name: [] for name, _, _ in runs}
    cost = {name: min(seconds(run), seconds(run)) for name, _, run in runs}  # the first one compiles
    for i in range(ROUNDS):
        for name, n, run in runs:
            if cost[name] < 1 or i % 5 == 0:
                repeats = max(1, int(SHORTEST / cost[name]))  # so that it works as in a stream, not from cold caches
                times[name].append(seconds(run, repeats) / n * 1e9)
    return times


def seconds(run: Run, repeats: int = 1) -> float:
    """Of one of ``repeats`` runs."""
    begin = time.perf_counter()
    for _ in range(repeats):
        run()
    return (time.perf_counter() - begin) / repeats


def report(name: str, frames: FrameBatch, times: dict[str, list[float]]) -> dict[str, Any]:
    middle = {run: statistics.median(taken) for run, taken in times.items()}
    print(f"\n{name}: {len(frames):,} frames; nanoseconds a frame: quartiles, and how many times the peers take")
    ours = [run for run in times if run.startswith("ours")]
    theirs = [run for run in times if run not in ours]
    print(f"{'':30}{'25 %':>9}{'median':>9}{'75 %':>9}  " + "".join(f"{peer:>14}" for peer in theirs))
    for run, taken in times.items():
        low, half, high = statistics.quantiles(taken, n=4)
        ratios = "".join(f"{middle[peer] / half:14.1f}" for peer in theirs) if run in ours else ""
        print(f"  {run:28}{low:9.1f}{half:9.1f}{high:9.1f}  {ratios}")
    return {"case": name, "frames": len(frames), "ns_per_frame": times}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("logs", nargs="*", metavar="LOG DBC")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        found = [
            report(name, frames, measured(list(peers(frames, dbc, Path(folder)))))
            for name, frames, dbc in cases(chosen.logs, Path(folder))
        ]
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()

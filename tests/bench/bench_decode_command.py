"""``duco decode`` of a candump log to Parquet against a script of python-can, cantools and pyarrow, alternating.

    python tests/bench/bench_decode_command.py [--megabytes 20] [--peer-megabytes 20] [--rounds 3]

Each run is a process of its own, start to end, imports included; its peak resident memory is the kernel's figure. The
log is five minutes of the simulated machine (both buses, transport sessions, 11- and 29-bit ids) again and again. The
peer writes the same long table; it is given each J1939 message by its PGN, and gives no statuses, no reassembled
messages and no summary. With a log larger than the peer's, the peer's time is extrapolated from its start-up (a log of
one second) and its time a megabyte; the line says so.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from duco_workbench.local.simulation import SimulatedMachine
from duco_workbench.model import EXTENDED, ID_MASK, SECOND

START = 1_760_000_400 * SECOND
MINUTES = 5
MB = 1_000_000
PATHS = {bus: str(path) for bus, path in SimulatedMachine.bindings().items()}

PEER = """
import sys
import can, cantools, pyarrow as pa, pyarrow.parquet as pq
from duco_workbench.j1939 import match_key

log, out, *pairs = sys.argv[1:]
exact, groups = {}, {}
for pair in pairs:
    bus, path = pair.split("=")
    for m in cantools.database.load_file(path).messages:
        units = {s.name: s.unit or "" for s in m.signals}
        exact[bus, m.is_extended_frame, m.frame_id] = m, units
        if m.is_extended_frame and m.protocol == "j1939":
            groups[bus, match_key(m.frame_id)] = m, units
names = pa.dictionary(pa.int32(), pa.string())
schema = pa.schema([("ts", pa.timestamp("us", "UTC")), ("signal", names), ("source", names), ("value", pa.float64()),
                    ("unit", names)])
columns = [[] for _ in schema]
ts, signal, source, value, unit = columns

def flush():
    writer.write_table(pa.table([pa.array(c, f.type) for c, f in zip(columns, schema)], schema=schema))
    for c in columns:
        c.clear()

with pq.ParquetWriter(out, schema, compression="zstd", compression_level=1) as writer:
    for frame in can.LogReader(log):
        bus = frame.channel
        found = exact.get((bus, frame.is_extended_id, frame.arbitration_id))
        if found is None and frame.is_extended_id:
            found = groups.get((bus, match_key(frame.arbitration_id)))
        if found is None:
            continue
        message, units = found
        at = round(frame.timestamp * 1e6)
        sender = f"{bus}:{frame.arbitration_id & 0xFF:02x}" if frame.is_extended_id else bus
        for name, number in message.decode(frame.data, decode_choices=False, allow_truncated=True).items():
            ts.append(at)
            signal.append(f"{message.name}.{name}")
            source.append(sender)
            value.append(number)
            unit.append(units[name])
        if len(ts) > 500_000:
            flush()
    flush()
"""


def lines(repeat: int) -> Iterator[str]:
    """Five minutes of traffic, ``repeat`` times, one after the other."""
    length = MINUTES * 60 * SECOND
    f = SimulatedMachine("bench").frames(START, START + length)
    columns = (f.ts, f.arbitration_id, f.dlc, f.channel)
    rows = [
        (ts, f" {f.channels[c]} {i & ID_MASK:0{8 if i & EXTENDED else 3}X}#{f.data[row, :n].tobytes().hex().upper()}\n")
        for row, (ts, i, n, c) in enumerate(zip(*(column.tolist() for column in columns), strict=True))
    ]
    for k in range(repeat):
        yield from (f"({(t := ts + k * length) // SECOND}.{t % SECOND:06d}){rest}" for ts, rest in rows)


def write_log(path: Path, megabytes: float) -> float:
    """Whole lines up to the size; returns it in megabytes."""
    written = 0
    with path.open("w") as file:
        for line in lines(int(megabytes) + 1):
            written += file.write(line)
            if written >= megabytes * MB:
                break
    return written / MB


class Run(NamedTuple):
    """Seconds from start to end, seconds of processor, and peak resident megabytes."""

    seconds: float
    cpu: float
    peak: float


def run(command: list[str], bytecode: Path) -> Run:
    """A process from start to end; imports come compiled, as installed."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(bytecode), "PYTHONDONTWRITEBYTECODE": ""}
    begin = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command[:4]} failed")
    return Run(time.perf_counter() - begin, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000)


def ours(log: Path, out: Path) -> list[str]:
    dbc = [part for bus, path in PATHS.items() for part in ("--dbc", f"{bus}={path}")]
    return [sys.executable, "-m", "duco_workbench.cli", "decode", str(log), *dbc, "-o", str(out), "--force"]


def survey(log: Path) -> list[str]:
    dbc = [part for bus, path in PATHS.items() for part in ("--dbc", f"{bus}={path}")]
    return [sys.executable, "-m", "duco_workbench.cli", "inspect", str(log), *dbc]


def peer(log: Path, out: Path) -> list[str]:
    return [sys.executable, "-c", PEER, str(log), str(out), *(f"{bus}={path}" for bus, path in PATHS.items())]


def report(name: str, runs: list[Run], megabytes: float) -> float:
    """Prints and returns the median time."""
    took = statistics.median(one.seconds for one in runs)
    cpu, peak = statistics.median(one.cpu for one in runs), max(one.peak for one in runs)
    shown = " ".join(f"{one.seconds:.2f}" for one in runs)
    print(f"  {name:15} {megabytes:7.1f} MB   median {took:7.2f} s ({shown})   CPU {cpu:6.2f} s   peak {peak:4.0f} MB")
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=20, help="of log for us")
    parser.add_argument("--peer-megabytes", type=float, default=20, help="of log for the peer, at most as much")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="duco-bench-") as name:
        compare(Path(name), options.megabytes, min(options.peer_megabytes, options.megabytes), options.rounds)


def compare(folder: Path, megabytes: float, peer_megabytes: float, rounds: int) -> None:
    out = folder / "out.parquet"
    full, part, tiny = folder / "full.log", folder / "part.log", folder / "tiny.log"
    size, part_size, tiny_size = write_log(full, megabytes), write_log(part, peer_megabytes), write_log(tiny, 0.01)
    bytecode = folder / "bytecode"
    for command in (ours(tiny, out), peer(tiny, out), survey(tiny)):  # kernels and bytecode come from the cache
        run(command, bytecode)
    start, mine, theirs, surveys = [], [], [], []
    for _ in range(rounds):
        start.append(run(peer(tiny, out), bytecode))
        theirs.append(run(peer(part, out), bytecode))
        mine.append(run(ours(full, out), bytecode))
        surveys.append(run(survey(full), bytecode))
    print(f"candump to Parquet, whole processes, {rounds} alternating rounds")
    began = report("peer, start-up", start, tiny_size)
    took = report("peer", theirs, part_size)
    us = report("duco decode", mine, size)
    report("duco inspect", surveys, size)
    whole = began + (took - began) / part_size * size
    extrapolated = "" if size == part_size else f", the peer extrapolated to {whole:,.0f} s"
    print(f"  {'ratio':15} {whole / us:.1f} on {size:,.0f} MB{extrapolated}")


if __name__ == "__main__":
    main()

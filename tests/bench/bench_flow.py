"""From the raw log to rows that can be queried, hop by hop, beside what a script would do.   make bench-flow

    python tests/bench/bench_flow.py [--machines 40] [--frames 2500] [--log kafka://127.0.0.1:9092]

A *machine-second* is one envelope: so many frames of both buses of a simulated machine, brought into one second. Each
hop is run alone on the same envelopes, by the classes of the pipelines, on a real log and store. Printed are the
microseconds it takes and those it keeps a core of this process busy (a server's work is in the former only), and how
many machines a second one such hop would bear. The script is a consumer that decodes frame by frame with cantools and
inserts the rows of each message by themselves.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cantools

sys.path.insert(0, str(Path(__file__).parents[1]))

from duco_workbench import testing, wire
from duco_workbench.flows.validate import validator
from duco_workbench.j1939 import match_key
from duco_workbench.local.simulation import SimulatedMachine
from duco_workbench.local.store.process import running
from duco_workbench.log import log_sink, log_source
from duco_workbench.log_address import LogAddress
from duco_workbench.model import SECOND, Binding, Clock, Envelope, Manifest, Record
from duco_workbench.parsing.logic import Knowledge, ManifestLogic
from duco_workbench.schema import migrate
from duco_workbench.sinks.clickhouse import RawArchive, SampleTable, connect
from duco_workbench.topics import PARSED, RAW, Topic

START = 1_760_000_400 * SECOND
ROUNDS = 7
Hop = Callable[[], Awaitable[Any]]


def record(number: int, frames: int) -> Record:
    machine = SimulatedMachine(f"m{number:04}")
    batch = machine.frames(START, START + 3600 * SECOND // 10)[:frames]
    span = int(batch.ts[-1] - batch.ts[0]) + 1
    batch = replace(batch, ts=START + (batch.ts - batch.ts[0]) * (SECOND - 1) // span)
    ts, message_id = int(batch.ts[-1]), f"{machine.name}:1:1"
    payload = wire.Can(wire.pack_blocks(batch))
    envelope = Envelope(
        msg_type="vehicle_can",
        chassis_id=machine.name,
        message_id=message_id,
        ts=ts,
        realtime=False,
        clock=Clock("gnss", 0),
        payload=payload,
    )
    return Record("demo", machine.name, "vehicle_can", message_id, ts, ts + 1000, ts + 2000, wire.encode(envelope))


def logic_for(records: Sequence[Record]) -> ManifestLogic:
    paths = SimulatedMachine.bindings()
    bindings = tuple(Binding(bus, path.stem, 1, path.read_text()) for bus, path in paths.items())
    machines = [(r.tenant, r.chassis_id) for r in records]
    manifests = tuple(Manifest(1, tenant, chassis_id, bindings) for tenant, chassis_id in machines)
    return ManifestLogic(Knowledge(1, frozenset(machines), manifests))


async def through(address: LogAddress, topic: Topic[Any], items: Sequence[Any]) -> tuple[Hop, Hop]:
    """Writing a batch to the log, and reading it back."""
    sink, source = log_sink(address, topic), log_source(address, topic, "bench")
    await sink.open()
    await source.open()
    deliveries = source.deliveries()

    async def write() -> None:
        await sink.write(items)

    async def read() -> None:
        left = len(items)
        while left > 0:
            delivery = await anext(deliveries)
            left -= len(delivery.items)
            if delivery.items:
                await source.commit(delivery)

    return write, read


def by_script(records: Sequence[Record], store_url: str) -> Hop:
    """A message at a time, a frame at a time, an insert a message."""
    databases = {
        bus: cantools.database.load_file(path, strict=False) for bus, path in SimulatedMachine.bindings().items()
    }
    groups = {bus: {match_key(m.frame_id): m for m in database.messages} for bus, database in databases.items()}
    client = connect(store_url)
    columns = ["tenant", "chassis_id", "signal", "source", "ts", "value", "status", "logic_version"]

    async def run() -> None:
        for one in records:
            rows = []
            for block in wire.decode(one.body).payload.blocks:
                frames = wire.unpack_blocks([block])
                for ts, number, data in zip(
                    frames.ts.tolist(), frames.arbitration_id.tolist(), frames.data, strict=True
                ):
                    message = groups[block.ch].get(match_key(number & 0x1FFF_FFFF))
                    if message is not None:
                        source = f"{block.ch}:{number & 0xFF:02x}"
                        rows += [
                            ("script", one.chassis_id, f"{message.name}.{name}", source, time_of(ts), value, "ok", 1)
                            for name, value in values_of(message, data.tobytes()).items()
                        ]
            client.insert("ce_technology", rows, column_names=columns)

    return run


def time_of(ts: int) -> datetime:
    return datetime.fromtimestamp(ts / 1e6, UTC)


def values_of(message: Any, data: bytes) -> dict[str, float]:
    """Nothing where the multiplexer has a value that the database does not list."""
    try:
        values: dict[str, float] = message.decode(data, decode_choices=False)
        return values
    except cantools.database.DecodeError:
        return {}


async def measure(hop: Hop, count: int, rounds: int = ROUNDS) -> tuple[float, float]:
    """Median microseconds of wall clock and of this process, a machine-second."""
    await hop()
    walls, cores = [], []
    for _ in range(rounds):
        wall, core = time.perf_counter(), time.process_time()
        await hop()
        walls.append(time.perf_counter() - wall)
        cores.append(time.process_time() - core)
    return statistics.median(walls) / count * 1e6, statistics.median(cores) / count * 1e6


async def measured(records: Sequence[Record], address: LogAddress, store_url: str) -> dict[str, tuple[float, float]]:
    n, logic, validate = len(records), logic_for(records), validator(max_age_days=100_000)
    messages = validate(records).ok
    outcome = logic.parse(messages)
    assert not outcome.failed
    parsed = outcome.ok
    entries = list(PARSED.encode(parsed))
    print(
        f"{n} machine-seconds of {len(wire.unpack_blocks(messages[0].envelope.payload.blocks)):,} frames: "
        f"{sum(len(r.body) for r in records) / n / 1000:.0f} kB raw, "
        f"{sum(len(e.body) for e in entries) / n / 1000:.0f} kB parsed, "
        f"{sum(len(p.samples) for p in parsed) / n:,.0f} values kept each\n"
    )

    async def call(step: Callable[[], Any]) -> None:
        step()

    raw_write, raw_read = await through(address, RAW, records)
    parsed_write, parsed_read = await through(address, PARSED, parsed)
    archive, table = RawArchive(store_url), SampleTable(store_url)

    async def raw_both() -> None:
        await raw_write()
        await raw_read()

    async def parsed_both() -> None:
        await parsed_write()
        await parsed_read()

    hops: dict[str, Hop] = {
        "raw log, written and read": raw_both,
        "validate": lambda: call(lambda: validate(records)),
        "unpack, decode, thin": lambda: call(lambda: logic.parse(messages)),
        "raw archive": lambda: archive.write(records),
        "parsed log, written and read": parsed_both,
        "samples to the store": lambda: table.write(parsed),
    }
    found = {name: await measure(hop, n) for name, hop in hops.items()}
    few = records[: max(1, n // 20)]
    found["script: cantools, an insert a message"] = await measure(by_script(few, store_url), len(few), rounds=3)
    return found


def show(found: dict[str, tuple[float, float]]) -> None:
    ours = {name: times for name, times in found.items() if not name.startswith("script")}
    total = tuple(sum(times[i] for times in ours.values()) for i in (0, 1))
    script = next(times for name, times in found.items() if name.startswith("script"))
    print(f"{'hop':40} {'us wall':>9} {'us core':>9} {'machines/s':>11}")
    for name, (wall, core) in [*ours.items(), ("all hops, one after the other", total), ("script", script)]:
        print(f"{name:40} {wall:9,.0f} {core:9,.0f} {1e6 / wall:11,.0f}")
    slowest = max(ours, key=lambda name: ours[name][0])
    print(f"\nthe slowest hop: {slowest}; the script takes {script[0] / total[0]:.0f} times as long as all hops")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--machines", type=int, default=40)
    parser.add_argument("--frames", type=int, default=2500)
    parser.add_argument("--log", default="")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    records = [record(number, options.frames) for number in range(options.machines)]
    with (
        tempfile.TemporaryDirectory() as folder,
        testing.valkey(Path(folder)) as valkey,
        running(Path(folder, "s")) as store,
    ):
        migrate(connect(store.url))
        found = asyncio.run(measured(records, LogAddress(options.log or valkey), store.url))
    show(found)
    if options.json:
        options.json.write_text(json.dumps(found))


if __name__ == "__main__":
    main()

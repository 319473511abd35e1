"""From the raw log to rows that can be queried, through the running stack, beside a script.   make bench-flow

    python tests/bench/bench_stack.py [--machines 200] [--seconds 20] [--log redis|kafka]

The raw log is filled as an ingestor fills it, as fast as it takes it, with machine-seconds (:mod:`machine_seconds`);
the stack's own processor, distributor and store do the rest. The clock stops when the distributor has committed the
last of it. Printed are rates, and the microseconds of a core that each process took for a machine-second.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import machine_seconds
import psutil
from bench_flow import SCRIPT, by_script, measure

sys.path.insert(0, str(Path(__file__).parents[1]))

from faults import plant

from duco_workbench.catalog.client import CatalogClient
from duco_workbench.log import log_sink
from duco_workbench.model import Record
from duco_workbench.settle import settled
from duco_workbench.sinks.clickhouse import connect
from duco_workbench.topics import RAW

WARM = 2  # seconds of all machines that go before
AIM = 1000  # machines


def know(catalog: CatalogClient, records: Sequence[Record]) -> None:
    """Every machine, with a manifest of its own."""
    tenant, database = machine_seconds.TENANT, machine_seconds.DATABASE
    buses = [f"can{bus}" for bus in range(machine_seconds.BUSES)]
    catalog.ensure_tenant(tenant)
    catalog.put_database(tenant, database.stem, database.read_text())
    for record in records:
        catalog.ensure_device(tenant, record.chassis_id)
        catalog.put_manifest(tenant, record.chassis_id, dict.fromkeys(buses, database.stem))


async def pass_through(stack: plant.Plant, seconds: Sequence[Sequence[Record]]) -> None:
    sink = log_sink(stack.settings.log, RAW)
    await sink.open()
    for records in seconds:
        await sink.write(records)
    await settled(stack.settings.log)
    await sink.close()


def cores(stack: plant.Plant) -> dict[str, float]:
    """Seconds each process of the path has had of a core."""
    parts = (*plant.LOGS[stack.log], "processor", "distributor", "store", "live")
    return {part: sum(psutil.Process(stack.pid(part)).cpu_times()[:2]) for part in parts}


async def run(stack: plant.Plant, machines: int, count: int) -> dict[str, float]:
    seconds = machine_seconds.seconds(machines, WARM + count)
    know(stack.catalog, seconds[0])
    store, n = connect(stack.settings.store_url), machines * count
    await asyncio.sleep(3)  # the processor asks the catalog every other second
    await pass_through(stack, seconds[:WARM])
    kept = -rows(store, "samples")
    before, begin = cores(stack), time.perf_counter()
    await pass_through(stack, seconds[WARM:])
    wall, after = time.perf_counter() - begin, cores(stack)
    await quiet(store)
    kept += rows(store, "samples")
    there, sent = rows(store, "parsed_messages FINAL"), machines * len(seconds)
    assert there == sent, f"of {sent} messages {there} are there"
    took = {part: (after[part] - before[part]) / n * 1e6 for part in after}
    took["store, merges afterwards"] = (cores(stack)["store"] - after["store"]) / n * 1e6
    values = machine_seconds.averages()[1]
    show(took, n / wall, values, kept / n)
    script = await measure(by_script(stack.settings.store_url), [seconds[0][:2]] * 4, 2)
    print(f"{SCRIPT:40} {script.core:8,.0f} {script.core / sum(took.values()):7.0f}x, {1e6 / script.wall:.0f} machines")
    return {**took, "machines": n / wall, "script": script.core}


async def quiet(client: Any, patience_s: float = 3.0) -> None:
    """Until the store has merged nothing for so long."""
    last = time.monotonic()
    while time.monotonic() - last < patience_s:
        if client.command("SELECT count() FROM system.merges"):
            last = time.monotonic()
        await asyncio.sleep(0.1)


def rows(store: Any, table: str) -> int:
    return int(store.command(f"SELECT count() FROM {table}"))


def show(took: dict[str, float], rate: float, values: float, kept: float) -> None:
    total = sum(took.values())
    print(f"queryable: {rate:,.0f} machine-seconds a second, {rate * values:,.0f} values ({rate * kept:,.0f} kept)")
    print(f"{rate / AIM:.0%} of the aim of {AIM:,} machines; one core bears {1e6 / total:,.0f}\n")
    print(f"{'us of a core, a machine-second':40}")
    for part, core in [*took.items(), ("all", total)]:
        print(f"{part:40} {core:8,.0f} {core / total:8.0%}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--machines", type=int, default=200)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--log", choices=tuple(plant.LOGS), default="redis")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, plant.running(Path(folder), machines=0, log=options.log) as stack:
        found = asyncio.run(run(stack, options.machines, options.seconds))
    if options.json:
        options.json.write_text(json.dumps(found))


if __name__ == "__main__":
    main()

"""From the raw log to rows that can be queried, hop by hop, beside what a script would do.   make bench-flow

    python tests/bench/bench_flow.py [--machines 200] [--log redis|kafka]

Each hop is run alone on machine-seconds (:mod:`machine_seconds`), by the classes of the pipelines, on a real log and
store; a round is one second of all machines. Printed are microseconds a machine-second: of wall clock, and of a core in
this process and in the servers. The store merges what it has as more comes: here all of it once, as a hop of its own.
The script is a consumer that decodes frame by frame with cantools and inserts the rows of each message by themselves.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import cantools
import machine_seconds
import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from duco_workbench import testing, wire
from duco_workbench.flows.validate import validator
from duco_workbench.j1939 import match_key
from duco_workbench.local.store.process import running
from duco_workbench.log import log_sink, log_source
from duco_workbench.log_address import LogAddress
from duco_workbench.model import Message, Record
from duco_workbench.schema import migrate
from duco_workbench.sinks.clickhouse import RawArchive, SampleTable, connect
from duco_workbench.topics import PARSED, RAW, Topic

ROUNDS = 7
MERGES, SCRIPT = "merged once in the store", "script: cantools, an insert a message"
Seconds = Sequence[Any]  # what a hop takes, one item a round
Hop = Callable[[Any], Awaitable[Any]]


class Cost(NamedTuple):
    """Seconds, or microseconds a machine-second."""

    wall: float
    here: float  # of a core, in this process
    servers: float  # of a core, in those it has started

    @classmethod
    def now(cls) -> Cost:
        return cls(time.perf_counter(), time.process_time(), sum(map(_cpu, psutil.Process().children(recursive=True))))

    def since(self, begin: Cost, count: int) -> Cost:
        return Cost(*((now - then) / count * 1e6 for now, then in zip(self, begin, strict=True)))

    @classmethod
    def typical(cls, costs: Sequence[Cost]) -> Cost:
        """Medians; of the servers, whose time is counted in steps of 10 ms, the mean."""
        wall, here, servers = zip(*costs, strict=True)
        return cls(statistics.median(wall), statistics.median(here), statistics.mean(servers))

    @property
    def core(self) -> float:
        return self.here + self.servers


def _cpu(process: psutil.Process) -> float:
    with contextlib.suppress(psutil.NoSuchProcess):
        times = process.cpu_times()
        return float(times.user + times.system)
    return 0.0


async def measure(hop: Hop, seconds: Seconds, count: int) -> Cost:
    """The first second is to warm up."""
    costs = []
    for second in seconds:
        begin = Cost.now()
        await hop(second)
        costs.append(Cost.now().since(begin, count))
    return Cost.typical(costs[1:])


async def through(address: LogAddress, topic: Topic[Any], seconds: Seconds, count: int) -> Cost:
    """Written to the log, and read back."""
    sink, source = log_sink(address, topic), log_source(address, topic, "bench")
    await sink.open()
    await source.open()
    deliveries = source.deliveries()

    async def both(items: Sequence[Any]) -> None:
        await sink.write(items)
        left = len(items)
        while left > 0:
            delivery = await anext(deliveries)
            left -= len(delivery.items)
            if delivery.items:
                await source.commit(delivery)

    try:
        return await measure(both, seconds, count)
    finally:
        await source.close()
        await sink.close()


async def hops(records: Seconds, address: LogAddress, store_url: str) -> dict[str, Cost]:
    n, validate = len(records[0]), validator(max_age_days=100_000)
    logic = machine_seconds.logic([record.chassis_id for record in records[0]])
    archive, table, client = RawArchive(store_url), SampleTable(store_url), connect(store_url)
    messages: list[Sequence[Message]] = [validate(second).ok for second in records]
    parsed = [logic.parse(second).ok for second in messages]
    describe(messages[0], parsed)

    def plain(step: Callable[[Any], Any]) -> Hop:
        async def call(second: Any) -> None:
            step(second)

        return call

    client.command("SYSTEM STOP MERGES")
    found = {
        "raw log, written and read": await through(address, RAW, records, n),
        "validate": await measure(plain(validate), records, n),
        "unpack, decode, thin": await measure(plain(logic.parse), messages, n),
        "raw archive": await measure(archive.write, records, n),
        "parsed log, written and read": await through(address, PARSED, parsed, n),
        "samples to the store": await measure(table.write, parsed, n),
    }
    begin = Cost.now()
    client.command("SYSTEM START MERGES")
    for name in ("ce_technology", "raw_data_cache_store"):
        client.command(f"OPTIMIZE TABLE {name} FINAL")
    found[MERGES] = Cost.now().since(begin, n * len(records))
    few = records[0][: max(1, n // 100)]
    found[SCRIPT] = await measure(by_script(store_url), [few] * 4, len(few))
    return found


def describe(messages: Sequence[Message], parsed: Sequence[Sequence[Any]]) -> None:
    """What the machine-seconds are."""
    n, (frames, values) = len(messages), machine_seconds.averages()
    assert all(len(second) == n for second in parsed), "some were refused"
    kept = sum(len(item.samples) for second in parsed for item in second) / n / len(parsed)
    print(
        f"{n} machines, {len(parsed)} s; a machine-second: {frames:,.0f} frames, "
        f"{sum(len(m.record.body) for m in messages) / n / 1000:.0f} kB, "
        f"{len(parsed[0][0].samples.signals):,} series; "
        f"of {values:,.0f} values the thinning keeps {kept:,.0f} ({kept / values:.0%})\n"
    )


def by_script(store_url: str) -> Hop:
    """A message at a time, a frame at a time, an insert a message."""
    database = cantools.database.load_file(machine_seconds.DATABASE, strict=False)
    groups = {match_key(message.frame_id): message for message in database.messages}
    client = connect(store_url)
    columns = ["tenant", "chassis_id", "signal", "source", "ts", "value", "status", "logic_version"]

    async def run(records: Sequence[Record]) -> None:
        for one in records:
            rows = []
            for block in wire.decode(one.body).payload.blocks:
                frames = wire.unpack_blocks([block])
                columns_of_frames = frames.ts.tolist(), frames.arbitration_id.tolist(), frames.data
                for ts, number, data in zip(*columns_of_frames, strict=True):
                    message = groups.get(match_key(number & 0x1FFF_FFFF))
                    if message is not None and message.length <= len(data):
                        source = f"{block.ch}:{number & 0xFF:02x}"
                        rows += [
                            ("script", one.chassis_id, f"{message.name}.{name}", source, time_of(ts), value, "ok", 1)
                            for name, value in message.decode(data.tobytes(), decode_choices=False).items()
                        ]
            client.insert("ce_technology", rows, column_names=columns)

    return run


def time_of(ts: int) -> datetime:
    return datetime.fromtimestamp(ts / 1e6, UTC)


def show(found: dict[str, Cost]) -> None:
    ours = {name: cost for name, cost in found.items() if name != SCRIPT}
    script, total = found[SCRIPT], Cost(*map(sum, zip(*ours.values(), strict=True)))
    print(f"{'us a machine-second':40} {'wall':>8} {'here':>8} {'servers':>8} {'machines a core':>16}")
    for name, cost in [*ours.items(), ("all hops", total), (SCRIPT, script)]:
        print(f"{name:40} {cost.wall:8,.0f} {cost.here:8,.0f} {cost.servers:8,.0f} {1e6 / cost.core:16,.0f}")
    slowest = max(ours, key=lambda name: ours[name].core)
    print(f"\nthe dearest hop: {slowest}; the script takes {script.core / total.core:.0f} times the cores of all hops")


@contextlib.contextmanager
def servers(folder: Path, log: str) -> Iterator[tuple[LogAddress, str]]:
    """A log and a store with its schema."""
    with contextlib.ExitStack() as stack:
        if log == "kafka":
            url = stack.enter_context(testing.kafka(folder / "kafka")).url
        else:
            url = stack.enter_context(testing.valkey(folder, "--appendonly", "yes"))
        store = stack.enter_context(running(folder / "store"))
        migrate(connect(store.url))
        yield LogAddress(url, memory=4 << 30), store.url


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--machines", type=int, default=200)
    parser.add_argument("--log", choices=("redis", "kafka"), default="redis")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    records = machine_seconds.seconds(options.machines, ROUNDS + 1)
    with tempfile.TemporaryDirectory() as folder, servers(Path(folder), options.log) as (log, store_url):
        found = asyncio.run(hops(records, log, store_url))
    show(found)
    if options.json:
        options.json.write_text(json.dumps({name: cost._asdict() for name, cost in found.items()}))


if __name__ == "__main__":
    main()

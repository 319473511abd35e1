"""Processor and distributor between a real log and a real store, in a test's own loop and with its own logic."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

from stack_kit import PATIENCE_S

from duco_workbench.flows.distributor import DistributorSinks, dead_letter_office, distributor
from duco_workbench.flows.processor import ProcessorSinks, processor
from duco_workbench.flows.validate import validator
from duco_workbench.log import log_gauge, log_sink, log_source
from duco_workbench.log_address import LogAddress
from duco_workbench.model import Record
from duco_workbench.parsing.logic import ManifestLogic
from duco_workbench.ports import Sink
from duco_workbench.runtime import Stop, run_flow
from duco_workbench.sinks.clickhouse import DeadLetterTable, RawArchive, SampleTable, connect
from duco_workbench.sinks.snapshot import SnapshotSink
from duco_workbench.topics import DEAD_LETTERS, PARSED, RAW

DBC = """VERSION ""
BS_:
BU_: A
BO_ 2364540158 EEC1: 8 A
 SG_ EngSpeed : 24|16@1+ (0.125,0) [0|8031.875] "rpm" A
BA_DEF_ BO_ "VFrameFormat" ENUM "StandardCAN","ExtendedCAN","reserved","J1939PG";
BA_DEF_DEF_ "VFrameFormat" "J1939PG";
"""
T = TypeVar("T")
READERS = ((RAW.name, "processor"), (PARSED.name, "distributor"), (DEAD_LETTERS.name, "distributor"))


class Timed(Generic[T]):
    """A sink that remembers its batches; ``at``: when (monotonic) each message was first safe there."""

    def __init__(self, sink: Sink[T]) -> None:
        self._sink = sink
        self.open, self.close = sink.open, sink.close
        self.batches: list[Sequence[T]] = []
        self.at: dict[str, float] = {}

    async def write(self, batch: Sequence[T]) -> None:
        await self._sink.write(batch)
        self.batches.append(batch)
        for item in batch:
            self.at.setdefault(item.record.message_id, time.monotonic())  # type: ignore[attr-defined]


class Pipes:
    """Its two ends: ``send`` to the raw log, ``rows`` of the store; and when what came there."""

    def __init__(self, log: LogAddress, store_url: str) -> None:
        self.log, self.store_url = log, store_url
        self.raw = log_sink(log, RAW)
        self.stored = Timed(SampleTable(store_url))
        self.refused = Timed(DeadLetterTable(store_url))

    async def send(self, *records: Record) -> None:
        await self.raw.write(records)

    async def put(self, topic: Any, *items: Any) -> None:
        sink = log_sink(self.log, topic)
        await sink.write(items)
        await sink.close()

    async def idle(self, seconds: float = PATIENCE_S) -> None:
        """Until every reader has committed everything."""
        async with asyncio.timeout(seconds):
            async with log_gauge(self.log) as gauge:
                while any([await gauge.lag(*reader) for reader in READERS]):
                    await asyncio.sleep(0.05)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with connect(self.store_url) as client:
            return [tuple(row) for row in client.query(query).result_rows]


@asynccontextmanager
async def running_pipes(log: LogAddress, live_url: str, store_url: str, logic: ManifestLogic) -> AsyncIterator[Pipes]:
    """As the pipelines are drawn, for the block."""
    stop = Stop()
    to = ProcessorSinks(RawArchive(store_url), log_sink(log, PARSED), log_sink(log, DEAD_LETTERS))
    pipes = Pipes(log, store_url)
    out = DistributorSinks(pipes.stored, SnapshotSink(live_url), DeadLetterTable(store_url))
    flows = (
        run_flow(
            log_source(log, RAW, "processor"),
            lambda records: processor(records, validator(), logic, to),
            (to.raw_archive, to.parsed_topic, to.dead_letters),
            stop,
        ),
        run_flow(
            log_source(log, PARSED, "distributor"),
            lambda parsed: distributor(parsed, out),
            (out.store, out.snapshot, out.letters),
            stop,
        ),
        run_flow(
            log_source(log, DEAD_LETTERS, "distributor"),
            lambda batches: dead_letter_office(batches, pipes.refused),
            (pipes.refused,),
            stop,
        ),
    )
    tasks = [asyncio.create_task(flow) for flow in flows]
    try:
        await pipes.raw.open()
        yield pipes
    finally:
        stop.set()
        await asyncio.gather(*tasks, pipes.raw.close())

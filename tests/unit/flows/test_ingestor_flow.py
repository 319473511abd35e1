"""The ingestor's box and the realtime branch behind it: nothing that happens there reaches the raw log."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from records import encoded, record

from duco_workbench import wire
from duco_workbench.columns import Parsed, Samples
from duco_workbench.flows.ingestor import IngestorSinks, ingestor
from duco_workbench.flows.realtime import realtime
from duco_workbench.flows.validate import validator
from duco_workbench.judge import each
from duco_workbench.model import Message, Record
from duco_workbench.ports import Outcome
from duco_workbench.runtime import Stop, run_flow
from duco_workbench.sinks.handover import HandOver, beside
from duco_workbench.sources.memory import MemoryLog
from duco_workbench.testing import PATIENCE_S


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A branch on a busy computer may take longer for its last word than a stop waits."""
    monkeypatch.setattr("duco_workbench.sinks.handover.LAST_WORD_S", PATIENCE_S)


class Logic:
    """Decodes nothing. An event named "odd" is a fault of ours; one named "stuck" waits until ``release``."""

    def __init__(self) -> None:
        self.threads: set[str] = set()
        self.stuck, self.release = threading.Event(), threading.Event()

    def parse(self, messages: Sequence[Message]) -> Outcome[Parsed]:
        self.threads.add(threading.current_thread().name)
        return each(messages, lambda m: m.record, self._parse)

    def _parse(self, message: Message) -> Parsed:
        name = message.envelope.payload.name
        if name == "odd":
            raise ZeroDivisionError("a fault of ours")
        if name == "stuck":
            self.stuck.set()
            self.release.wait(60)
        return Parsed(message.record, message.envelope.realtime, 1, Samples.empty())


class Collect:
    """A sink that keeps what it was given."""

    def __init__(self) -> None:
        self.items: list[Any] = []

    async def open(self) -> None: ...

    async def write(self, batch: Sequence[Any]) -> None:
        self.items += batch

    async def close(self) -> None: ...


def event(seq: int, name: str = "key_on", realtime: bool = True) -> Record:
    return record(seq, encoded("vehicle_event", wire.EventBody(name), seq=seq, realtime=realtime))


@asynccontextmanager
async def branch(logic: Logic, live: Any, records: HandOver[Record]) -> AsyncIterator[None]:
    async def work() -> None:
        await run_flow(records.source, lambda r: realtime(r, validator(), logic, live), (live,), Stop())

    async with beside("the branch", work):
        yield


async def ingest(items: Sequence[Record], records: HandOver[Record]) -> Collect:
    raw = Collect()
    log = MemoryLog(items, ends=True)
    await run_flow(log, lambda r: ingestor(r, IngestorSinks(raw, records)), (raw, records), Stop())
    assert log.committed == len(items)
    return raw


async def test_everything_goes_to_the_log_and_what_is_realtime_to_the_live_stream_too() -> None:
    items = [event(1, realtime=False), event(2), record(3, b"{"), record(4, b"\xff"), event(5, "odd"), event(6)]
    logic, live, records = Logic(), Collect(), HandOver[Record]()
    async with branch(logic, live, records):
        raw = await ingest(items, records)
    assert raw.items == items
    assert [p.record.message_id for p in live.items] == ["m1:1:2", "m1:1:6"]
    assert logic.threads == {"the branch"}
    assert records.dropped == 0


async def test_json_nested_beyond_all_reason_stops_neither() -> None:
    head = encoded("vehicle_event", wire.EventBody("x"), seq=1, realtime=True).removesuffix(b"}")
    deep = record(1, head + b',"more":' + b"[" * 200_000)
    live, records = Collect(), HandOver[Record]()
    async with branch(Logic(), live, records):
        raw = await ingest([deep, event(2)], records)
    assert raw.items == [deep, event(2)]
    assert [p.record.message_id for p in live.items] == ["m1:1:2"]


async def test_a_branch_that_hangs_delays_no_commit_and_the_newest_are_kept(caplog: pytest.LogCaptureFixture) -> None:
    items = [event(seq) for seq in range(2, 500)]
    logic, live, records = Logic(), Collect(), HandOver[Record](most=10)
    async with branch(logic, live, records):
        await records.write([event(1, "stuck")])
        assert await asyncio.to_thread(logic.stuck.wait, 30)
        raw = await ingest(items, records)  # ends and commits while the branch hangs
        assert raw.items == items
        assert not live.items
        logic.release.set()
    assert [p.record.message_id for p in live.items] == [f"m1:1:{seq}" for seq in (1, *range(490, 500))]
    assert records.dropped == 498 - 10
    assert not caplog.records


async def test_a_branch_that_never_ends_is_left_behind(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("duco_workbench.sinks.handover.LAST_WORD_S", 0.2)
    logic, records = Logic(), HandOver[Record]()
    try:
        async with branch(logic, Collect(), records):
            await ingest([event(1, "stuck")], records)
            assert await asyncio.to_thread(logic.stuck.wait, 30)
        assert [r.getMessage() for r in caplog.records] == ["the branch does not end and is left behind"]
    finally:
        logic.release.set()


async def test_a_fault_in_the_branch_begins_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(Collect):
        faults = 1

        async def write(self, batch: Sequence[Any]) -> None:
            if self.faults:
                self.faults -= 1
                raise KeyError("a bug")
            await super().write(batch)

    monkeypatch.setattr("duco_workbench.sinks.handover.PAUSE_S", 0.0)
    live, records = Broken(), HandOver[Record]()
    async with branch(Logic(), live, records):
        await records.write([event(1)])
        async with asyncio.timeout(10):
            while live.faults or len(records.waiting):
                await asyncio.sleep(0.01)
            await records.write([event(2)])
            while not live.items:
                await asyncio.sleep(0.01)
        await records.close()
    assert [p.record.message_id for p in live.items] == ["m1:1:2"]


async def test_nobody_need_be_at_the_other_end() -> None:
    records = HandOver[Record](most=3)
    raw = await ingest([event(seq) for seq in range(1, 6)], records)
    assert len(raw.items) == 5
    assert records.dropped == 2

"""The processor's box on memory: what becomes a dead letter, what goes on, and what is committed when a sink fails."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from records import T, encoded, record

from duco_workbench import wire
from duco_workbench.columns import Parsed, Samples
from duco_workbench.errors import ServiceError
from duco_workbench.flows.processor import ProcessorSinks, processor
from duco_workbench.flows.validate import validator
from duco_workbench.judge import DAY, each
from duco_workbench.model import SECOND, Message
from duco_workbench.ports import Outcome
from duco_workbench.runtime import Stop, run_flow
from duco_workbench.sources.memory import MemoryLog
from duco_workbench.testing import PATIENCE_S


class Logic:
    """Decodes nothing; refuses events of the name "odd" as a fault of ours would."""

    def parse(self, messages: Sequence[Message]) -> Outcome[Parsed]:
        return each(messages, lambda m: m.record, self._parse)

    def _parse(self, message: Message) -> Parsed:
        if message.envelope.payload.name == "odd":
            raise ZeroDivisionError("a fault of ours")
        return Parsed(message.record, message.envelope.realtime, 1, Samples.empty())


class Collect:
    """A sink that keeps what it was given, and fails the first ``failures`` writes."""

    def __init__(self, failures: int = 0, error: Exception | None = None) -> None:
        self.items: list[Any] = []
        self.failures, self.error = failures, error or ServiceError("away")
        self.is_open = False

    async def open(self) -> None:
        self.is_open = True

    async def write(self, batch: Sequence[Any]) -> None:
        await asyncio.sleep(0)
        if self.failures:
            self.failures -= 1
            raise self.error
        self.items += batch

    async def close(self) -> None:
        self.is_open = False


async def process(log: MemoryLog[Any], **sinks: Collect) -> ProcessorSinks:
    to = ProcessorSinks(
        **{name: sinks.get(name, Collect()) for name in ("raw_archive", "parsed_topic", "dead_letters")}
    )
    ends = (to.raw_archive, to.parsed_topic, to.dead_letters)
    await run_flow(log, lambda records: processor(records, validator(), Logic(), to), ends, Stop())
    return to


def event(name: str = "key_on", **changes: Any) -> bytes:
    return encoded("vehicle_event", wire.EventBody(name), **changes)


async def test_one_bad_message_is_one_dead_letter_and_touches_nothing_else() -> None:
    good, odd, cut = record(1), record(2, event("odd", seq=2)), record(3, b'{"v":1')
    stranger = record(4, event(seq=4, chassis_id="m2"))
    to = await process(MemoryLog([good, odd, cut, stranger, record(5)], ends=True))
    assert [p.record.message_id for p in to.parsed_topic.items] == ["m1:1:1", "m1:1:5"]  # type: ignore[attr-defined]
    letters = {letter.record.message_id: letter for letter in to.dead_letters.items}  # type: ignore[attr-defined]
    assert {key: letter.reason for key, letter in letters.items()} == {
        "m1:1:2": "internal_error",
        "m1:1:3": "malformed_json",
        "m1:1:4": "wrong_device",
    }
    assert letters["m1:1:2"].detail == "ZeroDivisionError: a fault of ours"
    assert letters["m1:1:3"].record.body == b'{"v":1'
    assert len(to.raw_archive.items) == 5  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("ts", "enqueued", "reason"),
    [
        (T + 301 * SECOND, T, "clock_future"),
        (T - 401 * DAY, T, "too_old"),
        (T + 299 * SECOND, T, None),
        (T - 399 * DAY, T, None),
    ],
)
async def test_time_is_judged_against_the_hubs(ts: int, enqueued: int, reason: str | None) -> None:
    to = await process(MemoryLog([record(1, event(ts=ts), ts=ts, ts_enqueued=enqueued)], ends=True))
    assert [letter.reason for letter in to.dead_letters.items] == ([reason] if reason else [])  # type: ignore[attr-defined]


@pytest.mark.parametrize("failing", ["raw_archive", "parsed_topic", "dead_letters"])
async def test_nothing_is_committed_before_every_sink_has_it(failing: str) -> None:
    log = MemoryLog([record(1), record(2, b"{")], ends=True)
    committed: list[int] = []

    class Watching(Collect):
        async def write(self, batch: Sequence[Any]) -> None:
            committed.append(log.committed)
            await super().write(batch)

    sink = Watching(failures=2)
    to = await process(log, **{failing: sink})
    assert set(committed) == {0}
    assert log.committed == 2
    assert sink.items
    assert not any(end.is_open for end in (to.raw_archive, to.parsed_topic, to.dead_letters))  # type: ignore[attr-defined]


@pytest.mark.parametrize("failing", ["raw_archive", "parsed_topic", "dead_letters"])
async def test_while_a_sink_is_away_the_others_have_the_batch_once(failing: str) -> None:
    good, bad = record(1), record(2, b"{")
    to = await process(MemoryLog([good, bad], ends=True), **{failing: Collect(failures=3)})
    assert to.raw_archive.items == [good, bad]  # type: ignore[attr-defined]
    assert [p.record for p in to.parsed_topic.items] == [good]  # type: ignore[attr-defined]
    assert [letter.record for letter in to.dead_letters.items] == [bad]  # type: ignore[attr-defined]


async def test_a_fault_in_a_sink_ends_the_process_and_commits_nothing() -> None:
    log = MemoryLog([record(1)], ends=True)
    with pytest.raises(KeyError):
        await process(log, parsed_topic=Collect(failures=1, error=KeyError("bug")))
    assert log.committed == 0


async def test_a_stop_while_a_service_is_away_leaves_the_batch_uncommitted() -> None:
    log, stop, sink = MemoryLog([record(1)], ends=True), Stop(), Collect(failures=10**6)
    to = ProcessorSinks(Collect(), sink, Collect())
    running = asyncio.create_task(run_flow(log, lambda records: processor(records, validator(), Logic(), to), (), stop))
    await asyncio.sleep(0.3)
    stop.set()
    await asyncio.wait_for(running, PATIENCE_S)
    assert log.committed == 0


def test_no_flow_uses_a_node_that_breaks_acknowledgement() -> None:
    from pathlib import Path

    import duco_workbench.flows

    forbidden = ("buffer(", "timed_window", "partition(", "from_kafka", "rate_limit", "delay(", "latest(")
    for path in Path(duco_workbench.flows.__file__).parent.glob("*.py"):
        assert not [name for name in forbidden if f".{name}" in path.read_text()], path.name

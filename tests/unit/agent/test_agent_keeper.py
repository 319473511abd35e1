"""Between agent and queue: a disk that is full or gone, a file that turns bad; nothing raised, all of it told."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from agent import keeper as module
from agent.clock import AgentClock, Found
from agent.drafts import Draft
from agent.keeper import Keeper
from agent.queue import MAX_BODY, Put, Queue, Stamp, Waiting
from agent.room import Limits
from agent.storage import QueueCorrupt, QueueError
from duco_workbench import wire
from duco_workbench.model import SECOND, Clock

NOW = 1_760_000_000 * SECOND
STAMP = Stamp(Clock("ntp"))
log = logging.getLogger("test.keeper")


class FaultyQueue(Queue):
    """A real queue whose disk refuses while ``fault`` is set."""

    fault: Exception | None = None

    def put(self, drafts: Sequence[Draft], stamp: Stamp) -> Put:
        self._fail()
        return super().put(drafts, stamp)

    def take(self, live: int, backlog: int, backlog_bytes: int = 1 << 60) -> list[Waiting]:
        self._fail()
        return super().take(live, backlog, backlog_bytes)

    def done(self, seqs: Sequence[int]) -> None:
        self._fail()
        super().done(seqs)

    def settle(self, base: int, source: str, now: int) -> None:
        self._fail()
        super().settle(base, source, now)

    def _fail(self) -> None:
        if self.fault:
            raise self.fault


@pytest.fixture
def queue(tmp_path: Path) -> FaultyQueue:
    return FaultyQueue(tmp_path / "queue.db", "T", "boot")


@pytest.fixture
async def keeper(queue: FaultyQueue) -> AsyncIterator[Keeper]:
    clock = AgentClock(wall=lambda: NOW, monotonic=lambda: 0, is_synchronised=lambda: True)
    with ThreadPoolExecutor(1) as threads:
        found = Keeper(queue, threads, clock, log)
        await found.open()
        yield found
        await found.close()


def event(text: str, ts: int = NOW) -> Draft:
    return Draft("vehicle_event", ts, wire.EventBody("test", "info", {"text": text}))


async def sent(keeper: Keeper) -> list[tuple[int, str, dict[str, Any]]]:
    """What is in the queue: seq, event name, data."""
    await keeper.rewind()
    envelopes = [(message.number, wire.decode(message.body)) for message in await keeper.take(99, 99)]
    return [(seq, e.payload.name, e.payload.data) for seq, e in envelopes]


async def test_what_the_disk_refuses_is_held_and_written_in_order_later(keeper: Keeper, queue: FaultyQueue) -> None:
    await keeper.put([event("a")], STAMP)
    queue.fault = QueueError("disk_full", "the disk is full")
    assert await keeper.put([event("b")], STAMP) == []
    assert await keeper.put([event("c")], STAMP) == []
    assert keeper.trouble == "the disk is full"
    assert await keeper.take(9, 9) == []
    queue.fault = None
    assert [message_id.seq for message_id in await keeper.put([event("d")], STAMP)] == [2, 3, 4]
    assert keeper.trouble is None
    assert [data["text"] for _, _, data in await sent(keeper)] == ["a", "b", "c", "d"]


async def test_trouble_is_logged_once_and_its_end_too(
    keeper: Keeper, queue: FaultyQueue, caplog: pytest.LogCaptureFixture
) -> None:
    queue.fault = QueueError("disk_full", "the disk is full")
    for text in "abc":
        await keeper.put([event(text)], STAMP)
    queue.fault = None
    await keeper.put([], STAMP)
    assert [record.levelname for record in caplog.records if record.name == log.name] == ["ERROR", "WARNING"]


async def test_beyond_the_bound_the_newest_is_dropped_counted_and_told(
    keeper: Keeper, queue: FaultyQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_HELD", 300)
    queue.fault = QueueError("disk_full", "the disk is full")
    for at in range(12):
        await keeper.put([event(f"{at}" * 20, NOW + at), event("")], STAMP)
    queue.fault = None
    await keeper.put([event("again")], STAMP)
    found = await sent(keeper)
    assert [seq for seq, _, _ in found] == list(range(1, len(found) + 1)), "what is dropped has cost no id"
    (drop,) = [data for _, name, data in found if name == "drop"]
    kept = len(found) - 2
    assert drop == {"count": 24 - kept, "first": NOW, "last": NOW + 11, "reason": "disk_full"}
    assert 2 <= kept < 24
    assert keeper.counts.drops == {"disk_full": 24 - kept}


async def test_a_full_queue_makes_room_by_sending(tmp_path: Path) -> None:
    clock = AgentClock(wall=lambda: NOW, monotonic=lambda: 0, is_synchronised=lambda: True)
    with ThreadPoolExecutor(1) as threads:
        keeper = Keeper(Queue(tmp_path / "queue.db", "T", "boot", Limits(400)), threads, clock, log)
        await keeper.open()
        assert len(await keeper.put([event("a"), event("b")], STAMP)) == 2
        await keeper.take(0, 9)  # may be sent: not to be dropped
        assert await keeper.put([event("c")], STAMP) == []
        assert keeper.trouble is not None
        assert "max_bytes" in keeper.trouble
        await keeper.done([1, 2])
        assert [data["text"] for _, _, data in await sent(keeper)] == ["c"]
        assert keeper.trouble is None
        await keeper.close()


async def test_what_the_hub_confirmed_is_not_sent_again_though_the_disk_keeps_it(
    keeper: Keeper, queue: FaultyQueue
) -> None:
    await keeper.put([event("a"), event("b")], STAMP)
    await keeper.take(9, 9)
    queue.fault = QueueError("disk_full", "the disk is full")
    await keeper.done([1])
    queue.fault = None
    assert [seq for seq, _, _ in await sent(keeper)] == [2]
    await keeper.done([2])
    assert keeper.counts.depth == 0


async def test_a_file_that_turns_bad_is_replaced_and_told(keeper: Keeper, queue: FaultyQueue, tmp_path: Path) -> None:
    await keeper.put([event("in the file")], STAMP)
    epoch = keeper.counts.epoch
    queue.fault = QueueCorrupt("malformed")
    await keeper.put([event("not lost")], STAMP)
    queue.fault = None
    await keeper.put([], STAMP)
    (saved, told, kept) = await sent(keeper)
    assert (saved[2], kept[2]) == ({"text": "in the file"}, {"text": "not lost"})
    assert told[1] == "queue_corrupt"
    assert "malformed" in told[2]["text"]
    assert "1 messages were saved, 0 are lost" in told[2]["text"]
    assert keeper.counts.epoch > epoch
    assert len(list(tmp_path.glob("queue.db.corrupt-*"))) == 1


async def test_a_new_file_that_is_bad_at_once_is_tried_again_a_while_later(
    keeper: Keeper, queue: FaultyQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    await keeper.put([event("in the file")], STAMP)
    tries = list[int]()

    def bad(*_: Any) -> str:
        tries.append(1)
        raise QueueCorrupt("messages are missing in it")

    monkeypatch.setattr("agent.queue.recover", bad)
    queue.fault = QueueCorrupt("malformed")
    assert await keeper.put([event("held")], STAMP) == []
    queue.fault = None
    assert await keeper.take(9, 9) == []
    assert "bad at once" in str(keeper.trouble)
    assert tries == [1]
    monkeypatch.undo()
    keeper._reopen_at = 0.0
    await keeper.put([], STAMP)
    assert keeper.trouble is None
    assert [data.get("text") for _, name, data in await sent(keeper) if name == "test"] == ["in the file", "held"]


async def test_what_the_hub_confirmed_is_not_lost_though_the_file_turns_bad(keeper: Keeper, queue: FaultyQueue) -> None:
    await keeper.put([event("a"), event("b")], STAMP)
    await keeper.take(9, 9)
    queue.fault = QueueError("disk_full", "the disk is full")
    await keeper.done([1])
    with queue._file.writing() as db:
        db.execute("UPDATE message SET body = x'00' WHERE number = 1")
    queue.fault = QueueCorrupt("malformed")
    await keeper.put([], STAMP)
    await keeper.take(9, 9)
    queue.fault = None
    await keeper.put([], STAMP)
    names = [(seq, name) for seq, name, _ in await sent(keeper)]
    assert names == [(2, "test"), (3, "queue_corrupt")]
    assert keeper.counts.drops == {}


async def test_too_large_is_told_with_its_id(keeper: Keeper) -> None:
    await keeper.put([event("x" * MAX_BODY), event("b")], STAMP)
    told, b = sorted(await sent(keeper), key=lambda found: found[1])
    assert b[2] == {"text": "b"}
    assert (told[1], told[2]["reason"], told[2]["count"]) == ("drop", "too_large", 1)
    assert (told[2]["epoch"], told[2]["runs"]) == (keeper.counts.epoch, [[1, 1]])
    assert keeper.counts.drops == {"too_large": 1}


async def test_what_the_hub_refuses_is_told_with_its_id(keeper: Keeper) -> None:
    await keeper.put([event("a"), event("b")], STAMP)
    await keeper.set_aside(1)
    b, told = await sent(keeper)
    assert (b[0], told[2]["epoch"], told[2]["runs"]) == (2, keeper.counts.epoch, [[1, 1]])


@pytest.mark.parametrize(
    "call", [lambda k: k.take(1, 1), lambda k: k.done([1]), lambda k: k.set_aside(1), Keeper.oldest]
)
async def test_no_fault_of_the_disk_is_raised(
    keeper: Keeper, queue: FaultyQueue, call: Callable[[Keeper], Any]
) -> None:
    queue.fault = QueueError("disk_error", "gone")
    assert not await call(keeper)


@pytest.mark.parametrize("is_held", [True, False])
async def test_what_could_not_be_dated_when_time_was_found_is_dated_later(tmp_path: Path, is_held: bool) -> None:
    wall = [0]
    clock = AgentClock(wall=lambda: wall[0], monotonic=lambda: 5, is_synchronised=lambda: wall[0] == NOW)
    queue = FaultyQueue(tmp_path / "queue.db", "T", "boot")
    with ThreadPoolExecutor(1) as threads:
        keeper = Keeper(queue, threads, clock, log)
        await keeper.open()
        queue.fault = QueueError("disk_full", "the disk is full") if is_held else None
        await keeper.put([event("before", clock.now())], keeper.stamp())
        queue.fault = QueueError("disk_full", "the disk is full")
        wall[0] = NOW
        assert isinstance(clock.check(), Found)
        await keeper.settle()
        queue.fault = None
        await keeper.put([event("after")], keeper.stamp())
        envelopes = [wire.decode(message.body) for message in await keeper.take(9, 9)]
        await keeper.close()
    assert [envelope.ts for envelope in envelopes] == [NOW, NOW]

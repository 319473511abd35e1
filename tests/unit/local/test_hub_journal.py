"""The hub's journal on a real file: order, durability, waiting, retention, and what it does when the disk fails."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from duco_workbench.errors import ConfigError, ServiceError
from duco_workbench.local.hub.counts import id_numbers
from duco_workbench.local.hub.journal import Journal, Stored, partition_of
from duco_workbench.local.hub.messages import DELETE_ROWS, MessageFile

SECOND = 1_000_000
TRUCK = "truck1"
P = partition_of(TRUCK, 4)


class Clock:
    """Microseconds, set by hand."""

    def __init__(self) -> None:
        self.now = 1_000 * SECOND

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def journal(tmp_path: Path, clock: Clock) -> AsyncIterator[Journal]:
    made = Journal(tmp_path, now=clock)
    await made.open()
    yield made
    await made.close()


async def put(journal: Journal, number: int, device_id: str = TRUCK, body: bytes = b"{}", **properties: str) -> Stored:
    return await journal.append(device_id, "g1", {"message_id": f"{device_id}:5:{number}"}, properties, body)


async def everything(journal: Journal, partition: int = P, max_bytes: int = 1 << 20) -> list[Stored]:
    found: list[Stored] = []
    while batch := await journal.read(partition, found[-1].sequence if found else -1, max_bytes):
        found += batch
    return found


async def test_what_is_appended_is_read_back(journal: Journal, clock: Clock) -> None:
    system = {"message_id": "a:1:2", "content_type": "application/json"}
    stored = await journal.append(TRUCK, "g1", system, {"ü": "&= ", "tenant": "demo"}, b"\x00\xff")
    assert stored == Stored(P, 0, clock.now, TRUCK, "g1", system, {"ü": "&= ", "tenant": "demo"}, b"\x00\xff")
    assert await journal.read(P, -1) == [stored]
    assert await journal.read(P, 0) == []
    assert journal.bounds(P) == (0, 0)
    assert journal.bounds((P + 1) % 4) == (0, -1)


async def test_concurrent_appends_keep_the_order_of_the_calls(journal: Journal) -> None:
    waiting = [journal.append(TRUCK, "g1", {"message_id": str(n)}, {}, b"x") for n in range(500)]
    stored = await asyncio.gather(*waiting)
    assert [s.sequence for s in stored] == list(range(500))
    assert [m.system["message_id"] for m in await everything(journal)] == [str(n) for n in range(500)]


async def test_concurrent_appends_share_transactions(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    batches: list[int] = []
    insert = MessageFile.insert

    def counted(self: MessageFile, messages: Any, counts: Any) -> None:
        batches.append(len(messages))
        insert(self, messages, counts)

    monkeypatch.setattr(MessageFile, "insert", counted)
    await asyncio.gather(*[put(journal, n) for n in range(100)])
    assert sum(batches) == 100
    assert len(batches) <= 3


async def test_an_append_returns_when_another_process_would_see_it(journal: Journal, tmp_path: Path) -> None:
    await put(journal, 1)
    other = sqlite3.connect(tmp_path / "journal.db")
    assert other.execute(f"SELECT count(*) FROM messages_{P}").fetchone() == (1,)
    assert journal_pragma(journal) == 2  # FULL
    other.close()


def journal_pragma(journal: Journal) -> int:
    thread, file = journal._write_thread, journal._writer
    return thread.submit(lambda: file._connection.execute("PRAGMA synchronous").fetchone()[0]).result()


async def test_a_device_stays_in_its_partition_and_devices_spread() -> None:
    assert partition_of("truck1", 4) == P
    assert {partition_of(f"truck{n}", 4) for n in range(50)} == {0, 1, 2, 3}


async def test_reading_stops_at_the_bytes_asked_for_but_never_at_nothing(journal: Journal) -> None:
    for number in range(4):
        await put(journal, number, body=b"x" * 1000)
    assert [m.sequence for m in await journal.read(P, -1, 2500)] == [0, 1]
    assert [m.sequence for m in await journal.read(P, 1, 10)] == [2]
    assert len(await everything(journal, max_bytes=10)) == 4


async def test_waiting_ends_with_the_next_message(journal: Journal) -> None:
    waiting = asyncio.create_task(journal.wait(P, 0))
    await put(journal, 0)
    await asyncio.sleep(0)
    assert not waiting.done()
    await put(journal, 1)
    await asyncio.wait_for(waiting, 10)
    await asyncio.wait_for(journal.wait(P, 0), 10)  # it is there already


async def test_sequences_are_found_by_time(journal: Journal, clock: Clock) -> None:
    for number in range(10):
        clock.now = 1_000 * SECOND + number * SECOND
        await put(journal, number)
    assert await journal.sequence_at(P, 999 * SECOND) == -1
    assert await journal.sequence_at(P, 1_000 * SECOND) == 0
    assert await journal.sequence_at(P, 1_003 * SECOND + 1) == 3
    assert await journal.sequence_at(P, 9_999 * SECOND) == 9
    assert await journal.sequence_at((P + 1) % 4, 9_999 * SECOND) == -1


async def test_old_messages_go_and_their_numbers_are_never_used_again(tmp_path: Path, clock: Clock) -> None:
    journal = Journal(tmp_path, max_age_s=60, now=clock)
    await journal.open()
    for number in range(3):
        await put(journal, number)
    clock.now += 30 * SECOND
    await put(journal, 3)
    clock.now += 31 * SECOND
    await journal.trim()
    assert journal.bounds(P) == (3, 3)
    assert [m.sequence for m in await journal.read(P, -1)] == [3]
    clock.now += 60 * SECOND
    await journal.trim()
    assert journal.bounds(P) == (4, 3)
    await journal.close()

    journal = Journal(tmp_path, max_age_s=60, now=clock)
    await journal.open()
    assert journal.bounds(P) == (4, 3)
    assert (await put(journal, 4)).sequence == 4
    assert journal.counts.by_device[TRUCK]["other"].taken == 5  # counts outlive what they count
    await journal.close()


async def test_over_the_size_the_oldest_go_first_whatever_their_partition(tmp_path: Path, clock: Clock) -> None:
    other = next(name for name in map(str, range(99)) if partition_of(name, 4) != P)
    journal = Journal(tmp_path, max_bytes=3 << 20, now=clock)
    await journal.open()
    for number in range(4 * DELETE_ROWS):
        clock.now += SECOND
        await put(journal, number, device_id=other if number < DELETE_ROWS else TRUCK, body=b"x" * 2000)
    await journal.trim()
    assert journal.bounds(partition_of(other, 4))[0] == DELETE_ROWS  # all of it was older
    first, last = journal.bounds(P)
    assert 0 < first < last
    kept = await everything(journal)
    assert [m.sequence for m in kept] == list(range(first, last + 1))
    assert 1 << 20 < sum(len(m.body) for m in kept) < 3 << 20
    await journal.close()


async def test_everything_is_there_after_reopening(journal: Journal, tmp_path: Path) -> None:
    before = [await put(journal, number, msgType="vehicle_can") for number in range(20)]
    await journal.close()
    again = Journal(tmp_path)
    await again.open()
    assert await again.read(P, -1) == before
    assert again.counts.by_device[TRUCK]["vehicle_can"] == (20, 5, 19, before[-1].enqueued)
    assert (await put(again, 20)).sequence == 20
    await again.close()


async def test_closing_finishes_what_waits(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    await journal.open()
    waiting = [journal.append(TRUCK, "g1", {}, {}, b"x") for _ in range(50)]
    await journal.close()
    assert [done.result().sequence for done in waiting] == list(range(50))


async def test_a_disk_that_fails_is_told_and_leaves_no_hole(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    await put(journal, 0)
    with monkeypatch.context() as broken:
        broken.setattr(MessageFile, "insert", full)
        with pytest.raises(ServiceError, match="disk is full"):
            await put(journal, 1)
    assert (await put(journal, 2)).sequence == 1
    assert journal.counts.by_device[TRUCK]["other"].taken == 2


async def test_counts_are_per_device_and_type_and_know_the_highest_id(journal: Journal) -> None:
    for epoch, seq in ((5, 9), (6, 1), (5, 10)):
        await journal.append(TRUCK, "g1", {"message_id": f"a:b:{epoch}:{seq}"}, {"msgType": "vehicle_can"}, b"")
    last = await journal.append(TRUCK, "g1", {"message_id": "free text"}, {"msgType": "made up"}, b"")
    counts = journal.counts.by_device[TRUCK]
    assert counts["vehicle_can"][:3] == (3, 6, 1)
    assert counts["other"] == (1, -1, -1, last.enqueued)


@pytest.mark.parametrize("text", ["", "a:1", "a:1:x", "a:1:-2", "a:1:" + "9" * 19, "a:1:²"])
def test_other_ids_have_no_numbers(text: str) -> None:
    assert id_numbers(text) == (-1, -1)


async def test_a_file_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_bytes(b"no database " * 1000)
    with pytest.raises(ConfigError, match=r"journal\.db cannot be opened"):
        await Journal(tmp_path).open()


async def test_another_number_of_partitions_is_refused(journal: Journal, tmp_path: Path) -> None:
    await journal.close()
    with pytest.raises(ConfigError, match="was made with 4 partitions, not 8"):
        await Journal(tmp_path, partitions=8).open()

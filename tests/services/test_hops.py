"""Notes of how far messages came, on a real Valkey."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import redis
from records import T, record

from duco_workbench import hops, testing
from duco_workbench.errors import ServiceError
from duco_workbench.hops import HopNotes, Mark, Noted
from duco_workbench.model import Record
from duco_workbench.runtime import Stop, run_flow
from duco_workbench.sources.memory import MemoryLog

EVENTS = ("demo", "m1", "vehicle_event")


async def noted(url: str, *batches: list[Record], hop: str = "raw") -> dict[hops.Which, Mark]:
    """Each batch by a process of its own."""
    for batch in batches:
        notes = HopNotes(url, hop)
        await notes.open()
        notes.note(batch)
        await notes.close()
    return (await hops.read(url))[hop]  # type: ignore[return-value]


def by_id(epoch: int, seq: int, ts: int = T) -> Record:
    return record(message_id=f"m1:{epoch}:{seq}", ts=ts)


async def test_each_machine_and_msg_type_has_its_highest_and_a_count(fresh_valkey: str) -> None:
    other = record(7, chassis_id="m2", msg_type="vehicle_log", ts=T + 7)
    found = await noted(fresh_valkey, [record(1), record(3, ts=T + 3), record(2)], [record(4, ts=T + 4), other])
    assert found == {EVENTS: Mark(1, 4, T + 4, 4), ("demo", "m2", "vehicle_log"): Mark(1, 7, T + 7, 1)}
    assert set(await hops.read(fresh_valkey)) == set(hops.HOPS)


@pytest.mark.parametrize(
    ("first", "second", "highest"),
    [
        ((1, 10), (1, 9), (1, 10)),
        ((1, 9), (1, 10), (1, 10)),
        ((1, 500), (2, 1), (2, 1)),
        ((2**63, 5), (2**63 + 1, 1), (2**63 + 1, 1)),
        ((2**63 + 1, 1), (2**63, 5), (2**63 + 1, 1)),
    ],
)
async def test_epochs_and_sequences_order_as_integers(
    fresh_valkey: str, first: tuple[int, int], second: tuple[int, int], highest: tuple[int, int]
) -> None:
    in_one = await noted(fresh_valkey, [by_id(*first), by_id(*second)], hop="raw")
    in_two = await noted(fresh_valkey, [by_id(*first)], [by_id(*second)], hop="parsed")
    assert in_one == in_two == {EVENTS: Mark(*highest, T, 2)}


async def test_a_past_that_is_written_later_is_not_the_newest(fresh_valkey: str) -> None:
    live, past = by_id(1, 50, T + 9), by_id(2, 1, T)
    in_one = await noted(fresh_valkey, [live, past], hop="raw")
    in_two = await noted(fresh_valkey, [live], [past], hop="parsed")
    assert in_one == in_two == {EVENTS: Mark(1, 50, T + 9, 2)}


async def test_a_clock_that_was_set_back_holds_nothing_up(fresh_valkey: str) -> None:
    ahead, right = by_id(1, 50, T + 9), by_id(1, 51, T)
    in_one = await noted(fresh_valkey, [ahead, right], hop="raw")
    in_two = await noted(fresh_valkey, [ahead], [right], hop="parsed")
    assert in_one == in_two == {EVENTS: Mark(1, 51, T, 2)}


@pytest.mark.parametrize("message_id", ["3:17", "", "m2:1:9", "m1:1:-2", "m1:a:b"])
async def test_an_id_that_is_not_the_machines_own_only_counts(fresh_valkey: str, message_id: str) -> None:
    found = await noted(fresh_valkey, [record(5), record(message_id=message_id, ts=T + 9)])
    assert found == {EVENTS: Mark(1, 5, T, 2)}


async def test_other_types_are_one_however_a_machine_calls_them(fresh_valkey: str) -> None:
    odd = [record(seq, msg_type=f"mine-{seq}") for seq in range(1, 6)]
    found = await noted(fresh_valkey, [record(6), *odd])
    assert found == {EVENTS: Mark(1, 6, T, 1), ("demo", "m1", "other"): Mark(1, 5, T, 5)}


async def test_a_write_that_is_under_way_is_not_lost_when_it_closes(
    fresh_valkey: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is held for a moment; the note is there once it goes on, and so is what came meanwhile."""
    monkeypatch.setattr(hops, "EVERY_S", 0.01)
    notes, goes_on = HopNotes(fresh_valkey, "raw"), asyncio.Event()
    write = notes._redis.eval

    async def held(*arguments: object) -> None:
        await goes_on.wait()
        await write(*arguments)

    monkeypatch.setattr(notes._redis, "eval", held)
    await notes.open()
    notes.note([record(1)])
    async with asyncio.timeout(20):
        while notes._waiting:
            await asyncio.sleep(0.01)
    notes.note([record(2)])
    asyncio.get_running_loop().call_later(0.1, goes_on.set)
    await notes.close()
    assert (await hops.read(fresh_valkey))["raw"] == {EVENTS: Mark(1, 2, T, 2)}


async def test_a_write_that_is_cancelled_is_waiting_again(fresh_valkey: str) -> None:
    notes = HopNotes(fresh_valkey, "raw")
    notes.note([record(1)])
    with redis.Redis.from_url(fresh_valkey) as client:
        client.client_pause(5000, all=False)
        writing = asyncio.create_task(notes._write())
        while notes._waiting:
            await asyncio.sleep(0.01)
        writing.cancel()
        await asyncio.wait([writing])
        client.client_unpause()
    assert list(notes._waiting) == [EVENTS]
    await notes.close()


async def test_what_is_committed_is_noted_within_a_second_or_so(fresh_valkey: str) -> None:
    log, stop = MemoryLog([record(1), record(2)]), Stop()
    source = Noted(log, HopNotes(fresh_valkey, "raw"), lambda item: item)
    running = asyncio.create_task(run_flow(source, lambda stream: stream.sink(lambda batch: None), (), stop))
    async with asyncio.timeout(20):
        while (await hops.read(fresh_valkey))["raw"] != {EVENTS: Mark(1, 2, T, 2)}:
            await asyncio.sleep(0.05)
    assert log.committed == 2
    stop.set()
    await running


async def test_what_is_not_committed_is_not_noted(fresh_valkey: str) -> None:
    class Full(MemoryLog[Record]):
        async def commit(self, delivery: object) -> None:
            raise ServiceError("away")

    source, stop = Noted(Full([record(1)]), HopNotes(fresh_valkey, "raw"), lambda item: item), Stop()
    running = asyncio.create_task(run_flow(source, lambda stream: stream.sink(lambda batch: None), (), stop))
    await asyncio.sleep(0.5)
    stop.set()
    await running
    assert (await hops.read(fresh_valkey))["raw"] == {}


async def test_notes_gather_while_the_log_is_away_and_nobody_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hops, "EVERY_S", 0.05)
    monkeypatch.setattr(hops, "MOST", 2)
    with testing.valkey(tmp_path) as url:
        pass
    notes = HopNotes(url, "raw")
    await notes.open()
    for number in range(1, 4):
        notes.note([record(number), record(number, chassis_id="m2"), record(number, chassis_id="m3")])
        await asyncio.sleep(0.2)
    with pytest.raises(ServiceError):
        await hops.read(url)
    port = redis.connection.parse_url(url)["port"]
    monkeypatch.setattr(testing, "free_port", lambda: port)
    with testing.valkey(tmp_path) as url:
        async with asyncio.timeout(20):
            while not (found := (await hops.read(url))["raw"]):
                await asyncio.sleep(0.05)
        await notes.close()
    assert found == {EVENTS: Mark(1, 3, T, 3), ("demo", "m2", "vehicle_event"): Mark(1, 3, T, 3)}

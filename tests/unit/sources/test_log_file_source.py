"""A machine of this process: its past at full speed, then in step with the clock; a log played again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from records import T, frames

from duco_workbench import wire
from duco_workbench.model import SECOND, FrameBatch, MessageId, Record
from duco_workbench.sources.log_file import LogFileSource, Player
from duco_workbench.sources.machine import MachineSource


class Ticking:
    """One frame each 100 ms, for ever."""

    def frames(self, start: int, end: int) -> FrameBatch:
        first = -(-start // 100_000)
        ts = np.arange(first, -(-end // 100_000), dtype=np.int64) * 100_000
        batch = frames(len(ts))
        return FrameBatch(ts, batch.arbitration_id, batch.dlc, batch.flags, batch.data, batch.channel)


class Clock:
    """Moves a second each time it is asked, so that nothing waits."""

    def __init__(self, start: int) -> None:
        self.now = start

    def __call__(self) -> int:
        self.now += SECOND // 4
        return self.now


async def collected(source: Any) -> list[Record]:
    await source.open()
    records = [record async for delivery in source.deliveries() for record in delivery.items]
    await source.close()
    return records


def times(records: list[Record]) -> list[int]:
    return [int(t) for r in records for t in np.sort(wire.unpack_blocks(wire.decode(r.body).payload.blocks).ts)]


async def test_the_past_then_live_without_a_gap() -> None:
    source = MachineSource(Ticking(), "demo", "m1", T - 100 * SECOND, T + 20 * SECOND, clock=Clock(T))
    records = await collected(source)
    assert times(records) == list(range(T - 100 * SECOND, T + 20 * SECOND, 100_000))
    numbers = [MessageId.parse(r.message_id) for r in records]
    assert [n.seq for n in numbers] == list(range(1, 121))
    assert len({n.epoch for n in numbers}) == 1


async def test_only_what_is_near_the_clock_is_realtime() -> None:
    records = await collected(MachineSource(Ticking(), "demo", "m1", T - 100 * SECOND, T + 20 * SECOND, clock=Clock(T)))
    realtime = {r.ts: wire.decode(r.body).realtime for r in records}
    assert not any(live for ts, live in realtime.items() if ts < T - 40 * SECOND)
    assert all(live for ts, live in realtime.items() if ts > T + 5 * SECOND)
    past = [r for r in records if r.ts < T - 40 * SECOND]
    assert all(r.ts_enqueued == r.ts for r in past)


def candump(path: Path, count: int = 30, first: float = 1_600_000_000.0) -> Path:
    path.write_text("".join(f"({first + i / 10:.6f}) can0 0CF00400#{i:016X}\n" for i in range(count)))
    return path


def test_a_player_loops_with_a_second_between(tmp_path: Path) -> None:
    player = Player(candump(tmp_path / "a.log"), T)
    got = FrameBatch.concat([player.frames(T + i * SECOND, T + (i + 1) * SECOND) for i in range(8)])
    first = T + np.arange(30) * 100_000
    assert got.ts[:30].tolist() == first.tolist()
    assert got.ts[30:60].tolist() == (first + 3_900_000).tolist()  # the last frame at 2.9 s, and one second
    assert got.data[30:60].tolist() == got.data[:30].tolist()


def test_a_player_at_double_speed_once(tmp_path: Path) -> None:
    player = Player(candump(tmp_path / "a.log"), T, speed=2.0, once=True)
    got = player.frames(T, T + 3600 * SECOND)
    assert got.ts.tolist() == (T + np.arange(30) * 50_000).tolist()
    assert len(player.frames(T + 3600 * SECOND, T + 7200 * SECOND)) == 0


async def test_an_import_keeps_times_and_has_ids_of_its_content(tmp_path: Path) -> None:
    once = await collected(LogFileSource(candump(tmp_path / "a.log"), "demo", "m1"))
    again = await collected(LogFileSource(candump(tmp_path / "copy.log"), "demo", "m1"))
    changed = await collected(LogFileSource(candump(tmp_path / "b.log", count=31), "demo", "m1"))
    assert times(once) == [1_600_000_000 * SECOND + i * 100_000 for i in range(30)]
    assert [r.message_id for r in once] == [r.message_id for r in again]
    assert [r.body for r in once] == [r.body for r in again]
    assert {r.message_id for r in once}.isdisjoint(r.message_id for r in changed)
    assert all(r.ts_enqueued == r.ts for r in once)


async def test_an_import_told_to_start_elsewhere_has_other_ids(tmp_path: Path) -> None:
    path = candump(tmp_path / "a.log")
    there, here = LogFileSource(path, "demo", "m1"), LogFileSource(path, "demo", "m1", start=T)
    moved = await collected(here)
    assert times(moved)[0] == T
    assert {r.message_id for r in moved}.isdisjoint(r.message_id for r in await collected(there))

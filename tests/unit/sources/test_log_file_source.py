"""Log files as sources: imported with their own times, or played again as if they happened now."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from records import T

from duco_workbench import wire
from duco_workbench.model import SECOND, FrameBatch, Record
from duco_workbench.sources.log_file import SEAL, LogFileSource, Player


async def collected(source: Any) -> list[Record]:
    await source.open()
    records = [record async for delivery in source.deliveries() for record in delivery.items]
    await source.close()
    return records


def times(records: list[Record]) -> list[int]:
    return [int(t) for r in records for t in np.sort(wire.unpack_blocks(wire.decode(r.body).payload.blocks).ts)]


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


def test_a_log_played_is_cut_where_an_import_cuts_it(tmp_path: Path) -> None:
    """The times move by whole seals, so that every frame has the same place in its envelope."""
    player = Player(candump(tmp_path / "a.log", first=1_600_000_003.25), T, once=True)
    got = player.frames(T - SEAL, T + 60 * SECOND)
    assert T - SEAL < got.ts[0] <= T
    assert (got.ts[0] - 1_600_000_003_250_000) % SEAL == 0


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

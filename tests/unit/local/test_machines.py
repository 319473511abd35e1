"""The embedded stack's machines: what of their past is to be written, and that past and present fit together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from records import T

from agent.drafts import Draft
from duco_workbench import wire
from duco_workbench.local.machines import plan
from duco_workbench.local.machines.past import PastSource
from duco_workbench.local.machines.simulated import SimulatedBuses, drafts
from duco_workbench.local.simulation import SimulatedMachine, SpeedMachine
from duco_workbench.model import SECOND, FrameBatch, MessageId, Record

MINUTE, HOUR = 60 * SECOND, 3600 * SECOND


async def collected(source: PastSource) -> list[Record]:
    return [record async for delivery in source.deliveries() for record in delivery.items]


def frames_of(records: list[Record]) -> FrameBatch:
    bodies = [wire.decode(r.body) for r in records if r.msg_type == "vehicle_can"]
    return FrameBatch.concat([wire.unpack_blocks(b.payload.blocks) for b in bodies]).sorted()


def test_a_first_start_writes_the_last_minutes_then_what_is_older() -> None:
    pieces = plan.pieces(T, HOUR, None)
    assert pieces[0] == (T - plan.RECENT, T)
    assert [end for _, end in pieces[1:]] == [start for start, _ in pieces[:-1]]
    assert pieces[-1][0] == T - HOUR
    assert plan.covered(pieces) == HOUR


def test_a_short_history_is_one_piece() -> None:
    assert plan.pieces(T, MINUTE, None) == ((T - MINUTE, T),)
    assert plan.pieces(T, 0, None) == ()


def test_a_second_start_goes_on_where_the_first_ended() -> None:
    pieces = plan.pieces(T, HOUR, (T - 45 * MINUTE, T - MINUTE))
    assert pieces[0] == (T - MINUTE, T)
    assert pieces[1][1] == T - 45 * MINUTE
    assert plan.covered(pieces) == 16 * MINUTE


def test_what_ended_long_ago_is_no_beginning(tmp_path: Path) -> None:
    plan.note(tmp_path, "past", {"m1": T - 5 * HOUR, "m2": T - HOUR})
    plan.note(tmp_path, "live", {"m1": T - 3 * HOUR, "m2": T - MINUTE})
    assert plan.earlier(tmp_path, "m1", T) is None
    assert plan.noted(tmp_path, "past")["m1"] == T
    assert plan.earlier(tmp_path, "m2", T) == (T - HOUR, T - MINUTE)


def test_the_plan_is_for_its_owner_only(tmp_path: Path) -> None:
    written = plan.Plan("demo", "ca.pem", (plan.Machine("m1", "HostName=h;SharedAccessKey=k", T, past=((1, 2),)),))
    plan.write(tmp_path, written)
    assert plan.read(tmp_path) == written
    assert (tmp_path / "machines.json").stat().st_mode & 0o077 == 0


async def test_the_past_has_every_frame_and_all_kinds_of_messages() -> None:
    machine = SimulatedMachine("demo-01")
    records = await collected(PastSource(machine, "demo", T, T + 20 * MINUTE))
    got, sent = frames_of(records), machine.frames(T, T + 20 * MINUTE)
    assert np.array_equal(got.ts, sent.ts)
    assert {r.msg_type for r in records} >= {"vehicle_can", "vehicle_position", "client_raw_data"}
    ids = [MessageId.parse(r.message_id) for r in records]
    assert [i.seq for i in ids] == list(range(1, len(ids) + 1))
    assert len({i.epoch for i in ids}) == 1
    assert all(r.ts_enqueued == r.ts for r in records)


async def test_events_and_codes_of_an_hour_are_in_the_past() -> None:
    machine = SimulatedMachine("demo-01")
    first = next(h for h in range(T // HOUR, T // HOUR + 48) if machine.events(h * HOUR, (h + 1) * HOUR))
    records = await collected(PastSource(machine, "demo", first * HOUR, (first + 1) * HOUR))
    events = [wire.decode(r.body) for r in records if r.msg_type == "vehicle_event"]
    assert [e.ts for e in events] == [e[0] for e in machine.events(first * HOUR, (first + 1) * HOUR)]


class Clock:
    def __init__(self, now: int) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


def test_the_buses_go_on_where_the_past_ended() -> None:
    machine, clock = SimulatedMachine("demo-01"), Clock(T + 5 * SECOND)
    buses = SimulatedBuses(machine, T, clock)
    first = buses.read()
    clock.now += 50_000
    both = FrameBatch.concat([first, buses.read()])
    assert np.array_equal(both.ts, machine.frames(T, T + 5_050_000).ts)
    assert len(buses.read()) == 0


def test_whatever_the_portions_the_messages_are_the_same() -> None:
    machine: Any
    for machine in (SimulatedMachine("demo-01"), SpeedMachine("speed-01")):
        whole = sorted(drafts(machine, T, T + HOUR), key=_order)
        cuts = range(T, T + HOUR, 37 * SECOND)
        parts = [d for at in cuts for d in drafts(machine, at, min(at + 37 * SECOND, T + HOUR))]
        assert sorted(parts, key=_order) == whole


def _order(draft: Draft) -> tuple[int, str]:
    return draft.ts, draft.msg_type

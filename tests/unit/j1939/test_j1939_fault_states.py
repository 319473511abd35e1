"""Trouble codes over time: active, cleared, stale."""

from __future__ import annotations

from can_rows import SECOND, Row, batch, broadcast, single

from duco_workbench.j1939.fault_states import (
    SILENCE,
    Fault,
    FaultKey,
    FaultStates,
    State,
    activities,
    fault_changes,
    reports,
)
from duco_workbench.j1939.transport import reassemble

DM1 = 65226
NONE = bytes.fromhex("00ff00000000ffff")
LAMPS = b"\x04\xff"


def code(spn: int, fmi: int, oc: int = 1, cm: int = 0) -> bytes:
    return bytes([spn & 255, spn >> 8 & 255, spn >> 16 << 5 | fmi, cm << 7 | oc])


def dm1(seconds: float, *codes: bytes, sender: int = 0) -> list[Row]:
    ts = round(seconds * SECOND)
    body = LAMPS + b"".join(codes) if codes else NONE
    if len(codes) > 1:
        return broadcast(ts, DM1, sender, body, step=0)
    return [single(ts, DM1, sender, body.ljust(8, b"\xff"))]


def changes_of(rows: list[Row], until: float, channel: int = 0) -> list[Fault]:
    frames = batch(rows, channel)
    seen, malformed = reports(frames, reassemble(frames)[0])
    assert malformed == 0
    return fault_changes(seen, round(until * SECOND))


def told(changes: list[Fault]) -> list[tuple[int, State, float]]:
    return [(f.key.spn, f.state, f.changed / SECOND) for f in changes]


A, B = code(100, 3), code(200, 4)


def test_a_code_comes_and_goes() -> None:
    changes = changes_of([*dm1(0), *dm1(1, A), *dm1(2, A), *dm1(2.5), *dm1(3.5)], until=60)
    assert told(changes) == [(100, State.ACTIVE, 1), (100, State.CLEARED, 2.5)]
    assert changes[-1] == Fault(
        FaultKey("can0", 0, 100, 3), State.CLEARED, SECOND, 2 * SECOND, 2_500_000, 1, 0, "amber-warning:on"
    )


def test_silence_makes_stale_not_cleared() -> None:
    changes = changes_of([*dm1(0, A), *dm1(1, A)], until=60)
    assert told(changes) == [(100, State.ACTIVE, 0), (100, State.STALE, 1 + SILENCE / SECOND)]
    assert told(changes_of([*dm1(0, A), *dm1(1, A)], until=6)) == [(100, State.ACTIVE, 0)]


def test_what_is_stale_is_cleared_by_a_dm1_without_it() -> None:
    changes = changes_of([*dm1(0, A), *dm1(20)], until=20)
    assert told(changes) == [(100, State.ACTIVE, 0), (100, State.STALE, 5), (100, State.CLEARED, 20)]
    assert [(f.since, f.last_seen, f.state) for f in activities(changes)] == [(0, 0, State.CLEARED)]


def test_a_code_that_is_there_after_silence_is_a_new_activity() -> None:
    changes = changes_of([*dm1(0, A), *dm1(20, A), *dm1(21, A)], until=21)
    assert told(changes) == [(100, State.ACTIVE, 0), (100, State.STALE, 5), (100, State.ACTIVE, 20)]
    assert [(f.since, f.state) for f in activities(changes)] == [(0, State.STALE), (20 * SECOND, State.ACTIVE)]


def test_several_codes_in_long_messages_each_on_its_own() -> None:
    changes = changes_of([*dm1(0, A, B), *dm1(1, B), *dm1(2, A, B)], until=2)
    assert told(changes) == [
        (100, State.ACTIVE, 0),
        (200, State.ACTIVE, 0),
        (100, State.CLEARED, 1),
        (100, State.ACTIVE, 2),
    ]


def test_senders_and_buses_are_apart() -> None:
    rows = [*dm1(0, A, sender=0), *dm1(0.5, A, sender=3), *dm1(1, sender=3)]
    assert [(f.key.sender, f.state) for f in changes_of(rows, until=1)] == [
        (0, State.ACTIVE),
        (3, State.ACTIVE),
        (3, State.CLEARED),
    ]
    assert {f.key.bus for f in changes_of(rows, until=1, channel=1)} == {"can1"}


def test_another_failure_mode_of_one_spn_is_another_fault() -> None:
    changes = changes_of([*dm1(0, code(100, 3)), *dm1(1, code(100, 4))], until=1)
    assert [(f.key.fmi, f.state) for f in changes] == [(3, State.ACTIVE), (3, State.CLEARED), (4, State.ACTIVE)]


def test_a_count_that_rises_is_a_change_of_the_same_activity() -> None:
    changes = changes_of([*dm1(0, code(1, 2, 7)), *dm1(1, code(1, 2, 7)), *dm1(2, code(1, 2, 8))], until=2)
    assert [(f.changed / SECOND, f.oc, f.since) for f in changes] == [(0, 7, 0), (2, 8, 0)]
    assert [(f.oc, f.last_seen) for f in activities(changes)] == [(8, 2 * SECOND)]


def test_a_count_that_is_not_available() -> None:
    assert [f.oc for f in changes_of(dm1(0, code(1, 2, 127)), until=0)] == [None]


def test_a_late_report_changes_nothing() -> None:
    frames = batch([*dm1(1), *dm1(2, A)])
    seen, _ = reports(frames, [])
    states = FaultStates()
    assert [f.state for f in states.see(seen[1])] == [State.ACTIVE]
    assert states.see(seen[0]) == []
    assert [f.state for f in states.faults.values()] == [State.ACTIVE]


def test_every_dm1_is_a_report_and_short_ones_are_counted() -> None:
    frames = batch([*dm1(0), single(1, DM1, 5, b"\0\xff"), *dm1(2, A, sender=5)])
    seen, malformed = reports(frames, [])
    assert [(r.sender, len(r.codes), r.lamps) for r in seen] == [(0, 0, ""), (5, 1, "amber-warning:on")]
    assert malformed == 1


def test_a_conversion_method_is_known_by_sender() -> None:
    frames = batch([*dm1(0, bytes.fromhex("0097038a"), sender=0x11)])
    keys = [
        FaultKey("can0", 0x11, report.codes[0].spn, report.codes[0].fmi)
        for methods in ({"can0:11": 1}, {"can0:12": 1})
        for report in reports(frames, [], methods)[0]
    ]
    assert [key.spn for key in keys] == [1208, 0x9700]

"""Loss by sequence, against a model that looks at every number by itself."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duco_workbench.health.loss import Held, Report, Verdict, judge, judged_up_to
from duco_workbench.sequences import Run, runs_of


class Machine(NamedTuple):
    """What happened to each number of an epoch: the truth that the arithmetic has to find from what can be seen."""

    stored: frozenset[int]
    dead: frozenset[int]
    minted: int  # when the agent reported
    waits_from: int | None
    passed: bool


numbers = st.integers(1, 40)


@st.composite
def machines(draw: st.DrawFn) -> Machine:
    minted = draw(numbers)
    return Machine(
        stored=frozenset(draw(st.sets(st.integers(1, 50), min_size=1))),
        dead=frozenset(draw(st.sets(numbers, max_size=5))),
        minted=minted,
        waits_from=draw(st.none() | st.integers(1, minted + 1)),
        passed=draw(st.booleans()),
    )


def held(stored: frozenset[int]) -> Held:
    return Held(min(stored), max(stored), len(stored))


def gaps(stored: frozenset[int]) -> list[Run]:
    """As the store gives them."""
    return [Run(a + 1, b - 1) for a, b in pairwise(sorted(stored)) if b > a + 1]


def naive(machine: Machine, reported: bool) -> Verdict:
    """One number after the other, as the docstring of the module has it."""
    first, last = min(machine.stored), max(machine.stored)
    lost, in_flight, explained = [], 0, 0
    for number in range(first, max(last, machine.minted if reported else 0) + 1):
        if number in machine.stored:
            continue
        if number in machine.dead:
            explained += 1
        elif reported and not _has_passed(machine, number):
            in_flight += 1
        else:
            lost.append(number)
    return Verdict(len(lost), in_flight, explained, tuple(Run(n, n) for n in lost))


def _has_passed(machine: Machine, number: int) -> bool:
    acknowledged = machine.waits_from is not None and number < machine.waits_from
    return acknowledged and machine.passed


def single(runs: tuple[Run, ...]) -> list[int]:
    return [number for run in runs for number in range(run.first, run.last + 1)]


@given(machines(), st.booleans())
def test_it_finds_what_a_look_at_every_number_finds(machine: Machine, reported: bool) -> None:
    report = Report(7, machine.minted, machine.waits_from) if reported else None
    explained = runs_of(machine.dead)
    found = judge(held(machine.stored), gaps(machine.stored), report, machine.passed, explained)
    model = naive(machine, reported)
    assert found[:3] == model[:3]
    assert single(found.runs) == single(model.runs)
    assert all(run.size > 0 for run in found.runs)


@given(machines())
def test_the_gaps_the_store_counts_are_those_it_lists(machine: Machine) -> None:
    assert held(machine.stored).inner_gaps == sum(run.size for run in gaps(machine.stored))


WHOLE = Held(1, 10, 10)
HOLED = Held(1, 10, 9)


@pytest.mark.parametrize(
    ("report", "passed", "expected"),
    [
        (None, False, (1, 0)),  # an import: nobody will send it any more
        (Report(7, 10, 11), False, (0, 1)),  # acknowledged, and perhaps still on the way
        (Report(7, 10, 11), True, (1, 0)),  # nothing is on the way
        (Report(7, 9, 4), True, (0, 1)),  # it waits in the queue
        (Report(7, 9, None), True, (0, 1)),  # the report does not tell
    ],
)
def test_a_gap_is_lost_once_nothing_can_fill_it(report: Report | None, passed: bool, expected: tuple[int, int]) -> None:
    assert judge(HOLED, [Run(5, 5)], report, passed, ())[:2] == expected


def test_what_was_acknowledged_and_never_came_is_lost_when_all_is_drained() -> None:
    report = Report(7, 13, 13)  # 13 waits, 11 and 12 the hub has confirmed
    assert judge(WHOLE, [], report, False, ()) == Verdict(0, 3, 0)
    assert judge(WHOLE, [], report, True, ()) == Verdict(2, 1, 0, (Run(11, 12),))


def test_a_dead_letter_explains_a_gap_and_splits_a_run() -> None:
    assert judge(Held(1, 10, 7), [Run(4, 6)], None, True, [Run(5, 5)]) == Verdict(2, 0, 1, (Run(4, 4), Run(6, 6)))


def test_what_waits_behind_realtime_messages_is_not_lost() -> None:
    """The queue sends realtime messages first: numbers far below the highest stored may still come."""
    backlog = Held(1, 2000, 1500)
    assert judge(backlog, [Run(501, 1000)], Report(7, 1990, 501), True, ()).lost == 0
    assert judged_up_to(backlog.last, Report(7, 1990, 501), True) == 500


def test_what_was_dropped_is_in_flight_until_it_is_told() -> None:
    """1 to 50 went when the queue was full; 51 to 60 are there, 61 to 400 wait, live ones overtook them. An agent that
    has not told of the drop yet says that its first number has not come; the event itself waits behind the backlog.
    """
    held, gaps = Held(51, 410, 20), [Run(61, 400)]
    untold, waiting, told = Report(7, 405, 1), Report(7, 406, 61), Report(7, 420, 421)
    assert judge(held, gaps, untold, True, ()) == Verdict(0, 340, 0)
    assert judged_up_to(410, untold, True) == 0
    assert judged_up_to(410, waiting, True) == 60  # too early: so the agent must report as in `untold`
    everything = Held(51, 420, 370)
    assert judged_up_to(420, told, False) == 0  # the event is not in the store yet
    assert judge(everything, [], told, True, [Run(1, 50)]) == Verdict()

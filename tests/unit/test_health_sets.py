"""The audit's arithmetic against a look at each number by itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duco_workbench.health.audit_store import batches
from duco_workbench.health.doubled_values import Share, shares
from duco_workbench.health.loss import Report
from duco_workbench.health.numbers import Epoch
from duco_workbench.health.sets import Account, Moment, Sets, account
from duco_workbench.sequences import Run, each, runs_of

numbers = st.sets(st.integers(1, 30))


def sets(archived: set[int], parsed: set[int], dead: set[int], dropped: set[int]) -> Sets:
    return Sets(*map(runs_of, (archived, parsed, dead, dropped)))


def naive(
    archived: set[int], parsed: set[int], dead: set[int], dropped: set[int], high_water: int
) -> dict[str, set[int]]:
    """Settled, from 1."""
    left = set(range(1, high_water + 1)) - (archived & parsed) - dead - dropped
    found = {
        "missing": left - archived,
        "unparsed": left & archived,
        "stored and dead": parsed & dead,
        "stored and dropped": (archived | parsed) & dropped,
        "dead and dropped": dead & dropped,
    }
    return {name: numbers for name, numbers in found.items() if numbers}


@given(numbers, numbers, numbers, numbers, st.integers(0, 40))
def test_it_finds_what_a_look_at_every_number_finds(
    archived: set[int], parsed: set[int], dead: set[int], dropped: set[int], minted: int
) -> None:
    report = Report(7, minted, minted + 1) if minted else None
    found = account(sets(archived, parsed, dead, dropped), Moment(report, settled=True))
    high_water = max({minted, *archived, *parsed, *dead, *dropped})
    assert found.high_water == high_water
    model = naive(archived, parsed, dead, dropped, high_water)
    assert {name: set(each(runs)) for name, runs in found.wrong.items()} == model
    assert (found.stored, found.dead, found.dropped) == (len(archived & parsed), len(dead), len(dropped))
    assert found.in_flight == 0


@given(numbers, numbers, numbers, numbers, st.integers(1, 40), st.data())
def test_what_is_under_way_is_wrong_only_when_it_should_be_there(
    archived: set[int], parsed: set[int], dead: set[int], dropped: set[int], minted: int, data: st.DataObject
) -> None:
    """Nothing is called wrong that the settled audit would not; and each number is counted somewhere."""
    report = Report(7, minted, data.draw(st.none() | st.integers(1, minted + 1)))
    moment = Moment(report, data.draw(st.booleans()), data.draw(st.booleans()))
    found = account(sets(archived, parsed, dead, dropped), moment)
    model = naive(archived, parsed, dead, dropped, found.high_water)
    wrong = {name: set(each(runs)) for name, runs in found.wrong.items()}
    assert all(numbers <= model[name] for name, numbers in wrong.items())
    left = len(model.get("missing", ())) + len(model.get("unparsed", ()))
    assert found.in_flight == left - len(wrong.get("missing", ())) - len(wrong.get("unparsed", ()))


TEN = [Run(1, 10)]
LAST_THREE = Sets([Run(1, 7)], [Run(1, 7)])


@pytest.mark.parametrize(
    ("found", "moment", "in_flight", "wrong"),
    [
        (Sets(TEN, TEN), Moment(), 0, {}),
        (Sets(TEN, [Run(1, 8)]), Moment(), 2, {}),  # archived, and waits on the log
        (Sets(TEN, [Run(1, 8)]), Moment(emptied=True), 0, {"unparsed": [Run(9, 10)]}),
        (LAST_THREE, Moment(Report(7, 10, 11)), 3, {}),
        (LAST_THREE, Moment(Report(7, 10, 11), passed=True), 0, {"missing": [Run(8, 10)]}),
        (LAST_THREE, Moment(Report(7, 10, 9), passed=True), 2, {"missing": [Run(8, 8)]}),  # 9 and 10 wait in its queue
        (Sets(TEN, TEN, [Run(4, 4)]), Moment(), 0, {"stored and dead": [Run(4, 4)]}),
        (Sets([Run(1, 5)], [Run(1, 5)], (), [Run(9, 10)]), Moment(), 0, {"missing": [Run(6, 8)]}),
        (Sets(TEN, TEN, (), (), [Run(4, 5)]), Moment(), 0, {}),  # told as corrupt, and it came all the same
        (Sets([Run(1, 7)], [Run(1, 7)], (), (), [Run(7, 10)]), Moment(), 0, {}),
    ],
)
def test_a_number_is_under_way_or_wrong(found: Sets, moment: Moment, in_flight: int, wrong: dict[str, object]) -> None:
    counted = account(found, moment)
    assert (counted.in_flight, counted.wrong) == (in_flight, wrong)


def test_a_younger_store_is_counted_from_its_first_number() -> None:
    young = Sets([Run(501, 600)], [Run(501, 600)])
    assert account(young, Moment(settled=True)).wrong == {"missing": [Run(1, 500)]}
    assert account(young, Moment(settled=True), young.first) == Account(501, 600, 100, 0, 0, 0)


def test_a_million_numbers_of_which_every_second_is_gone_are_counted() -> None:
    holed = [Run(n, n) for n in range(1, 1_000_000, 2)]
    found = account(Sets(holed, holed), Moment(settled=True))
    assert (found.stored, sum(run.size for run in found.wrong["missing"])) == (500_000, 499_999)


def test_values_are_compared_in_parts_that_fit() -> None:
    counts = [
        (1, "t", "a", 4),
        (1, "t", "b", 6),
        (1, "t", "c", 1),
        (2, "t", "a", 25),
        (2, "t", "b", 1),
        (2, "u", "b", 9),
    ]
    assert list(shares(counts, most=10)) == [
        Share(1, [("t", "a"), ("t", "b")]),
        Share(1, [("t", "c")]),
        *(Share(2, [("t", "a")], 3, part) for part in range(3)),
        Share(2, [("t", "b"), ("u", "b")]),
    ]
    assert list(shares([])) == []


def test_epochs_are_looked_at_together_as_far_as_they_fit() -> None:
    a, b, c, d, e = (Epoch("t", name, 1) for name in "abcde")
    assert list(batches({a: 5, b: 5, c: 1, d: 30, e: 0}, most=10)) == [[a, b], [c], [d], [e]]
    assert list(batches({})) == []

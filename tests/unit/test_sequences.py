"""Runs of numbers behave as the sets of numbers they stand for."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from duco_workbench.sequences import Run, both, each, runs_of, size, union, up_to, without

sets = st.sets(st.integers(1, 60))
anything = st.lists(st.builds(Run, st.integers(1, 60), st.integers(0, 60)), max_size=8)


def numbers(found: list[Run]) -> set[int]:
    """Of runs as they must be: none is empty, rising, apart."""
    assert all(run.size > 0 for run in found)
    assert all(a.last + 1 < b.first for a, b in pairwise(found))
    return set(each(found))


@given(sets, sets, st.integers(0, 61))
def test_runs_are_sets(one: set[int], other: set[int], last: int) -> None:
    a, b = runs_of(one), runs_of(other)
    assert numbers(a) == one
    assert size(a) == len(one)
    assert numbers(both(a, b)) == one & other
    assert numbers(without(a, b)) == one - other
    assert numbers(up_to(a, last)) == {n for n in one if n <= last}


@given(anything, anything)
def test_a_union_takes_runs_as_they_come(one: list[Run], other: list[Run]) -> None:
    assert numbers(union(one, other)) == {n for run in [*one, *other] for n in range(run.first, run.last + 1)}


def test_a_run_is_one_number_or_two() -> None:
    assert [str(run) for run in (Run(7, 7), Run(7, 9))] == ["7", "7–9"]

"""Sets of sequence numbers as runs: rising, apart, both ends included. A million in a row cost as much as one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple


class Run(NamedTuple):
    """Consecutive sequence numbers, both ends included."""

    first: int
    last: int

    @property
    def size(self) -> int:
        return self.last - self.first + 1

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}–{self.last}"


Runs = Sequence[Run]


def runs_of(numbers: Iterable[int]) -> list[Run]:
    """Of numbers in any order."""
    return union(Run(number, number) for number in numbers)


def union(*sets: Iterable[Run]) -> list[Run]:
    """Of any runs in any order, overlapping or not; empty ones are left out."""
    found: list[Run] = []
    for run in sorted(run for runs in sets for run in runs if run.last >= run.first):
        if found and run.first <= found[-1].last + 1:
            found[-1] = Run(found[-1].first, max(found[-1].last, run.last))
        else:
            found.append(run)
    return found


def both(one: Runs, other: Runs) -> list[Run]:
    found, i, j = [], 0, 0
    while i < len(one) and j < len(other):
        first, last = max(one[i].first, other[j].first), min(one[i].last, other[j].last)
        if first <= last:
            found.append(Run(first, last))
        if one[i].last < other[j].last:
            i += 1
        else:
            j += 1
    return found


def without(one: Runs, other: Runs) -> list[Run]:
    """What of ``one`` is not in ``other``."""
    found, j = [], 0
    for first, last in one:
        while j < len(other) and other[j].last < first:
            j += 1
        k = j
        while k < len(other) and other[k].first <= last:
            if other[k].first > first:
                found.append(Run(first, other[k].first - 1))
            first = other[k].last + 1
            k += 1
        if first <= last:
            found.append(Run(first, last))
    return found


def up_to(runs: Iterable[Run], last: int) -> list[Run]:
    """The part of the runs that is not above ``last``."""
    return [Run(run.first, min(run.last, last)) for run in runs if run.first <= last]


def size(runs: Iterable[Run]) -> int:
    """How many numbers."""
    return sum(run.size for run in runs)


def each(runs: Iterable[Run]) -> Iterator[int]:
    for first, last in runs:
        yield from range(first, last + 1)

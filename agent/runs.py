"""Sets of whole numbers, mostly consecutive ones, as their runs: rising, apart, both ends included. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

Run = tuple[int, int]


def runs_of(numbers: Iterable[int]) -> list[Run]:
    """Of numbers in any order."""
    return merged((), ((number, number) for number in numbers))


def merged(runs: Iterable[Run], more: Iterable[Run]) -> list[Run]:
    """What is in either."""
    result: list[Run] = []
    for first, last in sorted([*runs, *more]):
        if result and first <= result[-1][1] + 1:
            result[-1] = (result[-1][0], max(result[-1][1], last))
        else:
            result.append((first, last))
    return result


def without(runs: Iterable[Run], gone: Sequence[Run]) -> list[Run]:
    """What is in the first and not in the second."""
    result: list[Run] = []
    for first, last in runs:
        for begin, end in gone:
            if begin > last or end < first:
                continue
            if begin > first:
                result.append((first, begin - 1))
            first = end + 1
        if first <= last:
            result.append((first, last))
    return result


def count(runs: Iterable[Run]) -> int:
    return sum(last - first + 1 for first, last in runs)


def each(runs: Iterable[Run]) -> Iterator[int]:
    for first, last in runs:
        yield from range(first, last + 1)

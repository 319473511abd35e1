"""What is on its way from the hub to the raw log, by what ingestors say."""

from __future__ import annotations

from typing import Any

import pytest

from duco_workbench.health.unread import has_read, unread

TWO = {"0": 7, "1": 3}
NEWEST = 1_000


def beat(**committed: tuple[int, int]) -> dict[str, Any]:
    return {"committed": {name[1:]: at for name, at in committed.items()}}


@pytest.mark.parametrize(
    ("beats", "expected"),
    [
        ([], False),
        ([{}], False),
        ([beat(p0=(7, 0), p1=(3, 0))], True),
        ([beat(p0=(7, 0))], False),  # nobody reads the other
        ([beat(p0=(7, 0)), beat(p1=(3, 0))], True),
        ([beat(p0=(7, 0), p1=(2, 0)), beat(p1=(3, 0))], True),  # it was handed over
        ([beat(p0=(7, 0), p1=(2, NEWEST))], False),  # another one may have been taken in the same moment
        ([beat(p0=(7, 0), p1=(2, NEWEST + 1))], True),  # what is left there is younger than all of the machine's
    ],
)
def test_all_of_a_machine_is_read_when_each_partition_is_past_it(beats: list[dict[str, Any]], expected: bool) -> None:
    assert has_read(beats, TWO, NEWEST) == expected


def test_an_empty_partition_has_nothing_to_read() -> None:
    assert has_read([beat(p0=(7, 0))], {"0": 7, "1": -1}, NEWEST)


@pytest.mark.parametrize(
    ("beats", "expected"),
    [
        ([], None),
        ([{"behind": 3}, {"behind": 4}], 7),
        ([{"behind": 3}, {"behind": None}], None),
        ([{"behind": 0, "partitions": ["1"], "hub_partitions": 2}], None),
        ([{"behind": 0, "partitions": [p], "hub_partitions": 2} for p in "01"], 0),
    ],
)
def test_what_is_unread_is_known_when_all_ingestors_know(beats: list[dict[str, Any]], expected: int | None) -> None:
    assert unread(beats) == expected

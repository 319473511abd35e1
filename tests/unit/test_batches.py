"""A batch in parts that are not too large."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from duco_workbench.batches import in_parts


@pytest.mark.parametrize(
    ("sizes", "parts"),
    [
        ([], []),
        ([4], [[4]]),
        ([9], [[9]]),
        ([2, 2, 1], [[2, 2], [1]]),
        ([9, 1, 9, 4], [[9], [1], [9], [4]]),
        ([0, 4, 0, 0], [[0, 4, 0, 0]]),
    ],
)
def test_parts_are_as_large_as_may_be_and_only_one_item_may_be_larger(
    sizes: Sequence[int], parts: list[list[int]]
) -> None:
    assert [list(part) for part in in_parts(sizes, sizes, 4)] == parts

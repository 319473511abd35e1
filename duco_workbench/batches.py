"""A batch in parts that are not too large."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def in_parts(batch: Sequence[T], sizes: Sequence[int], most: int) -> Iterator[Sequence[T]]:
    """Parts of at most ``most`` together, by the size of each item; one item may have more. None of an empty batch."""
    first, room = 0, most
    for i, size in enumerate(sizes):
        if size > room and i > first:
            yield batch[first:i]
            first, room = i, most
        room -= size
    if first < len(batch):
        yield batch[first:]

"""How much of a log is delivered at once: entries are taken a few at a time until they weigh enough.

An entry may be 300 bytes or a megabyte, and what lies behind a reader a message or the work of hours. Only what has
been decoded says how much memory it takes, so no guess is made: whatever comes, a portion is at most one round heavier
than it should be.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from ..ports import Delivery
from ..topics import Topic

T = TypeVar("T")

BYTES = 8 << 20  # of decoded items: enough to insert well; what is made of them takes some ten times that
ITEMS = 8192  # however light they are: on Kafka a batch must not outlast what its group waits for it


class Portion(Generic[T]):
    """The items of a delivery while it is read, and the position behind the last entry of each partition."""

    def __init__(self, topic: Topic[T]) -> None:
        self._topic = topic
        self._items: list[T] = []
        self._weight = 0
        self.position: dict[str, Any] = {}

    @property
    def is_full(self) -> bool:
        return self._weight >= BYTES or len(self._items) >= ITEMS

    def add(self, partition: str, position: Any, headers: Mapping[str, str], body: bytes) -> None:
        """One entry."""
        items = self._topic.decode(headers, body)
        self._items += items
        self._weight += sum(map(self._topic.weight, items))
        self.position[partition] = position

    def delivery(self) -> Delivery[T]:
        return Delivery(self._items, self.position)

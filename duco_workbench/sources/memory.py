"""A log in memory: what tests and notebook cells run flows on. Both ends keep the contract of the real ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, Generic, TypeVar

from ..ports import Delivery

T = TypeVar("T")


class MemoryLog(Generic[T]):
    """A list of items and the offset of its one group: appends as a sink, delivers what is not committed as a source.

    With ``ends`` the source ends where the list does; otherwise it waits for more, like a real log.
    """

    def __init__(self, items: Sequence[T] = (), *, batch: int = 64, ends: bool = False) -> None:
        self.items: list[T] = list(items)
        self.committed = 0
        self._batch, self._ends = batch, ends

    async def open(self) -> None: ...

    async def write(self, batch: Sequence[T]) -> None:
        self.items.extend(batch)

    async def deliveries(self) -> AsyncIterator[Delivery[T]]:
        while not (self._ends and self.committed >= len(self.items)):
            batch = self.items[self.committed : self.committed + self._batch]
            if not batch:
                await asyncio.sleep(0.01)
            yield Delivery(batch, {"end": self.committed + len(batch)} if batch else {})

    async def commit(self, delivery: Delivery[Any]) -> None:
        self.committed = delivery.position["end"]

    async def close(self) -> None: ...

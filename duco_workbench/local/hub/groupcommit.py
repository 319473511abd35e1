"""Group commit: one transaction after the other, each of everything that came in during the one before."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from ...errors import ServiceError

T = TypeVar("T")
R = TypeVar("R")
log = logging.getLogger(__name__)


class GroupCommit(Generic[T, R]):
    """Used from one event loop. ``trouble``: what the disk said, while it takes nothing.

    Args:
        commit: makes items durable, all or none, and returns a result for each.
        what: whose disk it is, for errors.
    """

    def __init__(self, commit: Callable[[Sequence[T]], Awaitable[Sequence[R]]], what: str) -> None:
        self._commit, self._what = commit, what
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self.trouble: str | None = None
        self._running: asyncio.Task[None] | None = None

    def put(self, item: T) -> asyncio.Future[R]:
        """Done when the item is durable; items are committed in the order of these calls.

        Raises (the future): ServiceError when the disk does not take it.
        """
        done: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, done))
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        return done

    async def finish(self) -> None:
        """Until nothing waits."""
        while self._running is not None:
            await self._running

    async def _run(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                results = await self._commit([item for item, _ in batch])
            except Exception as error:  # whatever it is, all who wait must hear of it
                log.error("%s: %d changes were not taken: %s", self._what, len(batch), error)
                self.trouble = f"{self._what} takes nothing ({error}); is the disk full?"
                self._refuse(batch, self.trouble)
            else:
                self.trouble = None
                for (_, done), result in zip(batch, results, strict=True):
                    if not done.done():  # cancelled: who waited is gone
                        done.set_result(result)
        self._running = None

    @staticmethod
    def _refuse(batch: Sequence[tuple[T, asyncio.Future[R]]], sentence: str) -> None:
        for _, done in batch:
            if not done.done():
                done.set_exception(ServiceError(sentence))
                done.exception()  # looked at: who waited may be gone, and then nobody does

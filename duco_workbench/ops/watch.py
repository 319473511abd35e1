"""Stands around the two ends of one flow: what is read, written and committed is measured, and what fails is kept.

A batch is counted when it is committed, so one that is tried again counts once. What it takes is in the docs; none of
it waits for anything.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ..errors import ServiceError
from ..model import DeadLetter, Record
from .figures import OTHER, Figures
from .logs import MOST_IDS, about

if TYPE_CHECKING:  # they load pyarrow, which a process without a flow does without
    from ..ports import Delivery, Sink, Source

T = TypeVar("T")
S = TypeVar("S")
log = logging.getLogger(__name__)

STALLED_S = 30.0  # without a commit while messages wait
STUCK_S = 60.0  # for one batch, or one read
LAG_EVERY_S = 5.0
MOST_REASONS = 64


class Trouble:
    """A service that fails: what it said last, and since when."""

    def __init__(self, said: str) -> None:
        self.said, self.since, self.clock = said, time.monotonic(), time.strftime("%H:%M:%S", time.gmtime())

    def __str__(self) -> str:
        return f"{self.said} (since {self.clock} UTC, {time.monotonic() - self.since:.0f} s)"


class Watch:
    """One flow of a process.

    Args:
        hop: the flow's name, in labels and logs.
        lag: messages its group has not committed; asked every few seconds. None where there is no such number.
        vital: whether the process is unwell when this flow is; the lossy realtime branch is not.
    """

    def __init__(self, hop: str, lag: Callable[[], Awaitable[int]] | None = None, vital: bool = True) -> None:
        self.figures, self.vital = Figures(hop), vital
        self.lag: int | None = None
        self.troubles: dict[str, Trouble] = {}
        self._ask_lag = lag
        self._is_open = False
        self._batch: Sequence[Record] = ()
        self._letters: dict[tuple[str, str], DeadLetter] = {}
        self._begun = self._moved = self._asked = time.monotonic()

    # --- around the flow

    def source(self, source: Source[T], record_of: Callable[[T], Record]) -> Source[T]:
        return _WatchedSource(source, self, record_of)

    def sinks(self, to: S) -> S:
        """A flow's sinks (a dataclass of them), each watched under its field's name."""
        watched = {field.name: self.sink(field.name, getattr(to, field.name)) for field in fields(to)}  # type: ignore[arg-type]
        return replace(to, **watched)  # type: ignore[type-var]

    def sink(self, name: str, sink: Sink[T]) -> Sink[T]:
        return _WatchedSink(sink, self, name)

    @contextmanager
    def call(self, service: str) -> Iterator[None]:
        """A call of a service, which may fail."""
        try:
            yield
        except ServiceError as error:
            self.figures.retries[service] += 1
            trouble = self.troubles.setdefault(service, Trouble(str(error)))
            trouble.said = str(error)
            raise
        self.troubles.pop(service, None)

    def opened(self) -> None:
        self._is_open, self._moved = True, time.monotonic()

    def asks(self) -> None:
        """The source is asked for the next batch."""
        self._asked = time.monotonic()

    def begin(self, records: Sequence[Record]) -> None:
        self._batch, self._begun = records, time.monotonic()
        self._letters.clear()

    def refused(self, letters: Sequence[DeadLetter]) -> None:
        """Of the batch in hand; said and counted with its commit, once however often it was tried."""
        self._letters.update({(letter.record.message_id, letter.reason): letter for letter in letters if letter.reason})

    def done(self, delivery: Delivery[Any]) -> None:
        self.figures.done(self._batch, time.monotonic() - self._begun)
        self._count_letters()
        if log.isEnabledFor(logging.DEBUG):
            log.debug("%s: %d messages done", self.figures.hop, len(self._batch), extra={"fields": about(delivery)})
        self._batch, self._moved = (), time.monotonic()

    def _count_letters(self) -> None:
        found: dict[str, list[str]] = {}
        for message_id, reason in self._letters:
            found.setdefault(reason, []).append(message_id)
        for reason, ids in found.items():
            log.warning(
                "%d dead letters: %s, of %s%s",
                len(ids),
                reason,
                ", ".join(ids[:MOST_IDS]),
                " …" if len(ids) > MOST_IDS else "",
                extra={"fields": {"reason": reason, "count": len(ids), "message_ids": ids[:MOST_IDS]}},
            )
            counts = self.figures.dead_letters
            counts[reason if reason in counts or len(counts) < MOST_REASONS else OTHER] += len(ids)
        self._letters.clear()

    async def follow_lag(self) -> None:
        """Until cancelled."""
        while self._ask_lag is not None:
            try:
                async with asyncio.timeout(LAG_EVERY_S):
                    found = await self._ask_lag()
            except (ServiceError, TimeoutError):  # the flow itself says what is away
                self.lag = None
            else:
                if not found or (self.lag is not None and found < self.lag):
                    self._moved = time.monotonic()  # another reader of the group may have moved it
                self.lag = found
            await asyncio.sleep(LAG_EVERY_S)

    # --- what it tells

    def oldest_s(self) -> float:
        """Age, by the hub's time, of the oldest message in hand; 0 when none is. What lies behind it is younger."""
        oldest = min((record.ts_enqueued for record in self._batch), default=0)
        return max(time.time() - oldest / 1e6, 0.0) if oldest else 0.0

    def wrong(self) -> Iterator[str]:
        """A sentence for each thing that keeps it from its work."""
        now, hop = time.monotonic(), self.figures.hop
        yield from (str(trouble) for trouble in list(self.troubles.values()))
        if not self._is_open:
            if not self.troubles:
                yield f"{hop} has not begun: what it needs is not open yet"
        elif self._batch:
            if now - self._begun > STUCK_S:
                yield f"{hop} has had {len(self._batch):,} messages in hand for {now - self._begun:.0f} s"
        elif now - self._asked > STUCK_S:
            yield f"{hop} has waited {now - self._asked:.0f} s for its source, which answers within a second or so"
        elif self.lag and now - self._moved > STALLED_S:
            yield f"{hop} has committed nothing for {now - self._moved:.0f} s, while {self.lag:,} messages wait"

    def facts(self) -> dict[str, Any]:
        """For a person, of the last minute and now. Ages are seconds; None where nothing has come yet."""
        figures = self.figures
        return {
            **figures.last_minute(),
            "newest_s": round(time.time() - figures.newest / 1e6, 1) if figures.newest else None,
            "oldest_s": round(self.oldest_s(), 1),
            "lag": self.lag,
            "dead_letters": dict(Counter(figures.dead_letters)),
        }


class _WatchedSource(Generic[T]):
    def __init__(self, source: Source[T], watch: Watch, record_of: Callable[[T], Record]) -> None:
        self._source, self._watch, self._record_of = source, watch, record_of

    async def open(self) -> None:
        with self._watch.call("source"):
            await self._source.open()
        self._watch.opened()

    async def deliveries(self) -> AsyncIterator[Delivery[T]]:
        deliveries = self._source.deliveries()
        while True:
            self._watch.asks()
            with self._watch.call("source"):
                delivery = await anext(deliveries, None)
            if delivery is None:
                return
            if delivery.items:
                self._watch.begin(list(map(self._record_of, delivery.items)))
            yield delivery

    async def commit(self, delivery: Delivery[Any]) -> None:
        with self._watch.call("commit"):
            await self._source.commit(delivery)
        self._watch.done(delivery)

    async def close(self) -> None:
        await self._source.close()


class _WatchedSink(Generic[T]):
    def __init__(self, sink: Sink[T], watch: Watch, name: str) -> None:
        self._sink, self._watch, self._name = sink, watch, name

    async def open(self) -> None:
        with self._watch.call(self._name):
            await self._sink.open()

    async def write(self, batch: Sequence[T]) -> None:
        begun = time.monotonic()
        with self._watch.call(self._name):
            await self._sink.write(batch)
        if batch:
            self._watch.figures.wrote(self._name, time.monotonic() - begun)
            if isinstance(batch[0], DeadLetter):
                self._watch.refused(batch)  # type: ignore[arg-type]

    async def close(self) -> None:
        await self._sink.close()

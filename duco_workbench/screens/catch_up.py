"""What the stream does not bring comes from the store, beside the page: the gaps, and normal mode.

A machine that was just asked to stream has normal messages under way, which reach the store some seconds after the
first live entry reached the page. And one that does not stream is read from the store every few seconds. One question
at a time, in a thread; the page takes the answers when it ticks.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from ..columns import Samples
from ..errors import DucoError
from ..live import Entry, LiveReader
from ..model import SECOND
from ..sinks.snapshot import Latest
from .gaps import AROUND, Run, shows
from .marks import Reports
from .picture import WINDOW_S, Picture, short
from .stored import Store

log = logging.getLogger(__name__)

SILENT_S = 5.0  # without an entry, after which the store is read instead
EVERY_S, SELDOM_S = 5.0, 30.0  # how often it is read: while it brings something, and when it has long brought nothing
QUESTIONS = ThreadPoolExecutor(4, "live-page-store")  # of all pages together


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What the store has in [start, end), microseconds UTC. ``run``: the one before which a gap was, ``reached`` if
    the store came that far. ``trouble``: why there is nothing."""

    start: int
    end: int
    samples: Samples = field(default_factory=Samples.empty)
    reports: Reports = field(default_factory=Reports)
    snapshot: dict[str, Latest] = field(default_factory=dict)
    run: Run | None = None
    reached: bool = False
    trouble: str = ""


class CatchUp:
    """Of one page and machine. :meth:`poll` never blocks."""

    def __init__(
        self, picture: Picture, reader: LiveReader, store: Store, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._picture, self._reader, self._store, self._clock = picture, reader, store, clock
        self._job: Future[Found] | None = None
        self._heard = self._clock()
        self._pause = EVERY_S
        self._due = 0.0

    def take(self, entries: Sequence[Entry]) -> None:
        """Live entries, before they are drawn."""
        if entries:
            self._heard, self._pause = self._clock(), EVERY_S
        self._picture.runs.take(entries, self._picture.newest, self._clock())

    def poll(self) -> Found | None:
        """An answer that is there; else the next question is asked if one is due."""
        if self._job is None:
            self._job = self._next()
            return None
        if not self._job.done():
            return None
        found, self._job = self._job.result(), None
        self._judge(found)
        return found

    def _next(self) -> Future[Found] | None:
        now = self._clock()
        oldest = self._picture.newest - WINDOW_S * SECOND
        for run in self._picture.runs.gaps(oldest):
            if now >= run.due and run.head:
                witness = run.witness(self._picture.drawn)
                return QUESTIONS.submit(_answered, run, self._before, run, witness, oldest)
        if now >= self._heard + SILENT_S and now >= self._due:
            return QUESTIONS.submit(_answered, None, self._newer)
        return None

    def _judge(self, found: Found) -> None:
        if found.run is None:
            self._pause = EVERY_S if len(found.samples) else min(2 * self._pause, SELDOM_S)
            self._due = self._clock() + self._pause
        elif found.reached:
            found.run.settle()
        else:
            found.run.put_off(self._clock())

    def _before(self, run: Run, witness: Samples, oldest: int) -> Found:
        """The gap before a run; codes and events last, as the store takes them."""
        start, end = max(run.left - AROUND, oldest), run.begin + AROUND
        samples = self._samples(start, end)
        reached = bool(len(witness)) and shows(samples, witness)
        return Found(start, end, samples, self._reports(start, end), run=run, reached=reached)

    def _newer(self) -> Found:
        """What the snapshot says is newer than the page."""
        machine = self._picture.machine
        snapshot = self._reader.snapshot(machine.tenant, machine.chassis_id)
        end = max((latest.ts for latest in snapshot.values()), default=0) + 1
        if end <= self._picture.newest + 1:
            return Found(end, end)
        start = max(self._picture.newest - AROUND, end - WINDOW_S * SECOND)
        return Found(start, end, self._samples(start, end), self._reports(start, end + AROUND), snapshot)

    def _samples(self, start: int, end: int) -> Samples:
        signals = sorted({signal for signal, _ in self._picture.drawn})
        return self._store.samples(self._picture.machine, signals, start, end) if signals else Samples.empty()

    def _reports(self, start: int, end: int) -> Reports:
        return self._store.reports(self._picture.machine, start, end)


def _answered(run: Run | None, question: Callable[..., Found], *arguments: Any) -> Found:
    try:
        return question(*arguments)
    except DucoError as error:
        return Found(0, 0, run=run, trouble=short(str(error)))
    except Exception:  # the page goes on, and asks again
        log.exception("the live page could not read from the store")
        return Found(0, 0, run=run, trouble="the store could not be read")

"""Which messages of a machine the live stream brought, and where some are missing that the store has or will have.

Message ids count up by one, whatever the message holds. A *run* is a row of them without a hole; before each run lies
a gap. The store takes a machine's messages in their order: once it shows a sample of a run, it has all before that
run, and the gap is settled. Normal messages, which the stream never brings, are found the same way. Pure.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

import numpy as np

from ..columns import Samples
from ..live import Entry
from ..model import SECOND, MessageId
from .layout import Series
from .rows import on_screen

AROUND = 5 * SECOND  # messages overlap a little: a long one holds frames from before it, a position comes in between
PAUSES_S = (1.0, 1.0, 1.0, 2.0, 2.0, 3.0, 5.0)  # before each try; then the last of them
HEAD = 8  # entries of a run's beginning that are kept to know it by


@dataclass(slots=True, eq=False)
class Run:
    """Messages ``first`` to ``last`` of an epoch. ``left``: the newest time known before it, microseconds UTC;
    ``begin`` and ``end``: its own. ``due`` (seconds): when to look at the store for the gap before it."""

    epoch: int
    first: int
    last: int
    left: int
    begin: int
    end: int
    due: float
    head: list[Entry] = field(default_factory=list)
    tries: int = 0
    settled: bool = False

    @property
    def key(self) -> tuple[int, int]:
        return self.epoch, self.first

    def witness(self, series: Collection[Series]) -> Samples:
        """Samples of ``series`` by which the store shows that it came this far."""
        for entry in self.head:
            samples = on_screen(entry)
            wanted = np.array([key in series for key in zip(samples.signals, samples.sources, strict=True)], bool)
            rows = wanted[samples.series]
            if rows.any():
                return samples[rows]
        return Samples.empty()

    def settle(self) -> None:
        self.settled = True
        self.head.clear()

    def put_off(self, now: float) -> None:
        self.tries += 1
        self.due = now + PAUSES_S[min(self.tries, len(PAUSES_S) - 1)]


class Runs:
    """The runs of one machine on one page, in order."""

    def __init__(self) -> None:
        self._runs: list[Run] = []

    def take(self, entries: Iterable[Entry], newest: int, now: float) -> None:
        """``newest``: the newest time drawn (microseconds UTC) before these; ``now`` in seconds. A gap is looked at a
        moment later: streams of one machine are read one after the other."""
        for entry in entries:
            try:
                _, epoch, seq = MessageId.parse(entry.parsed.record.message_id)
            except ValueError:  # not minted by an agent of ours, so there is no order to miss anything in
                continue
            self._take(epoch, seq, entry, newest, now)

    def gaps(self, oldest: int) -> list[Run]:
        """The runs whose gap is open. One that ends before ``oldest`` (the left edge of the charts) is given up."""
        while len(self._runs) > 1 and self._runs[0].end < oldest:
            del self._runs[0]
        for run in self._runs:
            if run.begin < oldest and not run.settled:
                run.settle()
        return [run for run in self._runs if not run.settled]

    def _take(self, epoch: int, seq: int, entry: Entry, newest: int, now: float) -> None:
        ts = entry.parsed.samples.ts
        begin, end = (int(ts.min()), int(ts.max())) if len(ts) else (entry.parsed.record.ts,) * 2
        at = bisect_right(self._runs, (epoch, seq), key=lambda run: run.key)
        before = self._runs[at - 1] if at else None
        if before and before.epoch == epoch and seq <= before.last:
            return
        after = self._runs[at] if at < len(self._runs) and self._runs[at].epoch == epoch else None
        if before and before.epoch == epoch and before.last + 1 == seq:
            before.last, before.begin, before.end = seq, min(before.begin, begin), max(before.end, end)
        else:
            left = before.end if before else newest
            before = Run(epoch, seq, seq, left, begin, end, now + PAUSES_S[0])
            self._runs.insert(at, before)
            at += 1
        if len(ts) and not before.settled and len(before.head) < HEAD:
            before.head.append(entry)
        if after and after.first == before.last + 1:
            before.last, before.end = after.last, max(before.end, after.end)
            before.head += [] if before.settled else after.head[: HEAD - len(before.head)]
            del self._runs[at]


def shows(stored: Samples, witness: Samples) -> bool:
    """Whether any sample is in both."""
    return not _keys(stored[np.isin(stored.ts, witness.ts)]).isdisjoint(_keys(witness))


def _keys(samples: Samples) -> set[tuple[str, str, int]]:
    series = list(zip(samples.signals, samples.sources, strict=True))
    return {(*series[code], ts) for code, ts in zip(samples.series.tolist(), samples.ts.tolist(), strict=True)}

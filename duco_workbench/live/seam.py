"""The seam between now and before: live entries first, anything older from the store, no gap and no duplicate.

Whoever uses it has subscribed already; then the live server's last minutes are read, then the store for what those do
not reach. Entries met twice are known by their id, samples by (signal, source, ts).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..columns import Samples
from ..errors import DucoError
from ..model import SECOND
from .entries import Entry
from .reader import LiveReader

# (start, end) in microseconds UTC -> the stored samples of one machine in [start, end)
Stored = Callable[[int, int], Samples]


@dataclass(frozen=True, slots=True)
class Past:
    """What is known of a machine's last minutes.

    Attributes:
        entries: those of the live server, oldest first.
        stored: the store's samples older than those, thinned as stored.
        trouble: what could not be read and why, "" when all could.
    """

    entries: tuple[Entry, ...]
    stored: Samples
    trouble: str = ""

    def samples(self) -> Samples:
        """Everything in one, by series and time."""
        return merge([e.parsed.samples for e in self.entries] + [self.stored])


def past(
    reader: LiveReader, stored: Stored | None, tenant: str, chassis_id: str, now: int, seconds: float = 120
) -> Past:
    """The last ``seconds`` before ``now`` (microseconds UTC); a server that is away is named in ``trouble``."""
    try:
        entries, trouble = tuple(reader.window(tenant, chassis_id, seconds)), ""
    except DucoError as error:
        entries, trouble = (), str(error)
    older, more = before(entries, stored, now - int(seconds * SECOND), now)
    return Past(entries, older, "; ".join(filter(None, (trouble, more))))


def before(entries: Sequence[Entry], stored: Stored | None, start: int, end: int) -> tuple[Samples, str]:
    """The store's samples from ``start`` to where ``entries`` begin (or ``end``), and what went wrong if it did."""
    oldest = min((int(e.parsed.samples.ts.min()) for e in entries if len(e.parsed.samples)), default=end)
    if stored is None or start >= oldest:
        return Samples.empty(), ""
    try:
        return stored(start, oldest), ""
    except DucoError as error:
        return Samples.empty(), str(error)


def merge(parts: Sequence[Samples]) -> Samples:
    """One sample for each (signal, source, ts), sorted by series and time; the first part that has it wins."""
    table = Samples.concat(parts)
    order = np.lexsort((table.ts, table.series))  # stable: equal keys stay in the order of their parts
    series, ts = table.series[order], table.ts[order]
    first = np.ones(len(order), bool)
    first[1:] = (series[1:] != series[:-1]) | (ts[1:] != ts[:-1])
    return table[order[first]]

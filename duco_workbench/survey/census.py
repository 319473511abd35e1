"""The census of a recording: every id of every bus, how often and how regularly it comes, and which bits move."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..model import EXTENDED, ID_MASK, FrameBatch
from . import kernel
from .kernel import Table

MOST_IDS = 65_536  # of all buses; frames of further ids are counted, not listed
_FEWEST = 1024


@dataclass(frozen=True, slots=True)
class Bus:
    """Totals of one bus; times in microseconds UTC.

    Attributes:
        frames: all of them; ``errors`` and ``remotes`` among them, and ``unlisted``, of ids beyond the most kept.
        bits: on the wire, with an estimate of stuffing.
    """

    name: str
    frames: int
    errors: int
    remotes: int
    bits: int
    first: int
    last: int
    unlisted: int

    @property
    def seconds(self) -> float:
        return (self.last - self.first) / 1e6


@dataclass(frozen=True, slots=True, eq=False)
class Ids:
    """Columns, one row an id of a bus, in order of bus and id; ``k`` rows.

    Attributes:
        bus: index into the census's buses.
        arbitration_id: with bit 31 for extended ones.
        period, jitter: microseconds: the median interval, and half the spread of the middle 80 %; -1 when seen once.
        lengths, data, moved, payloads, steps: as :class:`~.kernel.Table` has them.
    """

    bus: NDArray[np.int64]
    arbitration_id: NDArray[np.uint32]
    count: NDArray[np.int64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    length: NDArray[np.uint8]
    lengths: NDArray[np.uint64]
    data: NDArray[np.uint64]
    moved: NDArray[np.uint64]
    payloads: NDArray[np.uint64]
    steps: NDArray[np.int32]
    period: NDArray[np.int64]
    jitter: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.bus)

    def __getitem__(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> Ids:
        return replace(self, **{name: getattr(self, name)[rows] for name in self.__slots__})

    def without_payloads(self) -> Ids:
        """Less than a tenth of the memory."""
        none = np.empty((len(self), 0), np.uint64)
        return replace(self, data=none, moved=none, payloads=none, steps=none.astype(np.int32))


class Census:
    """Add batches; ask for :attr:`buses` and :meth:`ids` at any time. Memory does not grow with the frames."""

    def __init__(self) -> None:
        self._names: dict[str, int] = {}
        self._buses = np.zeros((0, kernel.BUS_COLUMNS), np.int64)
        self._table = _table(_FEWEST)

    def add(self, frames: FrameBatch) -> None:
        """Frames in order of time on each bus (an interval backwards counts as none)."""
        bus_of = self._numbers(frames.channels)[frames.channel]
        words = np.ascontiguousarray(frames.data).view(np.uint64)
        done = 0
        while done < len(frames):
            grows = len(self._table.key) < MOST_IDS
            done = kernel.survey(
                self._table,
                self._buses,
                frames.ts,
                frames.arbitration_id,
                frames.dlc,
                frames.flags,
                words,
                bus_of,
                done,
                grows,
            )
            if done < len(frames):
                self._table = _grown(self._table)

    def _numbers(self, channels: tuple[str, ...]) -> NDArray[np.int64]:
        for name in channels:
            self._names.setdefault(name, len(self._names))
        missing = len(self._names) - len(self._buses)
        if missing:
            self._buses = np.vstack([self._buses, np.zeros((missing, kernel.BUS_COLUMNS), np.int64)])
        return np.array([self._names[name] for name in channels], np.int64)

    @property
    def frames(self) -> int:
        return int(self._buses[:, kernel.FRAMES].sum())

    @property
    def buses(self) -> list[Bus]:
        """In order of appearance; a bus that the log names and never uses has no frames."""
        return [Bus(name, *_bus_row(self._buses[number].tolist())) for name, number in self._names.items()]

    def ids(self) -> Ids:
        """A copy of what is known of every id."""
        n = int(self._table.used[0])
        columns: list[Any] = [column[:n] for column in self._table]
        t = Table(*columns)
        order = np.argsort(t.key, kind="stable")
        period, jitter = _regularity(t.gaps, t.frames)
        return Ids(
            (t.key >> np.uint64(32)).astype(np.int64),
            (t.key & np.uint64(0xFFFF_FFFF)).astype(np.uint32),
            t.frames,
            t.first,
            t.last,
            t.length,
            t.lengths,
            t.data,
            t.moved,
            t.payloads,
            t.steps,
            period,
            jitter,
        )[order]


def hex_of(arbitration_id: int) -> str:
    """As candump writes it: three digits, or eight for an extended id."""
    digits = 8 if arbitration_id & EXTENDED else 3
    return f"{arbitration_id & ID_MASK:0{digits}X}"


def _bus_row(row: list[int]) -> tuple[int, ...]:
    columns = (kernel.FRAMES, kernel.ERRORS, kernel.REMOTES, kernel.BITS, kernel.FIRST, kernel.LAST, kernel.UNLISTED)
    return tuple(row[column] for column in columns)


def _table(rows: int) -> Table:
    return Table(
        slots=np.full(4 * rows, -1, np.int32),
        used=np.zeros(1, np.int64),
        key=np.zeros(rows, np.uint64),
        frames=np.zeros(rows, np.int64),
        first=np.zeros(rows, np.int64),
        last=np.zeros(rows, np.int64),
        length=np.zeros(rows, np.uint8),
        lengths=np.zeros(rows, np.uint64),
        data=np.zeros((rows, kernel.WORDS), np.uint64),
        moved=np.zeros((rows, kernel.WORDS), np.uint64),
        gaps=np.zeros((rows, kernel.SAMPLED), np.int64),
        payloads=np.zeros((rows, kernel.SAMPLED), np.uint64),
        steps=np.zeros((rows, kernel.STEPPED), np.int32),
    )


def _grown(old: Table) -> Table:
    """Twice the rows."""
    n = len(old.key)
    new = _table(2 * n)
    columns: list[tuple[Any, Any]] = list(zip(new, old, strict=True))
    for column, before in columns[2:]:  # not the slots, nor how many rows are used
        column[:n] = before
    new.used[0] = old.used[0]
    kernel.index(new)
    return new


def _regularity(gaps: NDArray[np.int64], count: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Median and half the spread from the 10th to the 90th percentile, of the intervals that are kept."""
    kept = np.arange(kernel.SAMPLED) < np.minimum(count - 1, kernel.SAMPLED)[:, None]
    usable = kept & (gaps >= 0)
    n = usable.sum(1)
    ordered = np.sort(np.where(usable, gaps, np.iinfo(np.int64).max), axis=1)

    def at(share: float) -> NDArray[np.int64]:
        place = np.rint(share * np.maximum(n - 1, 0)).astype(np.intp)
        return np.where(n > 0, np.take_along_axis(ordered, place[:, None], 1)[:, 0], -1)

    return at(0.5), np.where(n > 0, (at(0.9) - at(0.1)) // 2, -1)

"""Decoded values as columns: :class:`Samples`, and what one envelope became: :class:`Parsed`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from . import arrow
from .model import STATUS_NAMES, Dtc, Record
from .names import NO_NAMES, Names, Table, Texts
from .runs import Runs, joined

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl


class Samples:
    """One row a value, ``n`` rows of ``k`` series.

    Of rows in order of series it can be made with their :class:`~duco_workbench.runs.Runs` for ``series`` and None for
    ``ts``: both are then written out when somebody asks for them.

    Attributes:
        signals: (k) ``Message.Signal`` of each series.
        sources: (k) where it was seen: ``can0``, ``can1:03`` (bus, J1939 sender in hex).
        units: (k) the database's unit of each series, "" where it has none.
        series: int32 (n), index into the three above.
        ts: int64 (n), microseconds UTC.
        value: float64 (n) in the series' unit; NaN where status is not ``ok`` and there is no number.
        status: uint8 (n), numbers of :class:`~duco_workbench.model.Status`.
        integers: int64 (n), or None where every value is exact in ``value``: the exact values of signals of integers
            wider than 53 bits, 0 elsewhere; of unsigned ones take ``integers.view(np.uint64)``.
        machines: (k) of each series, where a batch held the frames of several machines; else ().
    """

    __slots__ = (
        "_runs",
        "_series",
        "_ts",
        "integers",
        "machine_names",
        "signal_names",
        "source_names",
        "status",
        "unit_names",
        "value",
    )

    def __init__(
        self,
        signals: Texts | Names,
        sources: Texts | Names,
        units: Texts | Names,
        series: NDArray[np.int32] | Runs,
        ts: NDArray[np.int64] | None,
        value: NDArray[np.float64],
        status: NDArray[np.uint8],
        integers: NDArray[np.int64] | None = None,
        machines: Texts | Names = (),
    ) -> None:
        self.signal_names, self.source_names, self.unit_names = map(Names.of, (signals, sources, units))
        self.machine_names = Names.of(machines)
        self.value, self.status, self.integers = value, status, integers
        self._runs = series if isinstance(series, Runs) else None
        self._series = None if isinstance(series, Runs) else series
        self._ts = ts

    @property
    def signals(self) -> tuple[str, ...]:
        return self.signal_names.each

    @property
    def sources(self) -> tuple[str, ...]:
        return self.source_names.each

    @property
    def units(self) -> tuple[str, ...]:
        return self.unit_names.each

    @property
    def machines(self) -> tuple[str, ...]:
        return self.machine_names.each

    @property
    def series(self) -> NDArray[np.int32]:
        if self._series is None:
            self._series = self.each(np.arange(len(self.signal_names), dtype=np.int32))
        return self._series

    @property
    def ts(self) -> NDArray[np.int64]:
        if self._ts is None:
            assert self._runs is not None
            self._ts = self._runs.ts()
        return self._ts

    @property
    def runs(self) -> Runs:
        """Where each series is; rows are in order of series, as a decoder gives them."""
        if self._runs is not None:
            return self._runs
        starts = np.searchsorted(self.series, np.arange(len(self.signal_names) + 1))
        return Runs(starts, starts[:-1], self.ts)

    def sorted(self) -> Self:
        """Rows in order of series, those of one as they are."""
        if self._runs is not None or not len(self.series) or (np.diff(self.series) >= 0).all():
            return self
        return self[np.argsort(self.series, kind="stable")]

    def named(self, names: Names) -> pa.DictionaryArray:
        """Names of the series -> of the rows, in a dictionary of those that occur."""
        dictionary, codes = names.compact()
        return arrow.named(self.each(codes), dictionary)

    def each(self, numbers: NDArray[np.int32]) -> NDArray[np.int32]:
        """A number of each series -> one of every row."""
        if self._runs is not None:
            return self._runs.repeat(numbers)
        return numbers[self.series] if len(numbers) else self.series

    def __len__(self) -> int:
        return len(self.value)

    def __getitem__(self, rows: slice | NDArray[Any]) -> Self:
        """The rows of a slice, a mask or an index array; the series table stays."""
        integers = None if self.integers is None else self.integers[rows]
        columns = self.series[rows], self.ts[rows], self.value[rows], self.status[rows]
        return type(self)(self.signal_names, self.source_names, self.unit_names, *columns, integers, self.machine_names)

    def with_rows(self, rows: slice | NDArray[Any], runs: Runs, series: slice | NDArray[Any] = slice(None)) -> Self:
        """These rows, which are the ``runs`` of these series."""
        return type(self)(
            self.signal_names[series],
            self.source_names[series],
            self.unit_names[series],
            runs,
            None,
            self.value[rows],
            self.status[rows],
            None if self.integers is None else self.integers[rows],
            self.machine_names[series] if len(self.machine_names) else self.machine_names,
        )

    def in_order(self, series: NDArray[np.int64]) -> Self:
        """These of the ``k`` series and their rows, in this order; rows are in order of series."""
        runs = self.runs
        if (np.diff(series) == 1).all():  # no row moves
            first, end = (int(series[0]), int(series[-1]) + 1) if len(series) else (0, 0)
            return self.part(first, end)
        counts = runs.counts[series]
        starts = np.concatenate([[0], np.cumsum(counts)])
        rows = np.repeat(runs.starts[series] - starts[:-1], counts) + np.arange(starts[-1])
        return self.with_rows(rows, runs._replace(starts=starts, at=runs.at[series]), series)

    def only(self, wanted: NDArray[np.bool_]) -> Self:
        """The wanted ones of the ``k`` series; rows are in order of series."""
        return self.in_order(np.flatnonzero(wanted))

    def by_machine(self) -> dict[str, Self]:
        """The samples of each machine of a batch of several, which then need not say whose they are; rows are in order
        of series."""
        codes, table = self.machine_names.codes, self.machine_names.table
        order = np.argsort(codes, kind="stable")
        whole = self.in_order(order)
        whole.machine_names = NO_NAMES
        bounds = np.searchsorted(codes[order], np.arange(len(table) + 1)).tolist()
        return {
            machine: whole.part(first, end)
            for machine, first, end in zip(table.texts, bounds[:-1], bounds[1:], strict=True)
            if end > first
        }

    def part(self, first: int, end: int) -> Self:
        """Consecutive series: views of the same rows."""
        runs = self.runs
        begin, stop = int(runs.starts[first]), int(runs.starts[end])
        own = runs._replace(starts=runs.starts[first : end + 1] - begin, at=runs.at[first:end])
        return self.with_rows(slice(begin, stop), own, slice(first, end))

    @classmethod
    def empty(cls) -> Self:
        return cls(
            (), (), (), np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0, np.float64), np.empty(0, np.uint8)
        )

    @classmethod
    def beside(cls, parts: Sequence[Samples]) -> Self:
        """Those of parts that have no series in common, in order of series: nothing is looked up."""
        return cls(
            Names.joined([p.signal_names for p in parts]),
            Names.joined([p.source_names for p in parts]),
            Names.joined([p.unit_names for p in parts]),
            joined([p.runs for p in parts]),
            None,
            np.concatenate([p.value for p in parts]),
            np.concatenate([p.status for p in parts]),
            _integers(parts),
            Names.joined([p.machine_names for p in parts]),
        )

    @classmethod
    def concat(cls, parts: Sequence[Samples]) -> Self:
        """All rows in the order given; equal (signal, source, machine) become one series."""
        parts = [p for p in parts if len(p.signal_names)]
        if not parts:
            return cls.empty()
        table: dict[tuple[str, str, str], int] = {}
        units: list[str] = []
        codes = []
        for p in parts:
            code = np.empty(len(p.signals), np.int32)
            machines = p.machines or ("",) * len(p.signals)
            for i, key in enumerate(zip(p.signals, p.sources, machines, strict=True)):
                if key not in table:
                    table[key] = len(table)
                    units.append(p.units[i])
                code[i] = table[key]
            codes.append(p.each(code))
        signals, sources, machines = zip(*table, strict=True)
        return cls(
            signals,
            sources,
            tuple(units),
            np.concatenate(codes),
            np.concatenate([p.ts for p in parts]),
            np.concatenate([p.value for p in parts]),
            np.concatenate([p.status for p in parts]),
            _integers(parts),
            machines if any(machines) else (),
        )

    def to_arrow(self) -> pa.Table:
        """Columns signal, source, status (dictionaries without repeats), ts (timestamp[us, UTC]), value; and machine
        (dictionary) where there are several."""
        columns = [
            self.named(self.signal_names),
            self.named(self.source_names),
            arrow.numbers(self.ts, _TIMESTAMP),
            arrow.numbers(self.value, _SCHEMA.field("value").type),
            arrow.named(self.status.view(np.int8), _STATUSES.dictionary),
        ]
        if len(self.machine_names):
            return pa.table([*columns, self.named(self.machine_names)], [*_SCHEMA.names, "machine"])
        return pa.Table.from_arrays(columns, schema=_SCHEMA)

    @classmethod
    def from_arrow(cls, table: pa.Table) -> Self:
        """The inverse of :meth:`to_arrow`; units do not travel."""
        keys = [_codes(table[name]) for name in ("signal", "source", "machine") if name in table.schema.names]
        series, number = _series(keys)
        signals, sources, *machines = (Names(Table(names), of) for (names, _), of in zip(keys, series, strict=True))
        _, status = _codes(table["status"])
        return cls(
            signals,
            sources,
            ("",) * len(signals),
            number,
            table["ts"].cast(pa.int64()).to_numpy(),
            table["value"].to_numpy(),
            status.astype(np.uint8),
            machines=machines[0] if machines else (),
        )

    def to_pandas(self) -> pd.DataFrame:
        frame: pd.DataFrame = self.to_arrow().to_pandas()
        return frame

    def to_polars(self) -> pl.DataFrame:
        import polars

        frame = polars.from_arrow(self.to_arrow())
        assert isinstance(frame, polars.DataFrame)
        return frame

    def wide(self, message: str) -> pd.DataFrame:
        """One message's signals as columns over time (pandas, tz-aware index); several senders give several rows."""
        chosen = np.array([s.rpartition(".")[0] == message for s in self.signals], bool)
        table = self[chosen[self.series]] if len(self) else self
        frame = table.to_pandas().astype({"signal": str})
        return frame.pivot_table(index=["ts", "source"], columns="signal", values="value", observed=True).reset_index(
            "source"
        )


def _integers(parts: Sequence[Samples]) -> NDArray[np.int64] | None:
    if all(p.integers is None for p in parts):
        return None
    return np.concatenate([np.zeros(len(p), np.int64) if p.integers is None else p.integers for p in parts])


def _series(keys: Sequence[tuple[list[str], NDArray[Any]]]) -> tuple[list[NDArray[Any]], NDArray[np.int32]]:
    """Of columns of (names, codes of the rows): the codes of all series there are, by column; each row's series."""
    sizes = [max(len(names), 1) for names, _ in keys]
    row = np.ravel_multi_index([codes for _, codes in keys], sizes)
    seen = np.zeros(np.prod(sizes), bool)
    seen[row] = True
    number = np.cumsum(seen, dtype=np.int32) - np.int32(1)
    return list(np.unravel_index(np.flatnonzero(seen), sizes)), number[row]


def _codes(column: pa.ChunkedArray) -> tuple[list[str], NDArray[Any]]:
    array = column.combine_chunks()
    return array.dictionary.to_pylist(), array.indices.to_numpy()


_STATUSES = Table(STATUS_NAMES)
_TIMESTAMP = pa.timestamp("us", "UTC")
_SCHEMA = pa.schema(
    {
        "signal": arrow.NAMES,
        "source": arrow.NAMES,
        "ts": _TIMESTAMP,
        "value": pa.float64(),
        "status": pa.dictionary(pa.int8(), pa.string()),
    }
)


@dataclass(frozen=True, slots=True)
class Text:
    """A value that is not a number: identification (VIN, component), decoded ASCII signals."""

    ts: int
    signal: str
    source: str
    text: str
    machine: str = ""  # where it came from a batch of several


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened once, or a line a machine logged (severity is then the level)."""

    ts: int
    name: str
    severity: str
    data: str  # JSON, or the text of the log line


@dataclass(frozen=True, slots=True)
class Parsed:
    """What one envelope became; ``record`` without its body says where it came from.

    ``logic_version`` is the revision of the manifest that decoded it (0 where no logic was needed).
    """

    record: Record
    realtime: bool
    logic_version: int
    samples: Samples
    texts: tuple[Text, ...] = ()
    dtcs: tuple[Dtc, ...] = ()
    events: tuple[Event, ...] = ()

"""Decoded values as columns: :class:`Samples`, and what one envelope became: :class:`Parsed`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .model import STATUS_NAMES, Dtc, Record

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl


class Runs(NamedTuple):
    """Where the rows of each of ``k`` series are, in order of series.

    Attributes:
        starts: int64 (k + 1), its first row, and at last the number of rows.
        at: int64 (k), where its times begin in ``times``: series of one message share them.
        times: int64, microseconds UTC.
    """

    starts: NDArray[np.int64]
    at: NDArray[np.int64]
    times: NDArray[np.int64]

    @property
    def counts(self) -> NDArray[np.int64]:
        """Rows of each series."""
        return np.diff(self.starts)

    def repeat(self, numbers: NDArray[np.int32]) -> NDArray[np.int32]:
        """A number of each series -> one of every row."""
        return np.repeat(numbers, self.counts)

    def ts(self) -> NDArray[np.int64]:
        """The time of every row."""
        shift = np.repeat(self.at - self.starts[:-1], self.counts)
        shift += np.arange(len(shift))
        return self.times[shift]


class Samples:
    """One row a value, ``n`` rows of ``k`` series.

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

    __slots__ = ("_runs", "_series", "_ts", "integers", "machines", "signals", "sources", "status", "units", "value")

    def __init__(
        self,
        signals: tuple[str, ...],
        sources: tuple[str, ...],
        units: tuple[str, ...],
        series: NDArray[np.int32],
        ts: NDArray[np.int64],
        value: NDArray[np.float64],
        status: NDArray[np.uint8],
        integers: NDArray[np.int64] | None = None,
        machines: tuple[str, ...] = (),
    ) -> None:
        self.machines = machines
        self.signals, self.sources, self.units = signals, sources, units
        self.value, self.status, self.integers = value, status, integers
        self._series: NDArray[np.int32] | None = series
        self._ts: NDArray[np.int64] | None = ts
        self._runs: Runs | None = None

    @classmethod
    def of_runs(
        cls,
        signals: tuple[str, ...],
        sources: tuple[str, ...],
        units: tuple[str, ...],
        runs: Runs,
        value: NDArray[np.float64],
        status: NDArray[np.uint8],
        integers: NDArray[np.int64] | None = None,
        machines: tuple[str, ...] = (),
    ) -> Self:
        """Rows in order of series: ``series`` and ``ts`` are written out when somebody asks for them."""
        made = cls(signals, sources, units, None, None, value, status, integers, machines)  # type: ignore[arg-type]
        made._runs = runs
        return made

    @property
    def series(self) -> NDArray[np.int32]:
        if self._series is None:
            self._series = self._each(np.arange(len(self.signals), dtype=np.int32))
        return self._series

    @property
    def ts(self) -> NDArray[np.int64]:
        if self._ts is None:
            assert self._runs is not None
            self._ts = self._runs.ts()
        return self._ts

    def _each(self, numbers: NDArray[np.int32]) -> NDArray[np.int32]:
        """A number of each series -> one of every row."""
        if self._runs is not None:
            return self._runs.repeat(numbers)
        return numbers[self.series] if len(numbers) else self.series

    def __len__(self) -> int:
        return len(self.value)

    def __getitem__(self, rows: slice | NDArray[Any]) -> Self:
        """The rows of a slice, a mask or an index array; the series table stays."""
        integers = None if self.integers is None else self.integers[rows]
        return type(self)(
            self.signals,
            self.sources,
            self.units,
            self.series[rows],
            self.ts[rows],
            self.value[rows],
            self.status[rows],
            integers,
            self.machines,
        )

    @classmethod
    def empty(cls) -> Self:
        return cls(
            (), (), (), np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0, np.float64), np.empty(0, np.uint8)
        )

    @classmethod
    def concat(cls, parts: Sequence[Samples]) -> Self:
        """All rows in the order given; equal (signal, source) become one series."""
        parts = [p for p in parts if p.signals]
        if not parts:
            return cls.empty()
        table: dict[tuple[str, str], int] = {}
        units: list[str] = []
        codes = []
        for p in parts:
            code = np.empty(len(p.signals), np.int32)
            for i, key in enumerate(zip(p.signals, p.sources, strict=True)):
                if key not in table:
                    table[key] = len(table)
                    units.append(p.units[i])
                code[i] = table[key]
            codes.append(code[p.series])
        return cls(
            tuple(signal for signal, _ in table),
            tuple(source for _, source in table),
            tuple(units),
            np.concatenate(codes),
            np.concatenate([p.ts for p in parts]),
            np.concatenate([p.value for p in parts]),
            np.concatenate([p.status for p in parts]),
            _integers(parts),
        )

    def to_arrow(self) -> pa.Table:
        """Columns signal, source, status (dictionaries without repeats), ts (timestamp[us, UTC]), value; and machine
        (dictionary) where there are several."""
        columns = [
            self._named(self.signals),
            self._named(self.sources),
            pa.array(self.ts).view(_TIMESTAMP),
            pa.array(self.value),
            pa.DictionaryArray.from_arrays(
                pa.array(self.status.view(np.int8)), _dictionary(STATUS_NAMES)[0], safe=False
            ),
        ]
        if self.machines:
            return pa.table([*columns, self._named(self.machines)], [*_SCHEMA.names, "machine"])
        return pa.Table.from_arrays(columns, schema=_SCHEMA)

    def _named(self, names: tuple[str, ...]) -> pa.DictionaryArray:
        """Names of the series -> of the rows."""
        dictionary, codes = _dictionary(names)
        return pa.DictionaryArray.from_arrays(pa.array(self._each(codes)), dictionary, safe=False)

    @classmethod
    def from_arrow(cls, table: pa.Table) -> Self:
        """The inverse of :meth:`to_arrow`; units do not travel."""
        signals, signal_code = _codes(table["signal"])
        sources, source_code = _codes(table["source"])
        pair = signal_code.astype(np.int64) * max(len(sources), 1) + source_code
        seen = np.zeros(max(len(signals) * len(sources), 1), bool)
        seen[pair] = True
        pairs, number = np.flatnonzero(seen), np.cumsum(seen) - 1
        _, status = _codes(table["status"])
        return cls(
            tuple(signals[p // len(sources)] for p in pairs),
            tuple(sources[p % len(sources)] for p in pairs),
            ("",) * len(pairs),
            number[pair].astype(np.int32),
            table["ts"].cast(pa.int64()).to_numpy(),
            table["value"].to_numpy(),
            status.astype(np.uint8),
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


@lru_cache(maxsize=256)
def _dictionary(names: tuple[str, ...]) -> tuple[pa.Array, NDArray[np.int32]]:
    """The names without repeats, and the number of each. Batch after batch has the same ones."""
    table = {name: i for i, name in enumerate(dict.fromkeys(names))}
    return pa.array(list(table), pa.string()), np.array([table[name] for name in names], np.int32)


def _codes(column: pa.ChunkedArray) -> tuple[list[str], NDArray[Any]]:
    array = column.combine_chunks()
    return array.dictionary.to_pylist(), array.indices.to_numpy()


_TIMESTAMP = pa.timestamp("us", "UTC")
_SCHEMA = pa.schema(
    {
        "signal": pa.dictionary(pa.int32(), pa.string()),
        "source": pa.dictionary(pa.int32(), pa.string()),
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

"""Decoded values as columns: :class:`Samples`, and what one envelope became: :class:`Parsed`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .model import STATUS_NAMES, Dtc, Record

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl


@dataclass(frozen=True, slots=True, eq=False)
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
    """

    signals: tuple[str, ...]
    sources: tuple[str, ...]
    units: tuple[str, ...]
    series: NDArray[np.int32]
    ts: NDArray[np.int64]
    value: NDArray[np.float64]
    status: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.ts)

    def __getitem__(self, rows: slice | NDArray[Any]) -> Self:
        """The rows of a slice, a mask or an index array; the series table stays."""
        return type(self)(
            self.signals,
            self.sources,
            self.units,
            self.series[rows],
            self.ts[rows],
            self.value[rows],
            self.status[rows],
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
        )

    def to_arrow(self) -> pa.Table:
        """Columns signal, source, status (dictionaries without repeats), ts (timestamp[us, UTC]), value."""
        signal_names, signal_code = _unique(self.signals)
        source_names, source_code = _unique(self.sources)
        return pa.table(
            {
                "signal": _dictionary(signal_code[self.series] if self.signals else self.series, signal_names),
                "source": _dictionary(source_code[self.series] if self.sources else self.series, source_names),
                "ts": pa.array(self.ts, pa.int64()).cast(pa.timestamp("us", "UTC")),
                "value": pa.array(self.value),
                "status": _dictionary(self.status.astype(np.int8), STATUS_NAMES),
            }
        )

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


def _unique(names: tuple[str, ...]) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    table = {name: i for i, name in enumerate(dict.fromkeys(names))}
    return tuple(table), np.array([table[name] for name in names], np.int32)


def _dictionary(codes: NDArray[Any], names: Sequence[str]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(list(names), pa.string()))


def _codes(column: pa.ChunkedArray) -> tuple[list[str], NDArray[Any]]:
    array = column.combine_chunks()
    return array.dictionary.to_pylist(), array.indices.to_numpy()


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

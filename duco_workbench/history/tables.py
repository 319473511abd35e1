"""Tables for people: :class:`Rows`, times as they are given, series side by side. Loads pandas and polars on demand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

MAX_CELLS = 100_000_000  # of a wide table: 800 MB
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS = {"us": 1, "ms": 1000, "s": 1_000_000, "min": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """A result: a pyarrow table, and what it becomes on demand. Times are ``timestamp[us, UTC]``."""

    table: pa.Table

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @property
    def columns(self) -> list[str]:
        return list(self.table.column_names)

    def to_arrow(self) -> pa.Table:
        return self.table

    def to_pandas(self) -> pd.DataFrame:
        frame: pd.DataFrame = self.table.to_pandas()
        return frame

    def to_polars(self) -> pl.DataFrame:
        import polars

        frame = polars.from_arrow(self.table)
        assert isinstance(frame, polars.DataFrame)
        return frame

    def _repr_html_(self) -> str:
        shown = Rows(self.table.slice(0, 20)).to_pandas()._repr_html_()  # type: ignore[operator]
        return f"{shown}<p>{len(self):,} rows</p>"

    def __repr__(self) -> str:
        return f"{len(self):,} rows of {', '.join(self.columns)}: .to_pandas(), .to_polars(), .to_arrow()"


def microseconds(time: Any) -> int | None:
    """A moment as microseconds UTC; None stays None.

    Raises: ConfigError when it has no zone, or is no time.
    """
    if time is None or (isinstance(time, int | np.integer) and not isinstance(time, bool)):
        return None if time is None else int(time)
    if isinstance(time, str):
        try:
            time = datetime.fromisoformat(time)
        except ValueError:
            raise ConfigError(f"{time!r} is no time; write it as 2026-01-31T08:00:00+00:00") from None
    if not isinstance(time, datetime):
        raise ConfigError(f"{time!r} is no time: give a datetime with a zone, an ISO text or microseconds UTC")
    if time.tzinfo is None:
        raise ConfigError(f"the time {time.isoformat()} has no zone; add one, e.g. {time.isoformat()}+00:00 for UTC")
    return (time - _EPOCH) // timedelta(microseconds=1)


def duration(span: str | timedelta | int) -> int:
    """``"100ms"``, ``"1s"``, ``"5min"``, ``"1h"``, a timedelta or microseconds, as microseconds.

    Raises: ConfigError when it is none, or not above zero.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(us|ms|s|min|h|d)\s*", span) if isinstance(span, str) else None
    if found:
        span = round(float(found[1]) * _UNITS[found[2]])
    if isinstance(span, timedelta):
        span = span // timedelta(microseconds=1)
    if not isinstance(span, int) or span <= 0:
        raise ConfigError(f"every = {span!r} is no span of time; write it as 100ms, 1s, 5min or 1h")
    return span


def fill_forward(samples: pa.Table, start: int | None, end: int | None, every: int | None) -> pa.Table:
    """Series side by side: at each time of the result the last value at or before it, NaN where that is NaN or none.

    Args:
        samples: columns signal, source (dictionaries), ts, value, in that order; may begin before ``start``.
        start, end: microseconds UTC; the result's times are in [start, end). None: as the samples are.
        every: step of the times in microseconds; None takes every time in the samples.
    """
    series = list(_series(samples))
    times = _grid([ts for _, ts, _ in series], start, end, every)
    if len(times) * len(series) > MAX_CELLS:
        raise ConfigError(
            f"{len(times):,} times of {len(series)} series are too many to hold; take less, or say every='1s'"
        )
    columns: dict[str, Any] = {"ts": pa.array(times).cast(pa.timestamp("us", "UTC"))}
    for name, ts, value in series:
        at = np.searchsorted(ts, times, "right") - 1
        columns[name] = pa.array(np.where(at >= 0, value[at], np.nan))
    return pa.table(columns)


def _series(samples: pa.Table) -> Iterator[tuple[str, NDArray[np.int64], NDArray[np.float64]]]:
    """Name, times and values of each series; each stands together, in the order of time."""
    if not samples.num_rows:
        return
    (signals, signal), (sources, source) = _codes(samples["signal"]), _codes(samples["source"])
    first = np.flatnonzero(np.diff(signal.astype(np.int64) * len(sources) + source, prepend=-1))
    many = {int(code) for code, n in zip(*np.unique(signal[first], return_counts=True), strict=True) if n > 1}
    ts, value = samples["ts"].cast(pa.int64()).to_numpy(), samples["value"].to_numpy()
    for start, end in zip(first, [*first[1:], len(ts)], strict=True):
        name, code = signals[signal[start]], int(signal[start])
        yield f"{name}@{sources[source[start]]}" if code in many else name, ts[start:end], value[start:end]


def _codes(column: pa.ChunkedArray) -> tuple[list[str], NDArray[np.int32]]:
    array = pa.concat_arrays(column.unify_dictionaries().chunks)
    return array.dictionary.to_pylist(), array.indices.to_numpy()


def _grid(parts: list[NDArray[np.int64]], start: int | None, end: int | None, every: int | None) -> NDArray[np.int64]:
    every_time = np.unique(np.concatenate(parts)) if parts else np.empty(0, np.int64)
    first = start if start is not None else int(every_time[0]) if len(every_time) else 0
    last = end if end is not None else int(every_time[-1]) + 1 if len(every_time) else 0
    if every is None:
        return every_time[(every_time >= first) & (every_time < last)]
    if (last - first) // every > MAX_CELLS:
        raise ConfigError(f"a step of {every} µs makes too many times of this range; take a longer one")
    return np.arange(first, last, every, dtype=np.int64) if parts else np.empty(0, np.int64)

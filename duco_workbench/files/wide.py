"""Wide tables: one a message, one column a signal, one row a frame."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .. import arrow
from ..columns import Samples
from ..parsing.database import Database
from ..parsing.texts import text_signals
from .selection import Selection

ENOUGH_ROWS = 1 << 16  # of one message: a table goes out
MOST_BYTES = 128 << 20  # of all messages: all of them go out


class Key(NamedTuple):
    """A message as one sender sends it: ``source`` is ``can0``, or ``can0:03`` on J1939."""

    message: str
    source: str


class Columns:
    """Samples as tables ``ts``, ``source`` and every signal of the message; null where there is no number.

    Rows of one sender are in order of time; those of several senders take turns, tens of thousands of rows at a time.

    Args:
        databases: whose signals there can be.
        selection: the wanted ones.
    """

    def __init__(self, databases: Iterable[Database], selection: Selection) -> None:
        self._schemas = _schemas(databases, selection)
        self._waiting: defaultdict[Key, list[pa.Table]] = defaultdict(list)
        self._bytes = 0

    def add(self, samples: Samples) -> Iterator[tuple[Key, pa.Table]]:
        """The tables that are large enough; when all together are too large, all of them."""
        bounds = samples.runs.starts.tolist()
        for key, series in _by_sender(samples).items():
            part = _table(samples, key.source, series, bounds, self._schemas[key.message])
            self._waiting[key].append(part)
            self._bytes += part.nbytes
            if sum(map(len, self._waiting[key])) >= ENOUGH_ROWS:
                yield key, self._take(key)
        if self._bytes > MOST_BYTES:
            yield from self.rest()

    def rest(self) -> Iterator[tuple[Key, pa.Table]]:
        for key in list(self._waiting):
            yield key, self._take(key)

    def _take(self, key: Key) -> pa.Table:
        whole = pa.concat_tables(self._waiting.pop(key)).combine_chunks()
        self._bytes -= whole.nbytes
        return whole


def _schemas(databases: Iterable[Database], selection: Selection) -> dict[str, pa.Schema]:
    """Of every message, the columns it can have, with their units as metadata."""
    units: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for message in (message for database in databases for message in database.messages):
        texts, seen = text_signals(message), Counter[str]()
        for signal in (s for i, s in enumerate(message.signals) if i not in texts):
            seen[signal.name] += 1  # the decoder numbers names that a message repeats
            name = signal.name if seen[signal.name] == 1 else f"{signal.name}#{seen[signal.name]}"
            if selection.has(f"{message.name}.{signal.name}"):
                units[message.name].setdefault(name, signal.unit)
    fixed = [pa.field("ts", pa.timestamp("us", "UTC")), pa.field("source", arrow.NAMES)]
    return {
        message: pa.schema(
            fixed + [pa.field(name, pa.float64(), metadata={"unit": unit}) for name, unit in columns.items()]
        )
        for message, columns in units.items()
    }


def _by_sender(samples: Samples) -> dict[Key, list[int]]:
    found: defaultdict[Key, list[int]] = defaultdict(list)
    for number, (signal, source) in enumerate(zip(samples.signals, samples.sources, strict=True)):
        found[Key(signal.partition(".")[0], source)].append(number)
    return found


def _table(samples: Samples, source: str, series: list[int], bounds: list[int], schema: pa.Schema) -> pa.Table:
    """The series of one message of one sender side by side; copied, so that what waits keeps no whole chunk alive."""
    spans = {samples.signals[i].partition(".")[2]: slice(bounds[i], bounds[i + 1]) for i in series}
    ts, rows = _shared_times([samples.ts[span] for span in spans.values()])
    columns = {}
    for (name, span), at in zip(spans.items(), rows, strict=True):
        columns[name] = samples.value[span].copy() if at is None else _spread(samples.value[span], at, len(ts))
    arrays = [
        arrow.numbers(ts, schema.field("ts").type),
        arrow.named(np.zeros(len(ts), np.int32), arrow.strings([source])),
    ]
    for name in schema.names[2:]:
        values = columns.get(name)
        if values is None:
            arrays.append(pa.nulls(len(ts), pa.float64()))
        else:
            arrays.append(arrow.numbers(values, pa.float64(), ~np.isnan(values)))
    return pa.table(arrays, schema=schema)


def _shared_times(times: list[NDArray[np.int64]]) -> tuple[NDArray[np.int64], list[NDArray[np.intp] | None]]:
    """Every time once, and the rows of each column, None for all rows: as a rule, all signals of a frame are there."""
    first = times[0]
    if all(len(other) == len(first) and np.array_equal(other, first) for other in times[1:]):
        return first.copy(), [None] * len(times)
    every = np.unique(np.concatenate(times))
    return every, [np.searchsorted(every, other) for other in times]


def _spread(values: NDArray[np.float64], rows: NDArray[np.intp], length: int) -> NDArray[np.float64]:
    column = np.full(length, np.nan)
    column[rows] = values
    return column

"""The long table: one row a value."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from .. import arrow
from ..columns import Samples
from ..model import STATUS_NAMES
from ..names import Table

SCHEMA = pa.schema(
    [
        pa.field("ts", pa.timestamp("us", "UTC"), nullable=False),
        pa.field("signal", arrow.NAMES, nullable=False),
        pa.field("source", arrow.NAMES, nullable=False),
        pa.field("value", pa.float64()),
        pa.field("unit", arrow.NAMES, nullable=False),
        pa.field("status", pa.dictionary(pa.int8(), pa.string()), nullable=False),
    ]
)
_STATUSES = Table(STATUS_NAMES)
FEWEST_ROWS = 1 << 17  # of a table: smaller ones are read slowly


class Rows:
    """Samples as tables of :data:`SCHEMA`, small ones put together.

    ``value`` is null where there is no number. Within a table, rows are in order of series and time, per chunk of the
    log; tables follow each other in time.
    """

    def __init__(self) -> None:
        self._waiting: list[Samples] = []

    def add(self, samples: Samples) -> Iterator[pa.Table]:
        self._waiting.append(samples)
        if sum(map(len, self._waiting)) >= FEWEST_ROWS:
            yield from self.rest()

    def rest(self) -> Iterator[pa.Table]:
        """What has not been given yet."""
        samples = Samples.concat(self._waiting) if len(self._waiting) > 1 else (self._waiting or [Samples.empty()])[0]
        self._waiting = []
        if len(samples):
            yield table(samples)


def table(samples: Samples) -> pa.Table:
    """A table of :data:`SCHEMA`."""
    is_number = samples.value == samples.value  # NaN is not
    columns = [
        arrow.numbers(samples.ts, SCHEMA.field("ts").type),
        samples.named(samples.signal_names),
        samples.named(samples.source_names),
        arrow.numbers(samples.value, pa.float64(), None if is_number.all() else is_number),
        samples.named(samples.unit_names),
        arrow.named(samples.status.view(np.int8), _STATUSES.dictionary),
    ]
    return pa.table(columns, schema=SCHEMA)

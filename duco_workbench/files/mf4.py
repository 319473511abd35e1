"""MDF 4 through asammdf: one channel group a message and sender, with units; time from the first value on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..columns import Samples
from .wide import Columns, Key


class Mf4Sink:
    """asammdf keeps what is appended in a temporary file of its own, so memory is bounded; the disk holds it twice."""

    def __init__(self, path: Path, columns: Columns) -> None:
        from asammdf import MDF

        self._path, self._columns = path, columns
        self._mdf: Any = MDF(version="4.10", temporary_folder=path.parent)
        self._groups: dict[Key, int] = {}
        self._start: int | None = None

    def write(self, samples: Samples) -> None:
        if self._start is None and len(samples):
            self._start = int(samples.ts.min())
            self._mdf.start_time = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=self._start)
        for key, table in self._columns.add(samples):
            self._append(key, table)

    def finish(self) -> None:
        for key, table in self._columns.rest():
            self._append(key, table)
        named = self._path.with_suffix(".mf4")  # asammdf puts its suffix where it finds another
        try:
            self._mdf.save(named, overwrite=True, compression=1)
            named.replace(self._path)
        finally:
            named.unlink(missing_ok=True)

    def close(self) -> None:
        self._mdf.close()

    def _append(self, key: Key, table: pa.Table) -> None:
        seconds = (table["ts"].cast(pa.int64()).to_numpy() - (self._start or 0)) / 1e6
        columns = {field: _column(table, field) for field in table.schema.names[2:]}
        if key in self._groups:
            self._mdf.extend(self._groups[key], [(seconds, None), *((column, None) for column in columns.values())])
            return
        self._groups[key] = self._mdf.append(
            [_signal(table.schema.field(name), column, seconds) for name, column in columns.items()],
            acq_name=key.message,
            acq_source=_source(key),
            comment=f"{key.message} from {key.source}",
            common_timebase=True,
        )


def _column(table: pa.Table, name: str) -> NDArray[np.float64]:
    column: NDArray[np.float64] = table[name].to_numpy()  # null is NaN
    return column


def _signal(field: pa.Field, samples: NDArray[np.float64], seconds: NDArray[np.float64]) -> Any:
    from asammdf import Signal

    return Signal(samples, seconds, name=field.name, unit=field.metadata[b"unit"].decode())


def _source(key: Key) -> Any:
    from asammdf.blocks.source_utils import Source
    from asammdf.blocks.v4_constants import BUS_TYPE_CAN, SOURCE_BUS

    return Source(key.source, key.source, "", SOURCE_BUS, BUS_TYPE_CAN)

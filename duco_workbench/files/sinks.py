"""Files that take samples chunk by chunk: Parquet and CSV, long or wide. MF4 is in :mod:`.mf4`."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from ..columns import Samples
from .long import SCHEMA, Rows
from .wide import Columns

OpenTable = Callable[[Path, pa.Schema], Any]  # a writer with write_table() and close()


class Sink(Protocol):
    """``write`` any number of times, then ``finish`` once; ``close`` in any case."""

    def write(self, samples: Samples) -> None: ...

    def finish(self) -> None: ...

    def close(self) -> None: ...


def open_parquet(path: Path, schema: pa.Schema) -> Any:
    """zstd; names as dictionaries, which runs of rows make tiny; values with their bytes apart, which is faster.

    Times stay plain: DuckDB reads no integers with their bytes apart. Statistics of names would cost a third of the
    time and exclude nothing, since each row group has nearly all of them.
    """
    names = [field.name for field in schema if pa.types.is_dictionary(field.type)]
    numbers = [field.name for field in schema if not pa.types.is_dictionary(field.type)]
    return pa.parquet.ParquetWriter(
        path,
        schema,
        compression="zstd",
        compression_level=1,
        use_dictionary=names,
        use_byte_stream_split=[field.name for field in schema if pa.types.is_float64(field.type)],
        write_statistics=numbers,
    )


def open_csv(path: Path, schema: pa.Schema) -> Any:
    """Times in ISO 8601, UTC; names as text; nothing where there is no number."""
    return pa.csv.CSVWriter(path, schema)


OPEN: dict[str, OpenTable] = {".parquet": open_parquet, ".csv": open_csv}


class LongSink:
    """One file, one row a value."""

    def __init__(self, path: Path, suffix: str) -> None:
        self._rows, self._file = Rows(), OPEN[suffix](path, SCHEMA)

    def write(self, samples: Samples) -> None:
        for table in self._rows.add(samples):
            self._file.write_table(table)

    def finish(self) -> None:
        for table in self._rows.rest():
            self._file.write_table(table)

    def close(self) -> None:
        self._file.close()


class WideSink:
    """A folder with one file a message, one row a frame."""

    def __init__(self, folder: Path, suffix: str, columns: Columns) -> None:
        self._folder, self._suffix, self._columns = folder, suffix, columns
        self._files: dict[str, Any] = {}
        self._taken: set[str] = set()
        self._stack = ExitStack()

    def write(self, samples: Samples) -> None:
        for key, table in self._columns.add(samples):
            self._file(key.message, table.schema).write_table(table)

    def finish(self) -> None:
        for key, table in self._columns.rest():
            self._file(key.message, table.schema).write_table(table)

    def close(self) -> None:
        self._stack.close()

    def _file(self, message: str, schema: pa.Schema) -> Any:
        if message not in self._files:
            path = self._folder / f"{self._name(message)}{self._suffix}"
            self._files[message] = OPEN[self._suffix](path, schema)
            self._stack.callback(self._files[message].close)
        return self._files[message]

    def _name(self, message: str) -> str:
        """A file's name on any platform, where case may not count."""
        name = re.sub(r"[^\w.-]", "_", message)
        while name.lower() in self._taken:
            name += "_"
        self._taken.add(name.lower())
        return name

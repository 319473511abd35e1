"""Arrow tables in ClickHouse's own Native format: the server takes its columns as they are.

Reading Arrow costs it a third of an insert: it looks up every name of a dictionary column again, row by row.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa

# What a column of each Arrow type is declared as; the server converts it where the table's type is another (Enum8).
_TYPES = {
    pa.int8(): "Int8",
    pa.uint32(): "UInt32",
    pa.uint64(): "UInt64",
    pa.float64(): "Float64",
    pa.timestamp("us", "UTC"): "DateTime64(6, 'UTC')",
}
_NAMES = "LowCardinality(String)"
_SHARED_DICTIONARIES = 1  # the one version of a column of names there is
_OWN_KEYS = 1 << 9  # the names come with the block; below that bit stands which of the codes follow
_CODES = ("u1", "<u2", "<u4")


def holds(schema: pa.Schema) -> bool:
    """Whether all columns are dictionaries of strings or of the types above."""
    return all(kind in _TYPES or _are_names(kind) for kind in schema.types)


def _are_names(kind: pa.DataType) -> bool:
    return pa.types.is_dictionary(kind) and bool(kind.value_type == pa.string())


def block(table: pa.Table) -> bytes:
    """All rows of a table that it holds, as one block; there are no nulls in it."""
    parts: list[Any] = [_varint(table.num_columns), _varint(table.num_rows)]
    for name, column in zip(table.column_names, table.columns, strict=True):
        array = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
        if _are_names(array.type):
            parts += [_string(name), _string(_NAMES), *_names(array)]
        else:
            parts += [_string(name), _string(_TYPES[array.type]), _values(array)]
    return b"".join(parts)


def _names(array: pa.DictionaryArray) -> Iterable[Any]:
    names, codes = array.dictionary.to_pylist(), array.indices.to_numpy()
    width = (len(names) > 1 << 8) + (len(names) > 1 << 16)
    head = np.array([_SHARED_DICTIONARIES, _OWN_KEYS | width, len(names)], "<u8")
    return [head.data, *map(_string, names), len(codes).to_bytes(8, "little"), codes.astype(_CODES[width]).data]


def _values(array: pa.Array) -> Any:
    width = array.type.bit_width // 8
    return memoryview(array.buffers()[1])[array.offset * width : (array.offset + len(array)) * width]


def _string(text: str) -> bytes:
    encoded = text.encode()
    return _varint(len(encoded)) + encoded


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first."""
    low = bytearray()
    while number > 0x7F:
        low.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*low, number])

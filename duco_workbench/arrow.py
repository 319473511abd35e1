"""numpy columns as Arrow arrays, without a copy and without pandas: ``pa.array`` would import it, for two seconds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def numbers(values: NDArray[Any], kind: pa.DataType, valid: NDArray[np.bool_] | None = None) -> pa.Array:
    """Values of the width of ``kind`` as such; null where not ``valid``."""
    validity = None if valid is None else pa.py_buffer(np.packbits(valid, bitorder="little"))
    return pa.Array.from_buffers(kind, len(values), [validity, pa.py_buffer(np.ascontiguousarray(values))])


def strings(texts: Iterable[str]) -> pa.Array:
    encoded = [text.encode() for text in texts]
    offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    return pa.StringArray.from_buffers(len(encoded), pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded)))


_KINDS = {np.dtype(np.int8): pa.dictionary(pa.int8(), pa.string())}
NAMES = pa.dictionary(pa.int32(), pa.string())


def named(codes: NDArray[Any], dictionary: pa.Array) -> pa.DictionaryArray:
    """A text for each code; int8 or int32 codes, all within the dictionary."""
    kind = _KINDS.get(codes.dtype, NAMES)
    buffers = [None, pa.py_buffer(np.ascontiguousarray(codes))]
    return pa.DictionaryArray.from_buffers(kind, len(codes), buffers, dictionary)

"""numpy columns as Arrow arrays, without a copy and without pandas: ``pa.array`` would import it, for two seconds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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


def names(codes: NDArray[Any], of: Sequence[str]) -> pa.DictionaryArray:
    """A name for each code; int8 or int32 codes."""
    kind = pa.int8() if codes.dtype == np.int8 else pa.int32()
    return pa.DictionaryArray.from_arrays(numbers(codes, kind), strings(of))

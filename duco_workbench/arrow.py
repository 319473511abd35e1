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


class Names:
    """Texts without repeats, and the number of each text given."""

    __slots__ = ("codes", "dictionary", "texts")

    def __init__(self, texts: Sequence[str]) -> None:
        number = {text: i for i, text in enumerate(dict.fromkeys(texts))}
        self.texts = texts
        self.dictionary = strings(number)
        self.codes = np.array([number[text] for text in texts], np.int32)


_KINDS = {np.dtype(np.int8): pa.dictionary(pa.int8(), pa.string())}
NAMES = pa.dictionary(pa.int32(), pa.string())
_MOST_KNOWN = 256
_known: dict[int, Names] = {}


def names_of(texts: tuple[str, ...]) -> Names:
    """:class:`Names`, remembered: batch after batch has the very same tuple, of thousands of texts, whose hash would
    cost more than all else. Its address says which it is as long as it is held here."""
    known = _known.get(id(texts))
    if known is None or known.texts is not texts:
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        known = _known[id(texts)] = Names(texts)
    return known


def named(codes: NDArray[Any], dictionary: pa.Array) -> pa.DictionaryArray:
    """A text for each code; int8 or int32 codes, all within the dictionary."""
    kind = _KINDS.get(codes.dtype, NAMES)
    buffers = [None, pa.py_buffer(np.ascontiguousarray(codes))]
    return pa.DictionaryArray.from_buffers(kind, len(codes), buffers, dictionary)

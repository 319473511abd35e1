"""Texts that repeat, as numbers: a batch has thousands of series, whose names nobody wants to look at one by one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from . import arrow

Texts = Sequence[str]
MOST_ASKED, MOST_KEPT = 4096, 64  # names of a batch of one machine, and how many such batches


class Table:
    """Different texts, by number."""

    def __init__(self, texts: Texts) -> None:
        self.texts = tuple(texts)
        self.compacted: dict[bytes, tuple[pa.Array, NDArray[np.int32]]] = {}  # of Names of this table, by their codes

    def __len__(self) -> int:
        return len(self.texts)

    @cached_property
    def objects(self) -> NDArray[Any]:
        return np.array(self.texts, object)

    @cached_property
    def ranks(self) -> NDArray[np.int32]:
        """The place of each text when all are sorted."""
        ranks = np.empty(len(self.texts), np.int32)
        ranks[np.argsort(self.objects)] = np.arange(len(self.texts))
        return ranks

    @cached_property
    def dictionary(self) -> pa.Array:
        return arrow.strings(self.texts)


class Names:
    """A text for each of ``k`` things: int32 ``codes`` (k) into ``table``."""

    __slots__ = ("_each", "codes", "table")

    def __init__(self, table: Table, codes: NDArray[np.int32]) -> None:
        self.table, self.codes = table, codes
        self._each: tuple[str, ...] | None = None

    @classmethod
    def of(cls, texts: Texts | Names) -> Names:
        if isinstance(texts, Names):
            return texts
        number = {text: i for i, text in enumerate(dict.fromkeys(texts))}
        return cls(Table(tuple(number)), np.array([number[text] for text in texts], np.int32))

    @classmethod
    def joined(cls, parts: Sequence[Names]) -> Names:
        """Those of all parts, one after the other."""
        tables = list({id(part.table): part.table for part in parts}.values())
        if len(tables) == 1:
            return cls(tables[0], np.concatenate([part.codes for part in parts]))
        number = {text: i for i, text in enumerate(dict.fromkeys(text for t in tables for text in t.texts))}
        moved = {id(t): np.array([number[text] for text in t.texts], np.int32) for t in tables}
        return cls(Table(tuple(number)), np.concatenate([moved[id(part.table)][part.codes] for part in parts]))

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, rows: slice | NDArray[Any]) -> Names:
        return Names(self.table, self.codes[rows])

    @property
    def each(self) -> tuple[str, ...]:
        """The text of each."""
        if self._each is None:
            self._each = tuple(self.table.objects[self.codes].tolist())
        return self._each

    def compact(self) -> tuple[pa.Array, NDArray[np.int32]]:
        """The texts that occur, and the number there of each. Batch after batch asks for the very same ones."""
        asked = self.codes.tobytes() if len(self.codes) <= MOST_ASKED else None
        found = self.table.compacted.get(asked) if asked is not None else None
        if found is None:
            found = self._compacted()
            if asked is not None:
                if len(self.table.compacted) == MOST_KEPT:
                    self.table.compacted.clear()
                self.table.compacted[asked] = found
        return found

    def _compacted(self) -> tuple[pa.Array, NDArray[np.int32]]:
        is_used = np.zeros(len(self.table), bool)
        is_used[self.codes] = True
        if is_used.all():
            return self.table.dictionary, self.codes
        number = np.cumsum(is_used, dtype=np.int32) - np.int32(1)
        return self.table.dictionary.take(arrow.numbers(np.flatnonzero(is_used), pa.int64())), number[self.codes]


NO_NAMES = Names.of(())

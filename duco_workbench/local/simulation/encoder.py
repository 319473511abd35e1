"""Columns of physical values -> columns of frame bytes, a whole column at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .layout import Message, Signal

Column = NDArray[Any] | float
Values = Mapping[str, Column]
Words = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Field:
    """One signal: how a value becomes raw bits, and where these go.

    Attributes:
        low, high: raw limits; a value beyond them is sent as the limit.
        error: raw value of a sensor known to be broken (J1939's error indicator), sent for +inf.
        not_available: all ones, sent for NaN and for what a machine does not have.
    """

    name: str
    word: int
    shift: int
    length: int
    is_big_endian: bool
    is_float: bool
    scale: float
    offset: float
    low: int
    high: int
    error: int
    not_available: int


class MessageEncoder:
    """Encodes one message, or one page of a multiplexed one. Made once, used for millions of frames."""

    def __init__(self, message: Message, page: int | None = None) -> None:
        self._message, self._page = message, page
        self._words = -(-message.length // 8)
        chosen = [s for s in message.signals if s.page in (None, page)]
        self._selector = next((s.name for s in chosen if s.is_multiplexer), None)
        self._fields = [_field(s, message.is_j1939) for s in chosen]
        # J1939 sends ones where nothing is defined, the other bus zeros.
        self._blank = ~_used(self._fields, self._words) if message.is_j1939 else np.zeros(self._words, np.uint64)

    def encode(self, values: Values, n: int) -> NDArray[np.uint8]:
        """Bytes (n, length). ``values``: physical value of each signal, a column (n) or a constant.

        Raises: KeyError for a value whose signal the message does not have (a slip in a demo machine).
        """
        if unknown := values.keys() - {f.name for f in self._fields}:
            raise KeyError(f"{self._message.name} has no signals {sorted(unknown)}")
        little = np.empty((n, self._words), np.uint64)
        little[:] = self._blank
        big: Words | None = None
        for field in self._fields:
            bits = _raw(field, self._value(field, values))
            if field.is_big_endian:
                moved = bits << np.uint64(field.shift)
                big = np.broadcast_to(moved, n) if big is None else big | moved
            else:
                _put(little, field, bits)
        if big is not None:
            little[:, 0] |= big.byteswap()
        return little.view(np.uint8)[:, : self._message.length]

    def _value(self, field: Field, values: Values) -> Column:
        return float(self._page or 0) if field.name == self._selector else values.get(field.name, np.nan)


def _put(words: Words, field: Field, bits: Words) -> None:
    words[:, field.word] |= bits << np.uint64(field.shift)
    if field.shift + field.length > 64:  # a signal of a long message that goes over a word's end
        words[:, field.word + 1] |= bits >> np.uint64(64 - field.shift)


def _raw(field: Field, value: Column) -> Words:
    """Raw bits (n), or (1) for a constant."""
    column = np.atleast_1d(np.asarray(value, np.float64))
    if field.is_float:
        return column.astype(np.float32).view(np.uint32).astype(np.uint64)
    scaled = column - field.offset if field.offset else column
    raw = np.rint(scaled / field.scale)
    np.clip(raw, field.low, field.high, out=raw)
    missing = ~np.isfinite(column)
    if not missing.any():
        return raw.astype(np.int64).view(np.uint64) & np.uint64(field.not_available)
    raw[missing] = 0
    codes = raw.astype(np.int64).view(np.uint64) & np.uint64(field.not_available)
    codes[missing] = np.where(np.isnan(column[missing]), field.not_available, field.error)
    return codes


def _field(signal: Signal, is_j1939: bool) -> Field:
    low, high, error = _limits(signal, is_j1939)
    # Motorola signals (messages of at most 8 bytes) are placed in one big-endian word, from its far end.
    shift = 64 - (signal.start // 8 * 8 + 7 - signal.start % 8) - signal.length
    return Field(
        name=signal.name,
        word=0 if signal.is_big_endian else signal.start // 64,
        shift=shift if signal.is_big_endian else signal.start % 64,
        length=signal.length,
        is_big_endian=signal.is_big_endian,
        is_float=signal.is_float,
        scale=signal.scale,
        offset=signal.offset,
        low=low,
        high=high,
        error=error,
        not_available=(1 << signal.length) - 1,
    )


def _limits(signal: Signal, is_j1939: bool) -> tuple[int, int, int]:
    """Lowest and highest valid raw value, and the error indicator (SAE J1939-71 table 1)."""
    n = signal.length
    if signal.is_signed:
        return -(1 << n - 1), (1 << n - 1) - 1, (1 << n - 1) - 1
    if not is_j1939:
        return 0, (1 << n) - 1, (1 << n) - 1
    if n >= 8:
        return 0, (0xFB << n - 8) - 1, 0xFE << n - 8
    return 0, max((1 << n) - 3, 1), (1 << n) - 2


def _used(fields: list[Field], words: int) -> Words:
    """The bits any field covers (words)."""
    used = np.zeros((1, words), np.uint64)
    for field in fields:
        _put(used, field, np.array([field.not_available], np.uint64))
    return np.asarray(used[0])

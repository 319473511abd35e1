"""Payloads to values with numpy: what :mod:`.values` does, for many signals at a time.

Signals that need the same steps are *alike*: their parameters stand as columns (s, 1) against words (w, m), so that one
operation serves s signals of m frames. The steps and their order are those of :mod:`.values`, and so is every bit.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .plan import (
    FLOAT16,
    FLOAT32,
    FLOAT64,
    INTEGER,
    INTEGER_UNSIGNED,
    LINEAR_UNSIGNED,
    SHIFTED,
    SHIFTED_UNSIGNED,
    WIDE,
)

_BITS = np.uint64(64)
_NARROW: dict[int, tuple[Any, Any]] = {FLOAT16: (np.uint16, np.float16), FLOAT32: (np.uint32, np.float32)}


class Alike(NamedTuple):
    """Signals of one kind, byte order and number of words: their positions (s) in a node, their parameters (s, 1)."""

    positions: NDArray[np.intp]
    signals: NDArray[Any]


class Values(NamedTuple):
    """Of s signals in m frames; ``status`` is None where all are ok, ``integers`` where none is wider than 53 bits."""

    value: NDArray[np.float64]
    status: NDArray[np.uint8] | None
    integers: NDArray[np.int64] | None


def alike(signals: NDArray[Any]) -> list[Alike]:
    """Signals (s) in groups of those that need the same steps."""
    steps = [s.item() for s in signals[["kind", "big", "two_words", "judged"]]]
    groups: dict[tuple[int, ...], list[int]] = {}
    for position, step in enumerate(steps):
        groups.setdefault(step, []).append(position)
    return [Alike(np.array(g), signals[g][:, np.newaxis]) for g in groups.values()]


def words_of(signals: NDArray[Any]) -> int:
    """How many words of their frames signals need that are sorted by their last bit."""
    return int(signals[-1]["word"]) + int(signals[-1]["two_words"]) + 1


def decoded(words: NDArray[np.uint64], g: NDArray[Any]) -> Values:
    """Values of signals ``g`` (s, 1), which are alike, from words (w, m); what is not ok has no number."""
    raw = raw_of(words, g)
    value, integers = _physical(raw, g)
    if not g["judged"][0, 0]:
        return Values(value, None, integers)
    status, is_bad = _judged(raw, g)
    np.copyto(value, np.nan, where=is_bad)
    return Values(value, status, integers)


def raw_of(words: NDArray[np.uint64], g: NDArray[Any]) -> NDArray[np.uint64]:
    """Raw unsigned values (s, m)."""
    raw: NDArray[np.uint64]
    shift, two_words = g["shift"], g["two_words"][0, 0]
    here = words if len(words) == 1 else words[g["word"][:, 0]]
    more = words[g["word"][:, 0] + 1] if two_words else here
    if g["big"][0, 0]:
        raw = here.byteswap() << shift
        if two_words:
            raw |= more.byteswap() >> (_BITS - shift)
        raw >>= _BITS - g["length"]
    else:
        raw = here >> shift
        if two_words:
            raw |= more << (_BITS - shift)
        raw &= g["mask"]
    return raw


def signed(raw: NDArray[np.uint64], g: NDArray[Any]) -> NDArray[np.int64]:
    """Raw values with their sign, if they have one."""
    sign: NDArray[np.uint64] = g["sign"]
    if not sign.any():
        return raw.view(np.int64)
    return (raw ^ sign).view(np.int64) - sign.astype(np.int64)


def _physical(raw: NDArray[np.uint64], g: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.int64] | None]:
    """Values, and what they are exactly where they are integers wider than 53 bits."""
    kind = int(g["kind"][0, 0])
    if kind in (INTEGER, INTEGER_UNSIGNED):
        return _integers(raw, g, kind)
    if kind == WIDE:
        return _wide(raw, g), None
    if kind in (SHIFTED, SHIFTED_UNSIGNED):
        value = _scaled_integers(raw, g, kind).astype(np.float64)
    else:
        value = _numbers(raw, g, kind)
        value *= g["scale"]
    value += g["offset"]
    return value, None


def _numbers(raw: NDArray[np.uint64], g: NDArray[Any], kind: int) -> NDArray[np.float64]:
    """Raw values as float64."""
    if kind == FLOAT64:
        return raw.view(np.float64).copy()
    if kind in _NARROW:
        bits, number = _NARROW[kind]
        narrow: NDArray[np.float64] = raw.astype(bits).view(number).astype(np.float64)
        return narrow
    return raw.astype(np.float64) if kind == LINEAR_UNSIGNED else signed(raw, g).astype(np.float64)


def _scaled_integers(raw: NDArray[np.uint64], g: NDArray[Any], kind: int) -> NDArray[Any]:
    """Exact products: int64, or uint64 of those that are unsigned."""
    integers: NDArray[Any] = signed(raw, g) if kind in (INTEGER, SHIFTED) else raw
    scaled: NDArray[Any] = integers * g["int_scale"].astype(integers.dtype)
    return scaled


def _integers(raw: NDArray[np.uint64], g: NDArray[Any], kind: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    exact = _scaled_integers(raw, g, kind)
    exact += g["int_offset"].astype(exact.dtype)
    return exact.astype(np.float64), exact.view(np.int64)


def _wide(raw: NDArray[np.uint64], g: NDArray[Any]) -> NDArray[np.float64]:
    """By Python's integers: what needs more than 64 bits is rare."""
    numbers = np.where(g["sign"] > 0, signed(raw, g).astype(object), raw.astype(object))
    exact = numbers * g["int_scale"].astype(object) + g["int_offset"].astype(object)
    value: NDArray[np.float64] = exact.astype(float)
    return value + np.where(g["int_offset"] == g["offset"], 0.0, g["offset"])


def _judged(raw: NDArray[np.uint64], g: NDArray[Any]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Statuses, and where they are not ok: 3 from ``out_of_range`` on, 2 from ``error``, 1 from ``not_available``."""
    is_bad = raw >= g["out_of_range"]
    status = is_bad * np.uint8(3)
    if is_bad.any():
        status -= raw >= g["error"]
        status -= raw >= g["not_available"]
    return status, is_bad

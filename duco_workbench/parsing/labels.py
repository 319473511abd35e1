"""Names of values: a database's choices ("first", "neutral", "reverse") for the numbers that were decoded."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from .. import arrow
from ..columns import Samples
from .database import Database, Signal
from .plan import signals_by_series


class _Choices(NamedTuple):
    """Values in rising order, and the name of each."""

    values: NDArray[np.float64]
    names: list[str]


def labels(samples: Samples, database: Database) -> pa.DictionaryArray:
    """What ``database`` calls each value: (n) texts, null where it has no name for it.

    A reading that is not ``ok`` has no number, and so no name; nor has a series that signals share which name or scale
    their values differently (one name under several multiplexer values).

    Args:
        samples: decoded with ``database``; rows are in order of series.
    """
    known, starts = signals_by_series(database), samples.runs.starts.tolist()
    names: dict[str, int] = {}
    codes = np.zeros(len(samples), np.int32)
    is_named = np.zeros(len(samples), bool)
    for number, series in enumerate(samples.signals):
        choices = _choices_of(known.get(series, []))
        rows = slice(starts[number], starts[number + 1])
        if choices is not None:
            code = np.array([names.setdefault(name, len(names)) for name in choices.names], np.int32)
            codes[rows], is_named[rows] = _look_up(samples.value[rows], choices, code)
    return pa.DictionaryArray.from_arrays(arrow.numbers(codes, pa.int32(), is_named), arrow.strings(names))


def _look_up(
    values: NDArray[np.float64], choices: _Choices, code: NDArray[np.int32]
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """The code of each value, and whether it has one."""
    at = np.searchsorted(choices.values, values).clip(max=len(choices.values) - 1)
    return code[at], choices.values[at] == values


def _choices_of(signals: list[Signal]) -> _Choices | None:
    """Of the signals of one series: None where they have none, or not the same.

    A choice names a raw value; it is scaled as the decoder scales it, so that both are the same float64.
    """
    alike = {(s.scale, s.offset, tuple(sorted(s.choices.items()))) for s in signals}
    if len(alike) != 1:
        return None
    ((scale, offset, choices),) = alike
    scaled = {raw * float(scale) + float(offset): name for raw, name in choices}
    return _Choices(np.array(sorted(scaled)), [scaled[value] for value in sorted(scaled)]) if scaled else None

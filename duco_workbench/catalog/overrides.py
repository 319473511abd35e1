"""What a person changed of a database's signals: ``{"Message.Signal": {"scale": 2.0, "unit": "km/h"}}``."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from ..errors import ConfigError
from ..parsing.database import OVERRIDES
from ..parsing.validity import RULES
from .refusals import Unknown, check_name
from .types import Signal

Overrides = Mapping[str, Mapping[str, Any]]


def check(overrides: Overrides, signals: Iterable[Signal]) -> None:
    """Raises: Unknown (no such signal), ConfigError (a field or a value that does not fit)."""
    known = {signal.key for signal in signals}
    for key, change in overrides.items():
        if key not in known:
            raise Unknown(f"the database has no signal {key!r}; write Message.Signal as the file does")
        for field, value in change.items():
            _check_field(key, field, value)


def _check_field(key: str, field: str, value: Any) -> None:
    if field not in OVERRIDES:
        raise ConfigError(f"{key}: {field!r} cannot be changed; only {', '.join(OVERRIDES)} can")
    if field == "unit":
        if not isinstance(value, str):
            raise ConfigError(f"{key}: unit {value!r} is no text")
        if value:
            check_name("unit", value.replace("/", ""))
    elif field == "validity":
        if value not in RULES:
            raise ConfigError(f"{key}: validity {value!r} is none of {', '.join(RULES[1:])}")
    elif isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigError(f"{key}: {field} {value!r} is no finite number")
    elif field == "scale" and value == 0:
        raise ConfigError(f"{key}: scale 0 would make every value the offset; give another number")


def kept(overrides: Overrides, signals: Iterable[Signal]) -> dict[str, dict[str, Any]]:
    """Those of signals that a new text still has."""
    known = {signal.key for signal in signals}
    return {key: dict(change) for key, change in overrides.items() if key in known}


def apply(overrides: Overrides, signals: Iterable[Signal]) -> list[Signal]:
    """The signals as variables should show them: with the unit and limits a person gave."""
    return [_changed(signal, overrides.get(signal.key, {})) for signal in signals]


def _changed(signal: Signal, change: Mapping[str, Any]) -> Signal:
    shown = {field: change[field] for field in ("unit", "minimum", "maximum") if field in change}
    return replace(signal, **shown) if shown else signal

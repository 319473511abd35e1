"""What a person sets otherwise than the file says, signal by signal: ``{"EEC1.EngineSpeed": {"scale": 0.25}}``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..errors import ConfigError
from . import validity
from .definitions import Message, Signal

OVERRIDES = ("scale", "offset", "unit", "minimum", "maximum", "validity")
Overrides = Mapping[str, Mapping[str, Any]]


def override(messages: Sequence[Message], overrides: Overrides) -> Sequence[Message]:
    """The messages with their overrides. Raises: ConfigError: no such signal, or no such value."""
    if not overrides:
        return messages
    known = {f"{m.name}.{s.name}" for m in messages for s in m.signals}
    for key, change in overrides.items():
        if key not in known:
            raise ConfigError(f"override of {key!r}: the database has no such signal (write Message.Signal)")
        _check(key, change)

    def changed(m: Message, s: Signal) -> Signal:
        return replace(s, **dict(overrides.get(f"{m.name}.{s.name}", {})))

    return [replace(m, signals=tuple(changed(m, s) for s in m.signals)) for m in messages]


def _check(key: str, change: Mapping[str, Any]) -> None:
    for what, value in change.items():
        if what not in OVERRIDES:
            raise ConfigError(f"override of {key!r}: {what!r} cannot be changed, only {', '.join(OVERRIDES)}")
        if what == "validity" and value not in validity.RULES:
            raise ConfigError(f"override of {key!r}: validity {value!r} is not one of {', '.join(validity.RULES[1:])}")
        if what == "unit" and not isinstance(value, str):
            raise ConfigError(f"override of {key!r}: unit must be text, not {value!r}")
        if what in ("scale", "offset", "minimum", "maximum") and (
            isinstance(value, bool) or not isinstance(value, int | float)
        ):
            raise ConfigError(f"override of {key!r}: {what} must be a number, not {value!r}")

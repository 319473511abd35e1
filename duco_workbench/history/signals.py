"""Field lists: names, flat keys and patterns as conditions of a statement, values as its parameters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

Signals = str | Sequence[str] | None


class Wanted:
    """A field list as conditions on ``signal`` and ``source``; ``named`` are those that must exist."""

    def __init__(self, signals: Signals) -> None:
        names: Iterable[str] = [signals] if isinstance(signals, str) else signals or []
        self.named: list[str] = []
        self._exact: list[str] = []
        self.parameters: dict[str, Any] = {}
        alternatives = [self._one(number, name) for number, name in enumerate(names)]
        plain = "signal IN {names:Array(String)}" if self._exact else ""
        self.parameters |= {"names": self._exact} if self._exact else {}
        either = " OR ".join(x for x in (*alternatives, plain) if x)
        self.conditions = [f"({either})"] if either else [] if signals is None else ["0"]

    def _one(self, number: int, name: str) -> str:
        """A condition for a pattern or flat key; plain names are gathered, so that one index lookup finds all."""
        signal, _, source = name.partition("@")
        if not _is_pattern(signal):
            self.named.append(signal)
            if "." in signal and not source:
                self._exact.append(signal)
                return ""
            signal = signal if "." in signal else f"*.{signal}"
        parts = [("signal", signal)] + ([("source", source)] if source else [])
        return f"({' AND '.join(self._matches(number, column, text) for column, text in parts)})"

    def _matches(self, number: int, column: str, text: str) -> str:
        name = f"{column}_{number}"
        self.parameters[name] = _like(text) if _is_pattern(text) else text
        return f"{column} {'LIKE' if _is_pattern(text) else '='} {{{name}:String}}"


def is_among(name: str, signals: Sequence[str]) -> bool:
    return name in signals or ("." not in name and any(signal.endswith(f".{name}") for signal in signals))


def _is_pattern(text: str) -> bool:
    return "*" in text or "?" in text


def _like(pattern: str) -> str:
    """A shell pattern as SQL has it."""
    for literal in "\\%_":
        pattern = pattern.replace(literal, "\\" + literal)
    return pattern.replace("*", "%").replace("?", "_")

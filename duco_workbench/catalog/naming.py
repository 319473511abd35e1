"""From a signal of any database file to a variable: a name a person reads, and how its values add up."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable

from ..model import Variable
from .types import Signal
from .units import normalise

LONGEST_NAME = 120
LONGEST_NUMBER = 64  # bits; what is longer is text
_WORD = re.compile(r"[A-Z]{2,}(?![a-z])|[A-Z]?[a-z]+|[A-Z]+(?=[A-Z][a-z])|[A-Z]|\d+(?:[A-Z]+(?![a-z]))?|[^\W\d_]+")

# An accumulator is wide, counts in a unit that is no rate, and says so; what is left, due or allowed is none.
_ACCUMULATES = re.compile(
    r"\b(total|odometer|odo|hours|hour ?meter|energy|lifetime|accumulated|cumulative|trip|used)\b"
)
_FORESEES = re.compile(r"\b(remaining|until|to empty|next|limit|estimated|average|rate|service|minimum|maximum|per)\b")
_AMOUNTS = ("", "h", "min", "s", "km", "m", "mi", "L", "mL", "gal", "kg", "g", "t", "kWh", "Wh", "MJ", "kJ", "J", "Ah")
_ACCUMULATOR_BITS = 16


def readable(name: str) -> str:
    """``EngineCoolantTemp1`` and ``ENGINE_COOLANT_TEMP_1`` -> ``Engine coolant temp 1``; short acronyms stay.

    >>> readable("EngineCoolantTemp1"), readable("DPF_SootLoad"), readable("S01PID0C_EngineRPM")
    ('Engine coolant temp 1', 'DPF soot load', 'S01PID0C engine RPM')
    """
    words = [word for token in re.split(r"[\s_.]+", name) for word in _words(token)]
    text = " ".join(words)[:LONGEST_NAME].strip()
    return text[:1].upper() + text[1:] if text else name


def _words(token: str) -> list[str]:
    if re.fullmatch(r"[A-Z0-9]+", token):  # an identifier, an acronym, or a word in capitals
        is_word = token.isalpha() and len(token) > 3
        return [token.lower() if is_word else token]
    return [word if len(word) > 1 and word.isupper() else word.lower() for word in _WORD.findall(token)]


def kind_of(signal: Signal) -> str:
    """How it is resampled: ``state`` | ``increasing`` | ``gauge``.

    A number with a unit stays a number, though a few of its values have names ("not available").
    """
    unit = normalise(signal.unit)
    is_number = 2 < signal.length <= LONGEST_NUMBER and not signal.is_multiplexer
    if not is_number or (signal.choices and not unit):
        return "state"
    words = " ".join(readable(part) for part in (signal.long_name, signal.name)).lower()
    if signal.length >= _ACCUMULATOR_BITS and unit in _AMOUNTS:
        return "increasing" if _ACCUMULATES.search(words) and not _FORESEES.search(words) else "gauge"
    return "gauge"


def propose(signals: Iterable[Signal], taken: Collection[str]) -> list[Variable]:
    """One variable a signal, none named as another or as one of ``taken`` (names already in use)."""
    unique = {signal.key: signal for signal in signals}
    bare = {key: readable(signal.long_name or signal.name) for key, signal in unique.items()}
    count = Counter(bare.values())
    used = set(taken)
    proposed = []
    for key, signal in unique.items():
        name = bare[key]
        if name in used or count[name] > 1:
            name = _free(f"{name} ({signal.message})", used)
        used.add(name)
        proposed.append(_variable(name, signal))
    return proposed


def _free(name: str, used: Collection[str]) -> str:
    candidate, n = name, 1
    while candidate in used:
        n += 1
        candidate = f"{name} {n}"
    return candidate


def _variable(name: str, signal: Signal) -> Variable:
    return Variable(
        name,
        signal.key,
        unit=normalise(signal.unit),
        kind=kind_of(signal),
        spn=signal.spn,
        description=signal.comment,
        minimum=signal.minimum,
        maximum=signal.maximum,
        choices=dict(signal.choices),
    )

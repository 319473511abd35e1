"""What happens in which hour: the variant driven, breaks, faults. Asked by hour number since 1970, past or future."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .noise import draw, key

HOUR = 3_600_000_000  # microseconds
VARIANTS = 4  # cycles of a machine; every block of four hours drives each of them once, in an order of its own
BREAKS = (1, 3)  # variants that end with the key off
FAULT_BLOCK = 6  # hours, of which one has a fault and another two at once
ANCHOR = 490_896  # hour of 2026-01-01, where a machine's totals are its base


@dataclass(frozen=True, slots=True)
class Fault:
    """A diagnostic trouble code while it is active, and what it does to signals.

    Attributes:
        kind: one of ``KINDS``; lamp: ``amber`` or ``red``; occurrences: how often it was seen.
        start, end: seconds into the hour; rise: seconds before ``start`` from which signals go wrong.
    """

    kind: str
    spn: int
    fmi: int
    lamp: str
    start: float
    end: float
    rise: float
    occurrences: int

    def active(self, seconds: NDArray[np.float64]) -> NDArray[np.bool_]:
        return (seconds >= self.start) & (seconds < self.end)

    def strength(self, seconds: NDArray[np.float64]) -> NDArray[np.float64]:
        """0 (well) to 1 (as wrong as it gets)."""
        return np.interp(seconds, [self.start - self.rise, self.start, self.end, self.end + self.rise], [0, 1, 1, 0])


KINDS = {  # kind: (SPN, FMI, lamp, rise)
    "coolant_hot": (110, 16, "amber", 90.0),
    "voltage_low": (168, 18, "amber", 15.0),
    "oil_pressure_low": (100, 1, "red", 20.0),
    "charge_air_sensor": (105, 3, "amber", 0.01),
}


def variant(seed: int, hour: int) -> int:
    block, position = divmod(hour, VARIANTS)
    return order(seed, block)[position]


def order(seed: int, block: int) -> list[int]:
    """The variants of a block of four hours as they are driven."""
    return sorted(range(VARIANTS), key=lambda v: draw(key(seed, "order", v), block))


def starts_cold(seed: int, hour: int) -> bool:
    """Whether the hour begins with key-on, the one before having ended with a break."""
    return variant(seed, hour - 1) in BREAKS


def faults(seed: int, hour: int) -> tuple[Fault, ...]:
    """None, one or two; two overlap."""
    block, position = divmod(hour, FAULT_BLOCK)
    hours = sorted(range(FAULT_BLOCK), key=lambda h: draw(key(seed, "fault hour", h), block))
    if position not in hours[:2]:
        return ()
    kinds = sorted(KINDS, key=lambda kind: draw(key(seed, "fault", kind), hour))
    start = 500 + 1800 * draw(key(seed, "fault start"), hour)
    first = _fault(kinds[0], start, start + 150 + 150 * draw(key(seed, "fault length"), hour), hour)
    if position == hours[0]:
        return (first,)
    return (first, _fault(kinds[1], start + 40, start + 240 + 120 * draw(key(seed, "second fault"), hour), hour))


def _fault(kind: str, start: float, end: float, hour: int) -> Fault:
    spn, fmi, lamp, rise = KINDS[kind]
    return Fault(kind, spn, fmi, lamp, float(round(start)), float(round(end)), rise, 1 + hour % 7)


def glitch(seed: int, hour: int) -> tuple[float, float] | None:
    """Seconds from and to which the fuel temperature sensor fails: once in each hour that has a fault."""
    if not faults(seed, hour):
        return None
    start = 100 + 3000 * draw(key(seed, "glitch"), hour)
    return start, start + 8 + 7 * draw(key(seed, "glitch length"), hour)


def ambient(seed: int, ts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Outside temperature in degC: of the season, the time of day, and some weather."""
    hours = ts / HOUR
    year = 11 + 9 * np.sin(2 * np.pi * (hours / 8766 - 0.29))
    day = 4.5 * np.sin(2 * np.pi * (hours - 9) / 24)
    phase = 6.28 * draw(key(seed, "weather"), 0)
    return np.asarray(year + day + 1.8 * np.sin(hours / 20.3 + phase) + 1.1 * np.sin(hours / 9.1 + 2 * phase))

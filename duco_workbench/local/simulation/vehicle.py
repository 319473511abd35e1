"""What a wheel loader is made of: constants of its kind, and those that differ from machine to machine."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .noise import between, draw, key

G = 9.81
EMPTY_MASS = 19_500.0  # kg
ROLLING = 0.022  # rolling resistance on gravel
DRAG = 3.4  # N / (m/s)^2
DRIVELINE = 0.86  # efficiency
AUXILIARY_KW = 9.0  # fan, pumps, alternator
FINAL_DRIVE = 18.0
# Wheel to engine, gear 1 to 6: 7 km/h to 44 km/h at 1900 rpm.
RATIOS = np.array([12.5 * 1.45 ** (6 - gear) for gear in range(1, 7)])
REFERENCE_TORQUE = 1250.0  # Nm
RATED_RPM, STALL_RPM = 2000.0, 2200.0


@dataclass(frozen=True, slots=True)
class Traits:
    """One machine's own constants; ``base_*`` are its totals at the start of 2026."""

    name: str
    vin: str
    serial: str
    idle_rpm: float
    tyre_radius: float
    driver: float
    max_speed: float
    base_odometer: float
    base_hours: float
    base_fuel: float

    @property
    def rpm_per_speed(self) -> float:
        """Wheel revolutions a minute at 1 m/s."""
        return 60 / (2 * math.pi * self.tyre_radius)


def traits(name: str, seed: int) -> Traits:
    """The machine of a seed. Distances in metres, speeds in m/s, fuel in litres."""
    serial = f"{int(between(10_000, 99_999, seed, 'serial'))}"
    hours = between(5_000, 9_000, seed, "hours")
    return Traits(
        name=name,
        vin=_vin(seed, serial),
        serial=serial,
        idle_rpm=5.0 * round(between(145, 165, seed, "idle")),
        tyre_radius=between(0.76, 0.80, seed, "tyre"),
        driver=between(0.93, 1.07, seed, "driver"),
        max_speed=between(11.0, 12.0, seed, "speed"),
        base_odometer=hours * 19_000.0,
        base_hours=hours,
        base_fuel=hours * between(17.0, 19.5, seed, "thirst"),
    )


def max_torque(rpm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Full-load curve of the diesel, Nm."""
    return np.interp(rpm, [600, 1000, 1300, 1600, 2000, 2300], [620, 1050, 1250, 1250, 1080, 640])


def _vin(seed: int, serial: str) -> str:
    """17 characters without I, O, Q; the maker's code is one nobody has."""
    letters = "ABCDEFGHJKLMNPRSTUVWXYZ"
    chosen = "".join(letters[int(23 * draw(key(seed, "vin"), i))] for i in range(5))
    return f"DUC{chosen}T1L0{serial}"

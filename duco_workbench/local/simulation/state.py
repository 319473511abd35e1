"""A machine's state at any time: the hour's cycle, what the hours before left behind, faults and weather."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from . import cycle, laps, noise, route, schedule, vehicle
from .schedule import ANCHOR, HOUR, VARIANTS, Fault

TICK = 50_000  # microseconds; everything is sampled at whole ticks
TOTALS = ("distance", "fuel", "running", "turns")
REFUEL_HOURS = 8
REFUEL_SECONDS = 11.0
# Seconds after key-on, and engine speed over idle: standing, cranking, running up, settling.
STARTING = ([2.0, 2.1, 3.6, 4.4, 4.9, 7.5], [0.0, 0.24, 0.27, 1.35, 1.3, 1.0])
_PER_SAMPLE = 1_000_000 // cycle.RATE // TICK  # ticks from one 10 Hz sample to the next

Column = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Hour:
    """What holds for a whole hour. ``totals``: at its start; ``offsets``: how far slow states are from the cycle's."""

    number: int
    variant: int
    is_cold: bool
    key_off: float | None
    totals: Mapping[str, float]
    offsets: Mapping[str, float]
    faults: tuple[Fault, ...]
    glitch: tuple[float, float] | None
    fuel_at_filling: float


class Model:
    """The physics of one machine: route, four solved cycles, and where each hour stands among them.

    Keeps the columns of two cycles (3.5 MB each); a third is solved again, in some 15 ms.
    """

    def __init__(self, name: str, seed: int) -> None:
        self.seed = seed
        self.traits = vehicle.traits(name, seed)
        self.route = route.make(seed)
        self._per_cycle = cycle.laps_per_cycle(self.route)
        self._laps = laps.solve(self.route, self.traits, seed, VARIANTS, self._per_cycle)
        self._ends = [self._summary(v) for v in range(VARIANTS)]
        self.cycle = lru_cache(2)(self._solve)
        self.hour = lru_cache(4)(self._hour)

    def _solve(self, variant: int) -> cycle.Cycle:
        mine = self._laps[variant * self._per_cycle : (variant + 1) * self._per_cycle]
        return cycle.solve(self.route, self.traits, mine, self.seed, variant, variant in schedule.BREAKS)

    def _summary(self, variant: int) -> dict[str, float]:
        solved = self._solve(variant)
        return {name: solved.end(name) for name in (*TOTALS, *cycle.WARM)}

    def _hour(self, number: int) -> Hour:
        variant = schedule.variant(self.seed, number)
        return Hour(
            number=number,
            variant=variant,
            is_cold=schedule.starts_cold(self.seed, number),
            key_off=self.cycle(variant).key_off,
            totals={name: self._total(name, number) for name in TOTALS},
            offsets=self._offsets(number),
            faults=schedule.faults(self.seed, number),
            glitch=schedule.glitch(self.seed, number),
            fuel_at_filling=self._total("fuel", number // REFUEL_HOURS * REFUEL_HOURS),
        )

    def _total(self, name: str, hour: int) -> float:
        """Since 2026 began. Every block of hours holds each variant once, so this is no sum over years."""
        block, position = divmod(hour, VARIANTS)
        done = schedule.order(self.seed, block)[:position]
        whole = (block - ANCHOR // VARIANTS) * sum(end[name] for end in self._ends)
        return whole + sum(self._ends[v][name] for v in done)

    def per_filling(self) -> float:
        """Litres burnt from one filling to the next."""
        return REFUEL_HOURS / VARIANTS * sum(end["fuel"] for end in self._ends)

    def _offsets(self, hour: int) -> dict[str, float]:
        """What is left of the hour before: a warm machine's own, or a cold one's (a break stands for a long one)."""
        before = self._ends[schedule.variant(self.seed, hour - 1)]
        if not schedule.starts_cold(self.seed, hour):
            return {name: before[name] - start for name, (start, _) in cycle.WARM.items()}
        outside = float(schedule.ambient(self.seed, np.array([hour * HOUR]))[0])
        return {name: outside + 0.3 * (start - outside) - start for name, (start, _) in cycle.WARM.items()}


class State:
    """A machine at some ticks of one hour; ``state["rpm"]`` is a column (n) as :mod:`cycle` has it, in place and time.

    Attributes:
        ticks: int64 (n), microseconds, whole ticks, all within ``hour``.
        seconds: float64 (n) since the hour began.
        sender: J1939 address of the unit that measures; page: multiplexer value of the frames asked for.
        salt: keeps the noise of one message apart from others'.
    """

    def __init__(
        self, model: Model, hour: int, ticks: NDArray[np.int64], *, sender: int = 0, page: int = 0, salt: object = ""
    ) -> None:
        self.model, self.hour, self.ticks = model, model.hour(hour), ticks
        self.sender, self.page, self._salt = sender, page, salt
        self._index = (ticks - hour * HOUR) // TICK
        self.seconds: Column = np.asarray(self._index * (TICK / 1e6), np.float64)
        self._columns = model.cycle(self.hour.variant).columns
        self._seen: dict[str, Column] = {}

    def __len__(self) -> int:
        return len(self.ticks)

    def __getitem__(self, name: str) -> Column:
        if name not in self._seen:
            self._seen[name] = self._at_start(name, self._sample(self._columns[name]))
        return self._seen[name]

    def _sample(self, column: NDArray[np.float32] | NDArray[np.int8]) -> Column:
        low = self._index // _PER_SAMPLE
        if column.dtype == np.int8 or not (self._index % _PER_SAMPLE).any():
            return column[low].astype(np.float64)
        part = (self._index % _PER_SAMPLE) / _PER_SAMPLE
        return column[low] + (column[low + 1].astype(np.float64) - column[low]) * part

    def _at_start(self, name: str, column: Column) -> Column:
        """The cycle as it was this hour: temperatures begin where the last hour ended, the engine may be cranked."""
        if name in cycle.WARM:
            left = np.exp(-self.seconds / cycle.WARM[name][1])
            return np.asarray(column + self.hour.offsets[name] * left)
        if name == "rpm" and self.hour.is_cold:
            return column * np.interp(self.seconds, *STARTING)
        if name in ("fuel_rate", "torque", "load", "boost") and self.hour.is_cold:
            return column * (self.seconds > 4)
        return column

    def noise(self, what: str, deviation: float) -> Column:
        """Gaussian noise of a sensor (n), the same whenever these ticks are asked for."""
        return deviation * noise.gaussian(noise.key(self.model.seed, self._salt, what), self.ticks // TICK)

    def total(self, name: str) -> Column:
        """Distance (m), fuel (l), running (s) or turns, since 2026 began; goes on from hour to hour."""
        return self.hour.totals[name] + self[name]

    def along(self, column: Column) -> Column:
        """A column of the route where the machine is."""
        return self.model.route.at(column, self["distance"])

    def fault(self, kind: str) -> Column | float:
        """How strong a fault is, 0 to 1 (n)."""
        return next((f.strength(self.seconds) for f in self.hour.faults if f.kind == kind), 0.0)

    @property
    def key_on(self) -> NDArray[np.bool_]:
        return np.asarray(self.seconds < (self.hour.key_off or cycle.SECONDS))

    @property
    def ambient(self) -> Column:
        return schedule.ambient(self.model.seed, self.ticks)

    @property
    def trip_fuel(self) -> Column:
        """Litres since the tank was last filled."""
        return self.total("fuel") - self.hour.fuel_at_filling

    @property
    def fuel_level(self) -> Column:
        """Percent of a tank that is filled every eight hours, in the first seconds of an hour."""
        burnt = self.trip_fuel
        if self.hour.number % REFUEL_HOURS == 0:
            burnt = burnt + self.model.per_filling() * np.clip(1 - self.seconds / REFUEL_SECONDS, 0, 1)
        return 96 - 68 * burnt / self.model.per_filling()

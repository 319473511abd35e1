"""One hour of work, solved once: every quantity of the machine at 10 Hz.

A cycle starts and ends at the pile, standing. It drives whole laps, the same number in every variant, so that places
and distances join from hour to hour. What has a memory (temperatures) starts warm here; state.py adds what is left of
the hour before. Quasi-static: speed is given by laps.py, gear, engine speed and load follow from it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import vehicle
from .laps import FIRST_LOAD, Laps
from .noise import gaussian, key
from .route import STEP, Route
from .vehicle import Traits
from .work import Implement, implement, phase_of

RATE = 10  # Hz
SECONDS = 3600
SAMPLES = RATE * SECONDS + 1
START_STAND, DUMP_STAND, PILE_STAND, END_STAND = 12.0, 2.0, 1.5, 10.0  # s
CRANKING = 5.0  # s after key-on until the engine runs by itself; totals do not count them, whether cranked or not
BREAK = 40.0  # s of key-off at the end of a cycle that ends with a break
# Slow states: where they start in a cycle, and their time constant in seconds.
WARM = {"coolant": (87.0, 240.0), "oil": (95.0, 300.0), "gearbox": (78.0, 380.0), "hydraulic": (47.0, 200.0)}

TYPICAL_SPEED = 7.5  # m/s, stands included: decides how many laps make an hour

Column = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Cycle:
    """``columns``: name -> (36001) float32, or int8 for states, at 10 Hz. ``key_off``: s into the cycle, or None."""

    columns: dict[str, NDArray[np.float32] | NDArray[np.int8]]
    key_off: float | None

    def end(self, name: str) -> float:
        return float(self.columns[name][-1])


def solve(route: Route, traits: Traits, laps: Laps, seed: int, variant: int, with_break: bool) -> Cycle:
    """The columns of one variant; ``laps`` are those it drives."""
    time = np.arange(SAMPLES) / RATE
    end_stand = END_STAND + (BREAK if with_break else 0)
    distance, speed = _motion(route, laps, end_stand)
    lap = np.minimum((distance / route.length).astype(np.int64), len(laps.load) - 1)
    place = distance - lap * route.length
    loads = np.append(laps.load, FIRST_LOAD)
    work = implement(route, place, loads[lap], loads[lap + 1], speed)
    acceleration = _smooth(np.gradient(speed) * RATE, 7)
    columns = {"distance": distance, "speed": speed, "acceleration": acceleration, **work._asdict()}
    columns |= _engine(route, traits, columns, work, key(seed, "cycle", variant))
    key_off = SECONDS - BREAK if with_break else None
    columns |= _totals(columns, time, key_off or SECONDS + 1)
    columns |= _temperatures(columns)
    columns["phase"] = phase_of(route, place, speed, time, SECONDS - end_stand).astype(np.float64)
    states = ("gear", "locked", "shifting", "phase")
    stored = {k: v.astype(np.int8 if k in states else np.float32) for k, v in columns.items()}
    return Cycle(stored, key_off)


def laps_per_cycle(route: Route) -> int:
    return round(TYPICAL_SPEED * SECONDS / route.length)


def _motion(route: Route, laps: Laps, end_stand: float) -> tuple[Column, Column]:
    """Distance (m) and speed (m/s) at 10 Hz: the laps one after the other, stretched to fill the hour exactly."""
    count = len(laps.load)
    stands = START_STAND + end_stand + count * DUMP_STAND + (count - 1) * PILE_STAND
    stretch = (SECONDS - stands) / laps.seconds.sum()
    steps = stretch * 2 * STEP / (laps.speed[:, 1:] + laps.speed[:, :-1])
    steps = np.insert(steps, round(route.dump / STEP), DUMP_STAND, axis=1)
    speed = np.insert(laps.speed / stretch, round(route.dump / STEP), 0, axis=1)
    # The last point of a lap and the first of the next are one place: between them it stands at the pile.
    steps = np.column_stack([np.full(count, PILE_STAND), steps])
    steps[0, 0] = START_STAND
    knots = np.cumsum(steps.ravel())
    v = np.interp(np.arange(SAMPLES) / RATE, np.insert(knots, 0, 0), np.insert(speed.ravel(), 0, 0), right=0)
    v = _smooth(v, 13)  # jerk; keeps the area, which is the distance
    distance = _integral(v)
    scale = count * route.length / distance[-1]  # 1 but for the sampling
    return distance * scale, v * scale


def _engine(route: Route, traits: Traits, c: dict[str, Column], work: Implement, chain: int) -> dict[str, Column]:
    """Gear, engine speed, load, pedals, fuel rate: what turns the wheels and the pumps as ``c`` says."""
    speed = c["speed"]
    mass = vehicle.EMPTY_MASS + c["payload"]
    slope = vehicle.G * (route.at(route.grade, c["distance"]) + vehicle.ROLLING)
    pull = mass * (c["acceleration"] + slope * (speed > 0.02)) + vehicle.DRAG * speed**2
    wheels = pull * speed / 1000
    rough = np.interp(np.arange(SAMPLES), np.arange(0, SAMPLES, 7), gaussian(chain, np.arange(0, SAMPLES, 7)))
    wheels *= 1 + 0.05 * rough  # gravel is not even
    power = np.where(wheels > 0, wheels / vehicle.DRIVELINE, wheels * vehicle.DRIVELINE) + work.pump_power
    demand = np.clip(_smooth(np.maximum(power, 0), 25) / 190, 0, 1)
    gear, shifting = _gears(speed * traits.rpm_per_speed, demand)
    locked_rpm = speed * traits.rpm_per_speed * vehicle.RATIOS[gear - 1]
    converter = traits.idle_rpm + (gear == 1) * 650 * demand + 520 * (work.pump_power > 25)
    rpm = _smooth(np.maximum(locked_rpm, converter), 7)
    locked = (_smooth((locked_rpm > converter).astype(float), 9) > 0.999) & (shifting == 0)
    power = _smooth(np.maximum(power + vehicle.AUXILIARY_KW, 0), 5)
    power = np.minimum(power, vehicle.max_torque(rpm) * rpm * np.pi / 30_000)
    overrun = _smooth(((wheels < -8) & (rpm > 1000)).astype(float), 5)
    torque = power * (1 - overrun) * 30_000 / (np.pi * rpm)
    limit = vehicle.max_torque(rpm)
    return {
        "gear": np.where(speed > 0.02, gear, np.where(demand > 0.02, 1, 0)).astype(float),
        "shifting": shifting.astype(float),
        "locked": locked.astype(float),
        "rpm": rpm,
        "torque": 100 * torque / vehicle.REFERENCE_TORQUE,
        "load": 100 * np.clip(torque / limit, 0, 1),
        "pedal": np.clip(_smooth(np.where(pull > -2000, 6 + 96 * demand, 0) * (speed > 0.02), 5), 0, 100),
        "brake": _smooth(np.clip((-c["acceleration"] - slope - 0.25) / 2.0 * 100, 0, 100) * (speed > 0.1), 5),
        "boost": _smooth(165 * np.clip(torque / limit, 0, 1) * rpm / 1700, 15),
        "fuel_rate": (0.213 * power + 1.5 * (rpm / 1000) ** 1.7) * (1 - overrun),
    }


def _gears(wheel_rpm: Column, demand: Column) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Gear 1 to 6 by shift points that rise with demand, and whether a shift is in process.

    Each pair of neighbours is a switch with hysteresis: up when the engine would turn too fast in the lower gear, down
    when it would turn too slowly in the upper one.
    """
    up, down = 1450 + 420 * demand, 900 + 330 * demand
    gear = np.ones(SAMPLES, np.int64)
    for lower, upper in zip(vehicle.RATIOS[:-1], vehicle.RATIOS[1:], strict=True):
        gear += _hold(wheel_rpm * lower > up, wheel_rpm * upper < down)
    changed = np.append(0.0, np.diff(gear) != 0)
    return gear, (np.convolve(changed, np.ones(7), "same") > 0).astype(np.int64)


def _hold(on: NDArray[np.bool_], off: NDArray[np.bool_]) -> NDArray[np.int64]:
    """1 from ``on`` until ``off``; starts at 0."""
    last = np.maximum.accumulate(np.where(on | off, np.arange(len(on)), 0))
    return on[last].astype(np.int64)


def _totals(c: dict[str, Column], time: Column, key_off: float) -> dict[str, Column]:
    """Since the cycle's start: fuel (l), engine running time (s), engine revolutions."""
    running = (time > CRANKING) & (time < key_off)
    return {
        "fuel": _integral(c["fuel_rate"] * running / 3600),
        "running": _integral(running.astype(float)),
        "turns": _integral(c["rpm"] * running / 60),
    }


def _temperatures(c: dict[str, Column]) -> dict[str, Column]:
    """degC; slow ones as first-order lags at 1 Hz, where the difference to 10 Hz is below their resolution."""
    load, pump = c["load"][::RATE] / 100, c["pump_pressure"][::RATE] / 300
    targets = {"coolant": 82 + 11 * load, "oil": 88 + 20 * load, "gearbox": 66 + 32 * load, "hydraulic": 40 + 55 * pump}
    lags = {name: _lag(targets[name], *WARM[name]) for name in WARM}
    lags["exhaust"] = _lag(180 + 330 * load, 210.0, 14.0)
    at = np.arange(SAMPLES) / RATE
    return {name: np.interp(at, np.arange(SECONDS + 1), lag) for name, lag in lags.items()}


def _lag(target: Column, start: float, constant: float) -> Column:
    out, value, weight = [], start, 1 / constant
    for wanted in target.tolist():
        out.append(value)
        value += (wanted - value) * weight
    return np.array(out)


def _smooth(column: Column, width: int) -> Column:
    """A bell-shaped mean over ``width`` samples (odd); past the ends the first and last value stay."""
    bell = np.hanning(width + 2)[1:-1]
    half = width // 2
    return np.convolve(np.pad(column, half, "edge"), bell / bell.sum(), "valid")


def _integral(rate: Column) -> Column:
    """Running integral of a column per second, 0 at the start."""
    return np.concatenate([[0.0], np.cumsum((rate[1:] + rate[:-1]) / (2 * RATE))])

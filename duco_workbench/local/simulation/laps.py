"""How fast a machine goes at each place of its laps: limits of the road, the driver, brakes and engine power.

All laps are solved at once, place by place: a backward pass for braking, a forward pass for what the engine can give.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .noise import draw, key
from .route import STEP, Route
from .vehicle import DRAG, EMPTY_MASS, ROLLING, G, Traits

CREEP = 0.9  # m/s into the pile and at the hopper
LATERAL = 1.3  # m/s² in bends
BRAKING, PULLING = 1.0, 0.9  # m/s²
WHEEL_POWER = 150e3  # W a driver asks for at most
FIRST_LOAD = 5700.0  # kg, dug in the hour before, so the same in all

Column = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Laps:
    """``speed`` (laps, n + 1) m/s at each point of the route, 0 at the pile and the hopper; ``load`` (laps) kg."""

    speed: Column
    load: Column

    def __getitem__(self, rows: slice) -> Laps:
        return Laps(self.speed[rows], self.load[rows])

    @property
    def seconds(self) -> Column:
        """Driving time of each lap (laps)."""
        return np.asarray((2 * STEP / (self.speed[:, 1:] + self.speed[:, :-1])).sum(axis=1))


def solve(route: Route, traits: Traits, seed: int, cycles: int, per_cycle: int) -> Laps:
    """The laps of some cycles, one after the other, each with a load, a mood and slow places of its own."""
    count = cycles * per_cycle
    load = np.array([5200 + 1600 * draw(key(seed, "load"), lap) for lap in range(count)])
    load[::per_cycle] = FIRST_LOAD
    squared = _limits(route, traits, seed, count) ** 2
    for i in range(squared.shape[1] - 2, -1, -1):
        np.minimum(squared[:, i], squared[:, i + 1] + 2 * STEP * BRAKING, out=squared[:, i])
    _pull(squared, route, load)
    return Laps(np.sqrt(squared), load)


def _limits(route: Route, traits: Traits, seed: int, count: int) -> Column:
    """Speed limits (count, n + 1) before brakes and engine are asked."""
    s = np.arange(0, len(route.curvature), dtype=np.float64) * STEP
    sharp = np.maximum(np.abs(route.curvature), LATERAL / 400)
    road = np.minimum(np.sqrt(LATERAL / sharp), traits.max_speed)
    road[np.abs(s - route.dump) < 30] = 3.5
    limit = np.tile(road, (count, 1))
    for lap in range(count):
        mood = traits.driver * (0.92 + 0.16 * draw(key(seed, "mood"), lap))
        limit[lap] = np.minimum(limit[lap] * mood, traits.max_speed) * _wander(seed, lap, s)
        for place in range(2):  # someone in the way
            where = draw(key(seed, "slow", place), lap) * route.length
            limit[lap, np.abs(s - where) < 25] = 3.0 + 5.0 * draw(key(seed, "slow speed", place), lap)
    limit[:, (s > route.length - 12) | (np.abs(s - route.dump) < 7)] = CREEP
    limit[:, [0, round(route.dump / STEP), -1]] = 0
    return limit


def _wander(seed: int, lap: int, s: Column) -> Column:
    """No driver holds a speed: a factor near 1 along the road."""
    waves = [np.sin(s / reach + 6.28 * draw(key(seed, "wander", reach), lap)) for reach in (31.0, 73.0)]
    return np.asarray(0.965 + 0.02 * waves[0] + 0.03 * waves[1])


def _pull(squared: Column, route: Route, load: Column) -> None:
    """Forward: from each place to the next no faster than the wheels can be turned; changes ``squared``."""
    for i in range(squared.shape[1] - 1):
        mass = EMPTY_MASS + (load if i * STEP < route.dump else 0)
        v = np.maximum(np.sqrt(squared[:, i]), 0.5)
        against = G * (route.grade[i] + ROLLING) + DRAG * v * v / mass
        gain = np.minimum(WHEEL_POWER / (mass * v) - against, PULLING)
        reach = np.maximum(squared[:, i] + 2 * STEP * gain, 1.0)  # it never rolls to a stop uphill
        np.minimum(squared[:, i + 1], reach, out=squared[:, i + 1])

"""The closed haul road a machine drives: where it is, how high, how it bends, by metres along it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .noise import between

STEP = 2.0  # metres between two points of a route
_CENTRE = (52.4853, 13.7871)  # degrees; the limestone quarry of Ruedersdorf
_METRES_PER_DEGREE = 111_320.0

Column = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Route:
    """Columns (n + 1) over the distance from the pile, the last point being the first again.

    Attributes:
        length: metres of one lap.
        dump: metres from the pile to the hopper.
        lat, lon: degrees; altitude: metres; heading: radians from north, unwrapped (it does not jump at 360).
        curvature: 1/m, positive to the right; grade: metres up per metre.
    """

    length: float
    dump: float
    lat: Column
    lon: Column
    altitude: Column
    heading: Column
    curvature: Column
    grade: Column

    def at(self, column: Column, distance: Column) -> Column:
        """A column of this route at distances (m, any number of laps)."""
        place = np.mod(distance, self.length) / STEP
        i = np.minimum(place.astype(np.int64), len(column) - 2)
        return np.asarray(column[i] + (column[i + 1] - column[i]) * (place - i))


def make(seed: int) -> Route:
    """A loop of 1.9 to 2.3 km with bends of 25 m radius and more, out of the pit and back."""
    n = round(between(950, 1150, seed, "route", "length"))
    length = n * STEP
    east, north = _loop(seed, n, length)
    heading = np.unwrap(np.arctan2(_slope(east), _slope(north)))
    turn = np.diff(heading, append=heading[0] + 2 * math.pi * round((heading[-1] - heading[0]) / (2 * math.pi)))
    s = np.arange(n) * STEP / length * 2 * math.pi
    altitude = 48 - 15 * np.cos(s) + 2.5 * np.sin(2 * s + between(0, 6, seed, "route", "hill"))
    lat = _CENTRE[0] + north / _METRES_PER_DEGREE
    lon = _CENTRE[1] + east / (_METRES_PER_DEGREE * math.cos(math.radians(_CENTRE[0])))
    dump = STEP * round(n * between(0.46, 0.56, seed, "route", "dump"))
    return Route(
        length=length,
        dump=dump,
        lat=_closed(lat),
        lon=_closed(lon),
        altitude=_closed(altitude),
        heading=np.append(heading, heading[-1] + turn[-1]),
        curvature=_closed(turn / STEP),
        grade=_closed(_slope(altitude)),
    )


def _loop(seed: int, n: int, length: float) -> tuple[Column, Column]:
    """Metres east and north of the centre, at n places equally far apart along the loop."""
    angle = np.linspace(0, 2 * math.pi, 8 * n, endpoint=False)
    radius = np.ones_like(angle)
    for wave, size in ((1, 0.12), (2, 0.22), (3, 0.14), (5, 0.05)):
        radius += size * np.sin(wave * angle + between(0, 2 * math.pi, seed, "route", wave))
    x, y = 1.4 * radius * np.cos(angle), radius * np.sin(angle)
    along = np.concatenate([[0], np.cumsum(np.hypot(np.diff(x, append=x[0]), np.diff(y, append=y[0])))])
    size = length / along[-1]
    at = np.interp(np.arange(n) * STEP, along * size, np.append(angle, 2 * math.pi))
    x, y = np.interp(at, angle, x, period=2 * math.pi) * size, np.interp(at, angle, y, period=2 * math.pi) * size
    tilt = between(0, 2 * math.pi, seed, "route", "tilt")
    shift = (between(-500, 500, seed, "route", "east"), between(-400, 400, seed, "route", "north"))
    return x * math.cos(tilt) - y * math.sin(tilt) + shift[0], x * math.sin(tilt) + y * math.cos(tilt) + shift[1]


def _slope(column: Column) -> Column:
    """Change per metre around a closed column, over three points either side so that it is smooth."""
    return (np.roll(column, -3) - np.roll(column, 3)) / (6 * STEP)


def _closed(column: Column) -> Column:
    return np.append(column, column[0])

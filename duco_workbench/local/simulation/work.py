"""What boom, bucket and pumps do along a lap: dig, carry, tip, come back."""

from __future__ import annotations

import enum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .route import Route

Column = NDArray[np.float64]


class Phase(enum.IntEnum):
    """Value table of ImplementStatus.WorkPhase."""

    IDLE = 0
    DIG = 1
    CARRY = 2
    TIP = 3
    RETURN = 4


class Implement(NamedTuple):
    """Columns: angles in degrees, payload in kg, pressure in bar, hydraulic power in kW, joystick in percent."""

    boom: Column
    bucket: Column
    payload: Column
    pump_pressure: Column
    pump_power: Column
    boom_lever: Column
    bucket_lever: Column


def implement(route: Route, place: Column, load: Column, next_load: Column, speed: Column) -> Implement:
    """All at 10 Hz (n): ``place`` metres from the pile, ``load`` kg of this lap and of the next, ``speed`` m/s."""
    dump, length = route.dump, route.length
    boom = _follow(place, _boom_points(dump, length))
    bucket = _follow(place, _bucket_points(dump, length))
    held = _follow(place, [(0, 1), (dump - 1.5, 1), (dump + 2, 0), (length - 7, 0), (length, 1)])
    payload = held * np.where(place < dump + 10, load, next_load)
    boom_speed, bucket_speed = np.gradient(boom) * 10, np.gradient(bucket) * 10  # degrees a second
    digging = np.clip((place - (length - 9)) / 6, 0, 1) * np.clip(speed / 0.3, 0, 1)
    lifting = np.clip(boom_speed / 8, 0, 1.2)
    moving = np.clip(np.abs(bucket_speed) / 25 + np.abs(boom_speed) / 20, 0, 1)
    pressure = np.clip(26 + 150 * digging + lifting * (95 + 12 * payload / 1000) + 55 * moving, 20, 320)
    return Implement(
        boom=boom,
        bucket=bucket,
        payload=payload,
        pump_pressure=pressure,
        pump_power=70 * digging + 62 * np.clip(lifting, 0, 1) + 14 * moving,
        boom_lever=np.clip(boom_speed * 7, -100, 100),
        bucket_lever=np.clip(bucket_speed * 3, -100, 100),
    )


def _boom_points(dump: float, length: float) -> list[tuple[float, float]]:
    """Metres along a lap, degrees: up from the pile, low on the road, over the hopper, flat on the ground to dig."""
    away = [(0.0, -37.0), (1, -36), (18, -20), (dump - 32, -20)]
    hopper = [(dump - 4, 34.0), (dump + 6, 36), (dump + 40, -18)]
    return [*away, *hopper, (length - 35, -18), (length - 18, -41), (length - 4, -41), (length, -37)]


def _bucket_points(dump: float, length: float) -> list[tuple[float, float]]:
    """Metres along a lap, degrees: rolled in with a load, out over the hopper, level to dig."""
    carry = [(0.0, 38.0), (3, 45), (18, 48), (dump - 2, 46)]
    tip = [(dump - 0.5, 20.0), (dump + 1.5, -42), (dump + 5, -42), (dump + 35, 8)]
    return [*carry, *tip, (length - 20, 0), (length - 6, 2), (length, 38)]


def phase_of(route: Route, place: Column, speed: Column, time: Column, last_move: float) -> NDArray[np.int8]:
    """:class:`Phase` (n)."""
    phase = np.full(len(place), Phase.RETURN, np.int8)
    phase[place < route.dump - 32] = Phase.CARRY
    phase[np.abs(place - route.dump) < 32] = Phase.TIP
    phase[(place > route.length - 18) | (place < 1.0)] = Phase.DIG
    phase[(speed < 0.02) & ((time < 12.5) | (time > last_move))] = Phase.IDLE
    return phase


def _follow(place: Column, points: list[tuple[float, float]]) -> Column:
    """Through the points by place, then as slowly as oil moves a cylinder (a second)."""
    column = np.interp(place, [p for p, _ in points], [value for _, value in points])
    bell = np.hanning(13)[1:-1]
    return np.convolve(np.pad(column, 5, "edge"), bell / bell.sum(), "valid")

"""``--profile speed``: a plain vehicle that drives 0 to 120 km/h at random, on one bus, and nothing else."""

from __future__ import annotations

import math
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...model import SECOND, FrameBatch
from . import noise
from .encoder import MessageEncoder, Values
from .happenings import Happening
from .layout import Message, read
from .schedule import ANCHOR, HOUR
from .traffic import Stream, Ticks, Traffic, slots

BINDINGS = {"can0": Path(__file__).parent / "speed.dbc"}
MINUTES = 60
FASTEST = 120.0  # km/h
NOISE = 0.6  # km/h
_CENTRE = (50.3344, 6.9475)  # degrees; the track is a circle
_LAPS = 12  # an hour

Column = NDArray[np.float64]


class SpeedMachine:
    """Aims at another speed every minute: each of 0, 2, ... 120 km/h once an hour, shuffled by hash, 0 first.

    So an hour is always as long as any other, in kilometres, and the odometer needs no past. Same interface as
    :class:`~duco_workbench.local.simulation.machine.SimulatedMachine`.
    """

    def __init__(self, name: str, seed: int | None = None) -> None:
        """Without a seed the name is the seed."""
        seed = noise.key(name) if seed is None else seed
        self.name, self.seed = name, seed
        self._targets = lru_cache(8)(self._shuffled)  # by hour
        self._base = noise.between(5_000, 120_000, seed, "odometer")
        messages = read(BINDINGS["can0"])
        streams = [
            Stream(0, m.arbitration_id, m.period, 0, slot, i, partial(self._payloads, m, MessageEncoder(m)))
            for i, (m, slot) in enumerate(zip(messages, slots([len(messages)])[0], strict=True))
        ]
        self._traffic = Traffic(seed, tuple(BINDINGS), streams)

    @staticmethod
    def bindings() -> dict[str, Path]:
        return dict(BINDINGS)

    def frames(self, start: int, end: int) -> FrameBatch:
        return self._traffic.frames(start, end)

    def is_on(self, ts: int) -> bool:
        return True

    def events(self, start: int, end: int) -> list[Happening]:
        return []

    def dtcs(self, ts: int) -> dict[str, Any]:
        return {"source": "can0", "lamps": {}, "dtcs": []}

    def performance(self, ts: int) -> dict[str, float | bool | str]:
        rough = float(noise.gaussian(noise.key(self.seed, "cpu"), np.array([ts // SECOND]))[0])
        return {"cpu_percent": round(9 + rough, 1), "key_on": True}

    def position(self, ts: int) -> dict[str, Any]:
        """Payload of ``vehicle_position``, on a circle of twelve laps an hour."""
        hour, second = ts // HOUR, np.array([ts % HOUR / SECOND])
        speed, _, _, distance = self._motion(hour, second)
        lap = self._per_hour() / _LAPS
        angle = 2 * math.pi * float(distance[0]) / lap
        radius = lap / (2 * math.pi) / 111.32  # degrees
        return {
            "lat": round(_CENTRE[0] + radius * math.sin(angle), 7),
            "lon": round(_CENTRE[1] + radius * math.cos(angle) / math.cos(math.radians(_CENTRE[0])), 7),
            "speed": round(float(speed[0]), 2),
            "heading": round(-math.degrees(angle) % 360, 1),
        }

    def _shuffled(self, hour: int) -> Column:
        """km/h aimed at in each minute (61): the last is the first of the next hour, 0."""
        shuffled = np.argsort(noise.bits(noise.key(self.seed, "targets", hour), np.arange(1, MINUTES)))
        return np.concatenate([[0.0], (shuffled + 1) * FASTEST / (MINUTES - 1), [0.0]])

    @staticmethod
    def _per_hour() -> float:
        """Kilometres: the targets' mean, whatever their order."""
        return FASTEST / 2

    def _motion(self, hour: int, seconds: Column) -> tuple[Column, Column, Column, Column]:
        """Speed and target (km/h), acceleration (m/s²), distance since the hour began (km): smooth between knots."""
        knots = self._targets(hour)
        minute = np.minimum((seconds // 60).astype(np.int64), MINUTES - 1)
        u = seconds / 60 - minute
        low, rise = knots[minute], knots[minute + 1] - knots[minute]
        speed = low + rise * u * u * (3 - 2 * u)
        acceleration = rise * 6 * u * (1 - u) / 60 / 3.6
        before = np.concatenate([[0.0], np.cumsum((knots[1:] + knots[:-1]) / 2)])[minute]
        return speed, low + rise, acceleration, (before + low * u + rise * (u**3 - u**4 / 2)) / 60

    def _payloads(
        self, message: Message, encoder: MessageEncoder, hour: int, ticks: Ticks
    ) -> tuple[NDArray[np.bool_], NDArray[np.uint8]]:
        speed, target, acceleration, distance = self._motion(hour, (ticks - hour * HOUR) / SECOND)
        number = ticks // message.period
        values: Values
        if message.name == "VehicleSpeed":
            noisy = speed + NOISE * noise.gaussian(noise.key(self.seed, "speed"), number)
            values = {
                "Speed": np.maximum(noisy, 0),
                "TargetSpeed": target,
                "Acceleration": acceleration,
                "Counter": number % 256,
            }
        else:
            values = {"Odometer": self._base + (hour - ANCHOR) * self._per_hour() + distance}
        return np.ones(len(ticks), bool), encoder.encode(values, len(ticks))

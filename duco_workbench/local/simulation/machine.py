"""A wheel loader in a quarry, as seen on its two buses; the machine of the default start."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...model import SECOND, FrameBatch
from . import diagnostics, implement, noise, powertrain
from .encoder import MessageEncoder, Values
from .happenings import Happening, happenings
from .layout import Message, read
from .schedule import HOUR
from .state import TICK, Model, State
from .traffic import Stream, Ticks, Traffic, slots

HERE = Path(__file__).parent
BINDINGS = {"can0": HERE / "powertrain.dbc", "can1": HERE / "implement.dbc"}
LONGEST = 36  # bytes of the longest message, AT1HI1

Payload = Callable[[int, Ticks], tuple[NDArray[np.bool_], NDArray[np.uint8]]]


class SimulatedMachine:
    """A pure function of (seed, time): the same frames whenever, and in whatever pieces, they are asked for.

    Powertrain on ``can0`` (J1939), implement on ``can1``; some 295 frames a second while the key is on. Times are
    microseconds UTC. One instance belongs to one thread.
    """

    def __init__(self, name: str, seed: int | None = None) -> None:
        """Without a seed the name is the seed."""
        seed = noise.key(name) if seed is None else seed
        self.name, self.seed = name, seed
        self._model = Model(name, seed)
        self._traffic = Traffic(seed, tuple(BINDINGS), _streams(self._model), LONGEST)

    @staticmethod
    def bindings() -> dict[str, Path]:
        """The database of each bus."""
        return dict(BINDINGS)

    @property
    def vin(self) -> str:
        return self._model.traits.vin

    def frames(self, start: int, end: int) -> FrameBatch:
        """Exactly the frames with start <= ts < end, by time."""
        return self._traffic.frames(start, end)

    def is_on(self, ts: int) -> bool:
        """Whether the key is on."""
        return bool(self._state(ts).key_on[0])

    def position(self, ts: int) -> dict[str, Any]:
        """Payload of ``vehicle_position``."""
        now, route = self._state(ts), self._model.route
        return {
            "lat": round(float(now.along(route.lat)[0]), 7),
            "lon": round(float(now.along(route.lon)[0]), 7),
            "alt": round(float(now.along(route.altitude)[0]), 2),
            "speed": round(3.6 * float(now["speed"][0]), 2),
            "heading": round(float(np.degrees(now.along(route.heading)[0])) % 360, 1),
            "fix": 3,
            "sats": int(implement.satellites(now)[0]),
        }

    def dtcs(self, ts: int) -> dict[str, Any]:
        """Payload of ``vehicle_dtc``: what the engine's DM1 says."""
        hour, second = ts // HOUR, np.array([ts % HOUR / SECOND])
        active = [f for f in self._model.hour(hour).faults if f.active(second)[0]]
        return {
            "source": "can0:00",
            "lamps": {lamp: "on" if any(f.lamp == lamp for f in active) else "off" for lamp in ("amber", "red")},
            "dtcs": [{"spn": f.spn, "fmi": f.fmi, "oc": f.occurrences, "cm": 0} for f in active],
        }

    def events(self, start: int, end: int) -> list[Happening]:
        """(ts, name, severity, data) with start <= ts < end: key_on, key_off, refuelled, load_tipped, fault_*."""
        hours = range(start // HOUR, -(-end // HOUR))
        found = [h for hour in hours for h in happenings(self._model, hour) if start <= h[0] < end]
        return sorted(found, key=lambda h: h[0])

    def performance(self, ts: int) -> dict[str, float | bool | str]:
        """Fields of ``client_raw_data``: how the machine's computer is doing."""
        second = np.array([ts // SECOND])
        rough = {w: float(noise.gaussian(noise.key(self.seed, w), second)[0]) for w in ("cpu", "memory", "radio")}
        slow = float(np.sin(ts / 7.3e8))
        return {
            "cpu_percent": round(23 + 3 * slow + 1.5 * rough["cpu"], 1),
            "memory_mb": round(176 + 4 * slow + 0.4 * rough["memory"], 1),
            "board_temperature_degC": round(41 + 2 * slow + 0.1 * rough["cpu"], 1),
            "disk_free_mb": round(6_144 - (ts % (24 * HOUR)) / HOUR * 20, 1),
            "signal_dbm": round(-81 + 6 * float(np.sin(ts / 9.1e7)) + 1.2 * rough["radio"]),
            "uptime_s": ts % (12 * HOUR) // SECOND,
            "can0_load_percent": 14.6,
            "can1_load_percent": 15.2,
            "key_on": self.is_on(ts),
            "software": "2.4.1",
        }

    def _state(self, ts: int) -> State:
        tick = ts // TICK * TICK
        return State(self._model, tick // HOUR, np.array([tick]))


def _streams(model: Model) -> list[Stream]:
    """Every stream of both buses, each with a slot and an offset of its own."""
    plans = [list(_powertrain(model)), list(_implement(model))]
    streams: list[Stream] = []
    for channel, (plan, bus_slots) in enumerate(zip(plans, slots([len(p) for p in plans]), strict=True)):
        for (arbitration_id, period, offset, pgn, payload), slot in zip(plan, bus_slots, strict=True):
            number = len(streams)
            streams.append(Stream(channel, arbitration_id, period, offset, slot, number, payload, pgn))
    return streams


Plan = tuple[int, int, int, int | None, Payload]  # arbitration id, period, offset, PGN if by transport, payloads


def _powertrain(model: Model) -> Iterator[Plan]:
    for i, message in enumerate(m for m in read(BINDINGS["can0"]) if m.name in powertrain.MESSAGES):
        for sender in powertrain.SENDERS.get(message.name, (powertrain.ENGINE,)):
            arbitration_id = message.arbitration_id & ~0xFF | sender
            sampled = partial(_sampled, model, message, MessageEncoder(message), powertrain.MESSAGES, sender, None)
            # Long messages of one sender must not overlap: the engine's own start in quiet parts of its seconds.
            is_long = message.length > 8
            offset = 6 * TICK if is_long else (i * 7 * TICK) % message.period
            yield arbitration_id, message.period, offset, message.pgn if is_long else None, sampled
    yield from diagnostics.plans(model)


def _implement(model: Model) -> Iterator[Plan]:
    for i, message in enumerate(read(BINDINGS["can1"])):
        for page in message.pages:
            encoder = MessageEncoder(message, page)
            sampled = partial(_sampled, model, message, encoder, implement.MESSAGES, 0, page)
            offset = (i * 7 * TICK) % message.period + (page or 0) * message.period
            yield message.arbitration_id, message.period * len(message.pages), offset, None, sampled


def _sampled(
    model: Model,
    message: Message,
    encoder: MessageEncoder,
    functions: dict[str, Callable[[State], Values]],
    sender: int,
    page: int | None,
    hour: int,
    ticks: Ticks,
) -> tuple[NDArray[np.bool_], NDArray[np.uint8]]:
    """Payloads of a message of a database, at the ticks at which the key is on."""
    due = State(model, hour, ticks).key_on
    state = State(model, hour, ticks[due], sender=sender, page=page or 0, salt=(message.name, sender))
    return due, encoder.encode(functions[message.name](state), len(state))

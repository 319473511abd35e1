"""Where the machine is, from frames of its buses: at most one ``vehicle_position`` a second, and satellites' time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from duco_workbench.j1939.ids import PDU2_KEY
from duco_workbench.model import ERROR, EXTENDED, REMOTE, SECOND, FrameBatch
from duco_workbench.wire import Position

from .drafts import Draft
from .gnss_frames import FAST_PACKETS, READERS, FastPacket, Heard

OnTime = Callable[[int, int], None]  # satellites' time, and the system clock's when it was told (microseconds UTC)
Sender = tuple[str, int]  # bus and address

FRESH = 3 * SECOND  # microseconds: speed and the like older than that are not told with a new position
SILENT = 5 * SECOND  # after which another receiver is listened to
SLACK = SECOND // 25  # a receiver's second is not always full

_KEYS = np.array([EXTENDED | pgn << 8 for pgn in READERS], np.uint32)
_MASK = np.uint32(EXTENDED | REMOTE | ERROR | PDU2_KEY)


class Pace:
    """Lets one through per interval, by the time it carries."""

    def __init__(self, interval_s: float) -> None:
        self._interval = round(interval_s * SECOND) - SLACK
        self._latest: int | None = None

    def is_due(self, ts: int) -> bool:
        if self._latest is not None and 0 <= ts - self._latest < self._interval:
            return False
        self._latest = ts
        return True


class Receiver:
    """The latest that one receiver told, field by field."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, Any]] = {}

    def hear(self, ts: int, heard: Heard) -> None:
        self._known |= {name: (ts, value) for name, value in heard._asdict().items() if value is not None}

    def position(self, ts: int) -> Position:
        """With what else is fresh; right after a place was heard."""
        names = Position.__struct_fields__
        fresh = {name: self._known[name] for name in names if name in self._known}
        return position_of({name: value for name, (at, value) in fresh.items() if abs(ts - at) <= FRESH})


def position_of(fields: dict[str, Any]) -> Position:
    """Rounded to what a receiver knows: millimetres, cm, 0.001 km/h, 0.01 degrees."""
    digits = {"lat": 8, "lon": 8, "alt": 2, "speed": 3, "heading": 2}
    return Position(**{name: round(value, digits[name]) if name in digits else value for name, value in fields.items()})


class GnssFrames:
    """A FrameWatcher. With several receivers the first is listened to until it is silent.

    Args:
        bus: ``"can1"``, or ``"*"`` for any.
        interval_s: seconds between two positions, at least.
        on_time: told whenever a receiver tells the time.
    """

    def __init__(self, bus: str = "*", interval_s: float = 1.0, on_time: OnTime | None = None) -> None:
        self._bus, self._pace, self._on_time = bus, Pace(interval_s), on_time
        self._receivers: dict[Sender, Receiver] = {}
        self._packets: dict[Sender, FastPacket] = {}
        self._chosen: Sender | None = None
        self._heard_at = 0

    def on_frames(self, frames: FrameBatch) -> list[Draft]:
        drafts = []
        if self._bus != "*":
            frames = frames.of(self._bus)
        keys = frames.arbitration_id & _MASK
        for row in np.flatnonzero(np.isin(keys, _KEYS)).tolist():
            sender = (frames.channels[frames.channel[row]], int(frames.arbitration_id[row]) & 0xFF)
            pgn = int(keys[row]) >> 8 & 0x3FFFF
            data = self._message(pgn, sender, frames.data[row, : frames.dlc[row]].tobytes())
            if data is not None:
                drafts += self._hear(int(frames.ts[row]), sender, READERS[pgn](data))
        return drafts

    def _message(self, pgn: int, sender: Sender, data: bytes) -> bytes | None:
        if pgn in FAST_PACKETS:
            return self._packets.setdefault(sender, FastPacket()).add(data)
        return data

    def _hear(self, ts: int, sender: Sender, heard: Heard) -> list[Draft]:
        if heard.utc is not None and self._on_time is not None:
            self._on_time(heard.utc, ts)
        receiver = self._receivers.setdefault(sender, Receiver())
        receiver.hear(ts, heard)
        if heard.lat is None or not self._is_chosen(sender, ts) or not self._pace.is_due(ts):
            return []
        return [Draft("vehicle_position", ts, receiver.position(ts))]

    def _is_chosen(self, sender: Sender, ts: int) -> bool:
        if self._chosen != sender and self._chosen is not None and abs(ts - self._heard_at) <= SILENT:
            return False
        self._chosen, self._heard_at = sender, ts
        return True

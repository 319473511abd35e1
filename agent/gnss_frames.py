"""What frames say about where the machine is and what time it is: J1939 and NMEA 2000 parameter groups, read to units.

Layouts: SAE J1939-71 (65267, 65256), NMEA 2000 as canboat documents it (126992, 129025, 129026, 129029).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

DAY = 86_400_000_000  # microseconds
_GPS_CLOCKS = (0, 1)  # sources of 126992: GPS, GLONASS; the others are clocks of the vehicle


class Heard(NamedTuple):
    """What one message tells; None is not told or not available. Degrees, metres, km/h, degrees from north."""

    lat: float | None = None
    lon: float | None = None
    alt: float | None = None
    speed: float | None = None
    heading: float | None = None
    fix: int | None = None  # 0 none, 2 in the plane, 3 in space
    sats: int | None = None
    utc: int | None = None  # microseconds since 1970


NOTHING = Heard()


def vehicle_position(data: bytes) -> Heard:
    """PGN 65267: 1e-7 degrees from -210."""
    return _place(_j1939(data, 0, 4, 1e-7, -210.0), _j1939(data, 4, 4, 1e-7, -210.0))


def direction_speed(data: bytes) -> Heard:
    """PGN 65256: bearing 1/128 degree, speed 1/256 km/h, pitch, altitude 0.125 m from -2500."""
    return Heard(
        heading=_degrees(_j1939(data, 0, 2, 1 / 128, 0.0)),
        speed=_j1939(data, 2, 2, 1 / 256, 0.0),
        alt=_j1939(data, 6, 2, 0.125, -2500.0),
    )


def position_rapid(data: bytes) -> Heard:
    """PGN 129025: signed 1e-7 degrees."""
    return _place(_nmea(data, 0, 4, 1e-7, True), _nmea(data, 4, 4, 1e-7, True))


def course_speed(data: bytes) -> Heard:
    """PGN 129026: course 1e-4 rad, speed 0.01 m/s; a course from magnetic north is none of ours."""
    course = _nmea(data, 2, 2, 1e-4)
    is_true = len(data) > 1 and data[1] & 3 == 0
    speed = _nmea(data, 4, 2, 0.01)
    return Heard(
        heading=_degrees(math.degrees(course)) if course is not None and is_true else None,
        speed=None if speed is None else speed * 3.6,
    )


def system_time(data: bytes) -> Heard:
    """PGN 126992: who keeps it, days since 1970, 1e-4 s of the day."""
    return Heard(utc=_utc(data, 2)) if len(data) > 1 and data[1] & 15 in _GPS_CLOCKS else NOTHING


def position_data(data: bytes) -> Heard:
    """PGN 129029: date and time, 1e-16 degrees, 1e-6 m, method (0: no fix), satellites."""
    method = (data[31] >> 4) if len(data) > 31 else 15
    if method == 0:
        return Heard(fix=0)
    alt, sats = _nmea(data, 23, 8, 1e-6, True), _nmea(data, 33, 1, 1.0)
    place = _place(_nmea(data, 7, 8, 1e-16, True), _nmea(data, 15, 8, 1e-16, True))
    fix = None if method >= 14 else 2 if alt is None else 3
    return place._replace(alt=alt, fix=fix, sats=None if sats is None else int(sats), utc=_utc(data, 1))


READERS: dict[int, Callable[[bytes], Heard]] = {
    65267: vehicle_position,
    65256: direction_speed,
    126992: system_time,
    129025: position_rapid,
    129026: course_speed,
    129029: position_data,
}
FAST_PACKETS = frozenset({129029})


@dataclass(slots=True)
class FastPacket:
    """One sender's message of up to 223 bytes in the making: 6 bytes in its first frame, 7 in each further one."""

    sequence: int = -1
    packet: int = 0  # expected next
    size: int = 0
    data: bytearray = field(default_factory=bytearray)

    def add(self, frame: bytes) -> bytes | None:
        """The whole message when this was its last frame. One with a frame missing is given up."""
        if len(frame) < 2:
            return None
        sequence, packet = frame[0] >> 5, frame[0] & 31
        if packet == 0:
            self.sequence, self.packet, self.size, self.data = sequence, 1, frame[1], bytearray(frame[2:])
        elif (sequence, packet) == (self.sequence, self.packet):
            self.packet += 1
            self.data += frame[1:]
        else:
            self.sequence = -1
        if self.sequence < 0 or len(self.data) < self.size:
            return None
        self.sequence = -1
        return bytes(self.data[: self.size])


def _j1939(data: bytes, at: int, size: int, scale: float, offset: float) -> float | None:
    """A number whose first byte is at most 0xFA; above are "error" and "not available"."""
    raw = data[at : at + size]
    return None if len(raw) < size or raw[-1] > 0xFA else int.from_bytes(raw, "little") * scale + offset


def _nmea(data: bytes, at: int, size: int, scale: float, signed: bool = False) -> float | None:
    """A number; its three largest values are "not available", "out of range" and "reserved"."""
    raw = data[at : at + size]
    value = int.from_bytes(raw, "little", signed=signed)
    largest = (1 << 8 * size - 1 if signed else 1 << 8 * size) - 1
    return None if len(raw) < size or value > largest - 3 else value * scale


def _utc(data: bytes, at: int) -> int | None:
    days, second = _nmea(data, at, 2, 1.0), _nmea(data, at + 2, 4, 100.0)
    return None if days is None or second is None else int(days) * DAY + round(second)


def _place(lat: float | None, lon: float | None) -> Heard:
    """Both or none, and on the earth."""
    if lat is None or lon is None or abs(lat) > 90 or abs(lon) > 180:
        return NOTHING
    return Heard(lat=round(lat, 9), lon=round(lon, 9))


def _degrees(value: float | None) -> float | None:
    return None if value is None or value > 360 else value % 360

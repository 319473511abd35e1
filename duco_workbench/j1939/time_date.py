"""The time a machine broadcasts (PGN 65254 TD, SAE J1939-71), set against ``ts``: evidence about clocks, never a clock.

Bytes: seconds (0.25 s), minutes, hours, month, day (0.25 d, so that 1 to 4 is the first), year (from 1985), local
minute offset (-125 min), local hour offset (-125 h). The offsets lead from UTC to local time. Local hour offset FA
(125 h) says that the time itself is local, and then nothing says how far it is from UTC.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

from ..model import FrameBatch
from .messages import messages_of
from .transport import LongMessage

TIME_DATE = 65254
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_YEAR = 1985
_NO_OFFSET = 125
_TIME_IS_LOCAL = 0xFA
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class TimeDate:
    """One TD message.

    Attributes:
        ts: microseconds UTC, as recorded; stays the time of everything.
        at: what the machine says, in its local zone where it names one, else UTC; None where a part is not available or
            impossible, or the time is local without a known offset.
        difference: ``at`` - ``ts`` in microseconds, within the 250 ms of TD's resolution; None with ``at``.
        is_local: the message says that its time is local time.
    """

    ts: int
    bus: str
    sender: int
    at: datetime | None
    difference: int | None
    is_local: bool


def time_dates(frames: FrameBatch, long: Iterable[LongMessage] = ()) -> list[TimeDate]:
    """Every TD of a batch in order of time."""
    found = []
    for m in messages_of(frames, long, (TIME_DATE,)):
        at = read(m.data)
        difference = None if at is None else (at - _EPOCH) // _MICROSECOND - m.ts
        is_local = m.data[7:8] == bytes([_TIME_IS_LOCAL])
        found.append(TimeDate(m.ts, frames.channels[m.channel], m.source, at, difference, is_local))
    return found


def read(data: bytes) -> datetime | None:
    """The time of one TD, or None: FB to FF (reserved, error, not available), a month 13, a second 60 and the like."""
    if len(data) < 8 or data[7] == _TIME_IS_LOCAL or max(data[:6]) > 0xFA or not data[4]:
        return None
    quarters, minute, hour, month, day, year = data[:6]
    try:
        at = datetime(
            _FIRST_YEAR + year,
            month,
            (day + 3) // 4,
            hour,
            minute,
            quarters // 4,
            quarters % 4 * 250_000,
            UTC,
        )
    except ValueError:
        return None
    return at.astimezone(_zone(data[6], data[7]))


def _zone(minutes: int, hours: int) -> timezone:
    """UTC where the offsets are not available, or a day and more."""
    if minutes > 0xFA or hours > 0xFA:
        return UTC
    offset = timedelta(hours=hours - _NO_OFFSET, minutes=minutes - _NO_OFFSET)
    return timezone(offset) if abs(offset) < timedelta(days=1) else UTC

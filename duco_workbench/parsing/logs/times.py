"""Local times in log files -> microseconds UTC, by a zone that a person names: never by the machine's own zone."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal, InvalidOperation
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ...errors import ConfigError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
YEAR_1990 = 631_152_000_000_000  # microseconds UTC; an earlier first frame means times relative to some start
_PEAK_EPOCH = datetime(1899, 12, 30)  # day 0 of $STARTTIME
_MICROSECOND = timedelta(microseconds=1)

# "Sep 30 10:06:13.191 pm 2017", "Mär 4 15:06:13 2021": what follows the weekday.
_VECTOR_DATE = re.compile(r"(\S+)\s+(\d+)\s+(\d+):(\d+):(\d+)(?:\.(\d+))?\s*(am|pm)?\s+(\d{4})", re.IGNORECASE)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_GERMAN = {"mai": "may", "okt": "oct", "dez": "dec"}


def zone_of(name: str | None) -> ZoneInfo | None:
    """Raises: ConfigError when there is no such zone."""
    if name is None:
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(f"{name!r} is no time zone; give an IANA name such as Europe/Berlin or UTC.") from None


def wall_to_utc(wall: datetime, zone: tzinfo) -> int:
    """Microseconds UTC of a naive local time (the first of two where the clock is set back)."""
    return (wall.replace(tzinfo=zone) - EPOCH) // _MICROSECOND


def vector_date(text: str) -> datetime | None:
    """The date of an .asc header or trigger block, English or German; None when it is something else."""
    if not (match := _VECTOR_DATE.search(text)):
        return None
    name, day, hour, minute, second, fraction, half, year = match.groups()
    # Vector writes three digits; python-can's writer leaves out leading zeros, so fewer digits are milliseconds too.
    micros = int((fraction or "0").zfill(3).ljust(6, "0")[:6])
    hours = int(hour) % 12 + 12 * (half.lower() == "pm") if half else int(hour)
    try:
        return datetime(int(year), _month(name), int(day), hours, int(minute), int(second), micros)
    except ValueError:
        return None


def _month(name: str) -> int:
    short = name[:3].lower()
    if short[0] == "m" and short[-1] == "r":
        short = "mar"  # "Mär", in whichever encoding it was written
    return _MONTHS.index(_GERMAN.get(short, short)) + 1


def peak_start(line: str) -> datetime | None:
    """The time of a ``;$STARTTIME=days`` line of a .trc file, exact to the microsecond."""
    try:
        micros = Decimal(line.partition("=")[2].strip()) * 86_400_000_000
        return _PEAK_EPOCH + timedelta(microseconds=int(micros.to_integral_value()))
    except (InvalidOperation, OverflowError, ValueError):
        return None

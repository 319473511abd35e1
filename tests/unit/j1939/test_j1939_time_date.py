"""A machine's own time against the time it was recorded."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from can_rows import batch, single
from hypothesis import given
from hypothesis import strategies as st

from duco_workbench.j1939.time_date import TIME_DATE, read, time_dates

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def data(second: float, minute: int, hour: int, month: int, day: float, year: int, *offset: int) -> bytes:
    minutes, hours = offset or (0xFF, 0xFF)
    return bytes([round(4 * second), minute, hour, month, round(4 * day), year - 1985, minutes, hours])


def test_it_is_compared_with_ts_which_stays() -> None:
    at = datetime(2024, 9, 7, 12, 30, 15, 250_000, UTC)
    ts = (at - EPOCH) // timedelta(microseconds=1) + 1_300_000
    frames = batch([single(ts, TIME_DATE, 0xEE, data(15.25, 30, 12, 9, 7, 2024))], channel=1)
    (found,) = time_dates(frames)
    assert (found.ts, found.bus, found.sender) == (ts, "can1", 0xEE)
    assert (found.at, found.difference, found.is_local) == (at, -1_300_000, False)


def test_a_named_zone_is_the_same_moment() -> None:
    at = read(data(0, 30, 22, 12, 31, 2024, 125 + 30, 125 + 5))
    assert at == datetime(2024, 12, 31, 22, 30, tzinfo=UTC)
    assert at is not None
    assert at.utcoffset() == timedelta(hours=5, minutes=30)
    assert at.isoformat() == "2025-01-01T04:00:00+05:30"
    west = read(data(0, 0, 0, 1, 1, 2024, 125 - 30, 125 - 3))
    assert west is not None
    assert west.tzinfo == timezone(timedelta(hours=-3, minutes=-30))


def test_local_time_without_its_offset_is_no_moment() -> None:
    (found,) = time_dates(batch([single(0, TIME_DATE, 1, data(0, 0, 0, 1, 1, 2024, 125, 0xFA))]))
    assert (found.at, found.difference, found.is_local) == (None, None, True)


@pytest.mark.parametrize(("quarters", "day"), [(0, None), (1, 1), (4, 1), (5, 2), (124, 31), (125, None), (127, None)])
def test_quarters_of_a_day(quarters: int, day: int | None) -> None:
    at = read(bytes([0, 0, 0, 1, quarters, 39, 125, 125]))
    assert (at.day if at else None) == day


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"\0" * 8,
        b"\xff" * 8,
        data(0, 0, 0, 1, 1, 2024)[:7],
        data(60, 0, 0, 1, 1, 2024),
        data(0, 60, 0, 1, 1, 2024),
        data(0, 0, 24, 1, 1, 2024),
        data(0, 0, 0, 13, 1, 2024),
        data(0, 0, 0, 2, 30, 2024),
        *(bytes([0] * i + [0xFE] + [1] * (5 - i) + [125, 125]) for i in range(6)),
    ],
)
def test_not_available_or_impossible(said: bytes) -> None:
    assert read(said) is None


def test_an_impossible_zone_is_utc() -> None:
    assert read(data(0, 0, 0, 1, 1, 2024, 125, 0)) == datetime(2024, 1, 1, tzinfo=UTC)


@given(st.binary(max_size=10))
def test_any_bytes_are_a_time_or_none(said: bytes) -> None:
    at = read(said)
    assert at is None or (at.tzinfo is not None and 1985 <= at.astimezone(UTC).year <= 2235)

"""Times of an interface's clock as times of ours: whatever its zero, whatever is done to either clock."""

from __future__ import annotations

import numpy as np
import pytest
from agent_frames import T
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from agent.bus_time import CLOSE, LATE, WINDOW, BusTime
from duco_workbench.model import SECOND

LATENCY = 300  # microseconds between a frame and its reading, here


def at(*seconds: float) -> NDArray[np.int64]:
    return np.array([T + round(s * SECOND) for s in seconds], np.int64)


def stamps(happened: NDArray[np.int64], zero: int) -> NDArray[np.float64]:
    """As an interface gives them whose clock began at ``zero`` (microseconds UTC)."""
    return (happened - zero) / 1e6


@pytest.mark.parametrize("zero", [0, T - 5 * SECOND, T - 400_000 * SECOND, 800_000_000 * SECOND])
def test_any_zero_gives_our_time_and_keeps_the_distances(zero: int) -> None:
    happened = at(0.5, 0.500125, 0.500250, 1.75)
    found = BusTime().to_utc(stamps(happened, zero), happened + LATENCY)
    assert np.abs(np.diff(found) - np.diff(happened)).max() <= 1
    assert np.abs(found - happened).max() <= LATENCY + 1


def test_a_clock_that_is_ours_is_taken_as_it_is() -> None:
    happened = at(0, 0.001, 0.002)
    assert BusTime().to_utc(stamps(happened, 0), happened + 90_000).tolist() == happened.tolist()


def test_frames_that_waited_keep_their_times() -> None:
    clock = BusTime()
    clock.to_utc(stamps(at(0), 0), at(0) + LATENCY)
    happened = at(1, 2, 3)
    assert clock.to_utc(stamps(happened, 0), at(5, 5, 5)).tolist() == happened.tolist()
    assert clock.jumps == 0


@pytest.mark.parametrize("stamp", [0.0, -1.0, float("nan"), float("inf"), 1e300])
def test_a_frame_without_a_stamp_happened_when_it_was_read(stamp: float) -> None:
    read = at(1, 2)
    assert BusTime().to_utc(np.array([stamp, stamp]), read).tolist() == read.tolist()


def test_a_first_frame_that_waited_long_is_put_right_by_the_next_that_did_not() -> None:
    clock, zero = BusTime(), T - 77 * SECOND
    first = clock.to_utc(stamps(at(0), zero), at(0.08))
    second = clock.to_utc(stamps(at(1), zero), at(1) + LATENCY)
    third = clock.to_utc(stamps(at(2), zero), at(2) + 50_000)
    assert first.tolist() == at(0.08).tolist()
    assert (second - at(1)).tolist() == [LATENCY]
    assert (third - at(2)).tolist() == [LATENCY]


def test_order_holds_where_the_difference_is_mended() -> None:
    clock, zero = BusTime(), T - 77 * SECOND
    first = clock.to_utc(stamps(at(0, 0.010), zero), at(0.05, 0.06))
    second = clock.to_utc(stamps(at(0.02), zero), at(0.02) + LATENCY)
    assert first[-1] <= second[0]


def test_an_adapter_that_begins_anew_amid_a_batch_is_measured_again() -> None:
    clock, happened = BusTime(), at(0, 1, 2, 3)
    its = np.concatenate([stamps(happened[:2], T - 500 * SECOND), stamps(happened[2:], T + 2 * SECOND - 1000)])
    found = clock.to_utc(its, happened + LATENCY)
    assert np.abs(found - happened).max() <= LATENCY + 1
    assert clock.jumps == 1


def test_our_clock_set_by_years_is_followed_and_the_distances_stay() -> None:
    clock, zero, years = BusTime(), T - 500 * SECOND, 3 * 365 * 86_400 * SECOND
    clock.to_utc(stamps(at(0, 1), zero), at(0, 1) + LATENCY)
    for step in (years, 0):
        found = clock.to_utc(stamps(at(2, 3), zero), at(2, 3) + LATENCY + step)
        assert np.abs(found - at(2, 3) - step).max() <= LATENCY + 1
    assert clock.jumps == 2


def test_an_interface_with_our_clock_follows_it_through_years_by_itself() -> None:
    clock, years = BusTime(), 3 * 365 * 86_400 * SECOND
    clock.to_utc(stamps(at(0), 0), at(0) + LATENCY)
    before_and_after = np.array([T + SECOND, T + SECOND + years])
    clock.to_utc(stamps(before_and_after, 0), np.full(2, T + SECOND + years + LATENCY))
    happened = at(2, 3) + years
    assert clock.to_utc(stamps(happened, 0), happened + LATENCY).tolist() == happened.tolist()


def test_stamps_of_no_worth_cost_no_frame() -> None:
    its = np.random.default_rng(1).uniform(1, 1e9, 500)
    read = T + np.arange(500) * 1000
    found = BusTime().to_utc(its, read)
    assert len(found) == 500
    assert np.abs(found - read).max() <= LATE


@settings(deadline=None, max_examples=40)
@given(
    zero=st.sampled_from([1, T - 3600 * SECOND, T - 2 * SECOND]),
    drift=st.floats(-200e-6, 200e-6),
    seed=st.integers(0, 1000),
)
def test_two_clocks_that_drift_apart_stay_together(zero: int, drift: float, seed: int) -> None:
    """200 ppm is twice what an adapter's crystal has; in ten minutes that is 120 ms, unless it is mended."""
    clock, random = BusTime(), np.random.default_rng(seed)
    for minute in range(0, 600, 5):
        happened = np.sort(T + (minute * SECOND + random.uniform(0, 5 * SECOND, 50)).astype(np.int64))
        its = (happened - zero + (happened - T) * drift) / 1e6
        read = happened + LATENCY + random.exponential(20_000, 50).astype(np.int64)
        found = clock.to_utc(its, read)
        at_first = CLOSE if zero == 1 else 0  # until it shows that the clock is another
        assert np.abs(found - happened).max() <= 30_000 + at_first + 2 * WINDOW * abs(drift)

"""What time it is when the clock cannot be trusted, is set while it runs, or is put right by satellites."""

from __future__ import annotations

import pytest

from agent import clock as module
from agent.clock import EARLIEST, FRESH, AgentClock, Found, Stepped, boot_id, kept_by_ntp, since_boot
from duco_workbench.model import SECOND

TRUE = 1_760_000_000 * SECOND  # at monotonic 0
YEAR = 365 * 86_400 * SECOND


class Machine:
    """A machine's clocks: ``error`` is what its system clock is off."""

    def __init__(self, error: int = 0, ntp: bool | None = False) -> None:
        self.error, self.ntp, self.monotonic = error, ntp, 0

    def clock(self, newest: int = 0) -> AgentClock:
        clock = AgentClock(
            wall=lambda: TRUE + self.monotonic + self.error,
            monotonic=lambda: self.monotonic,
            is_synchronised=lambda: self.ntp,
        )
        clock.not_before(newest)
        return clock

    def pass_(self, seconds: float) -> None:
        self.monotonic += round(seconds * SECOND)


def test_a_plausible_clock_is_believed_and_is_only_as_good_as_its_battery() -> None:
    clock = Machine().clock(newest=TRUE)
    assert (clock.trusted, clock.source, clock.now(), clock.offset) == (True, "rtc", TRUE, 0)
    assert clock.check() is None


def test_a_clock_kept_by_ntp_is_believed_whatever_the_queue_remembers() -> None:
    clock = Machine(ntp=True).clock(newest=TRUE + YEAR)
    assert (clock.trusted, clock.source) == (True, "ntp")


@pytest.mark.parametrize(
    ("error", "newest"),
    [(-TRUE, 0), (EARLIEST - TRUE - 1, 0), (-SECOND, TRUE)],
    ids=["1970", "before this program was written", "before what it saw already"],
)
def test_a_clock_that_cannot_be_right_is_not_believed(error: int, newest: int) -> None:
    clock = Machine(error).clock(newest)
    assert (clock.trusted, clock.source, clock.wire.source) == (False, "none", "none")
    assert clock.now() == TRUE + error, "it counts on from there"


def test_time_found_by_ntp_tells_by_how_much_the_count_was_off() -> None:
    machine = Machine(error=-20 * YEAR)
    clock = machine.clock()
    counted = clock.base
    machine.pass_(100)
    assert clock.check() is None
    machine.error, machine.ntp = 0, True
    assert clock.check() == Found(TRUE, "ntp", 20 * YEAR)
    assert clock.base - counted == 20 * YEAR
    assert (clock.now(), clock.offset, clock.check()) == (TRUE + 100 * SECOND, 0, None)


def test_until_time_is_found_the_count_ignores_what_is_done_to_the_system_clock() -> None:
    machine = Machine(error=-20 * YEAR)
    clock = machine.clock()
    counted = clock.base
    machine.error += YEAR
    machine.pass_(10)
    assert clock.check() == Stepped(YEAR, believed=False)
    assert (clock.base, clock.trusted) == (counted, False)
    assert clock.offset == -YEAR, "a frame dated by the system clock is put back on the count"


def test_satellites_put_a_wrong_system_clock_right() -> None:
    machine = Machine(error=-20 * YEAR)
    clock = machine.clock()
    counted = clock.base
    machine.pass_(50)
    clock.heard(TRUE + 49 * SECOND, TRUE - 20 * YEAR + 49 * SECOND)
    assert clock.base == counted, "only check() changes it: what was made before is dated by the old one"
    assert clock.check() == Found(TRUE, "gnss", 20 * YEAR)
    assert (clock.now(), clock.offset) == (TRUE + 50 * SECOND, 20 * YEAR)
    assert clock.wire.source == "gnss"
    assert clock.wire.offset_ms == pytest.approx(-20 * YEAR / 1000)


def test_satellites_outlast_their_reception_until_something_better_comes() -> None:
    machine = Machine(error=-20 * YEAR)
    clock = machine.clock()
    clock.heard(TRUE, TRUE - 20 * YEAR)
    clock.check()
    machine.pass_(2 * FRESH / SECOND)
    assert clock.check() is None
    assert clock.now() == TRUE + machine.monotonic
    machine.error, machine.ntp = 0, True
    assert clock.check() == Stepped(20 * YEAR, believed=False), "the system came to where the agent was"
    assert (clock.now(), clock.source) == (TRUE + machine.monotonic, "ntp")


def test_satellites_that_agree_confirm_the_system_clock_and_say_how_far_it_is_off() -> None:
    clock = Machine(error=40_000).clock()
    clock.heard(TRUE, TRUE + 40_000)
    assert clock.check() is None
    assert (clock.source, clock.offset_ms, clock.offset) == ("gnss", 40.0, 0)


def test_fixes_that_tremble_do_not_move_the_time() -> None:
    machine = Machine(error=-YEAR)
    clock = machine.clock(newest=TRUE)
    moves = []
    for jitter in (0, 300_000, -300_000, 150_000):
        machine.pass_(1)
        clock.heard(TRUE + machine.monotonic + jitter, TRUE + machine.monotonic - YEAR)
        moves.append(clock.check())
    assert moves == [Found(TRUE, "gnss", YEAR), None, None, None]
    assert clock.base == TRUE


def test_a_receiver_without_a_fix_or_a_thousand_weeks_off_is_not_heard() -> None:
    clock = Machine(error=-TRUE).clock()
    clock.heard(TRUE - 1024 * 7 * 86_400 * SECOND, 0)
    assert clock.check() is None
    assert not clock.trusted


def test_ntp_is_believed_before_satellites() -> None:
    clock = Machine(ntp=True).clock()
    clock.heard(TRUE + YEAR, TRUE)
    assert clock.check() is None
    assert (clock.source, clock.now()) == ("ntp", TRUE)


@pytest.mark.parametrize("step", [3600 * SECOND, -3600 * SECOND])
def test_a_clock_that_is_set_while_it_runs_is_followed_and_told(step: int) -> None:
    machine = Machine()
    clock = machine.clock(newest=TRUE)
    machine.pass_(10)
    machine.error = step
    assert clock.check() == Stepped(step, believed=True)
    assert clock.now() == TRUE + 10 * SECOND + step
    assert clock.check() is None


def test_a_clock_that_falls_back_to_1970_while_it_runs_is_not_followed() -> None:
    machine = Machine()
    clock = machine.clock()
    machine.pass_(10)
    machine.error = -TRUE
    assert clock.check() == Stepped(-TRUE, believed=False)
    machine.pass_(10)
    assert clock.check() is None
    assert (clock.now(), clock.offset, clock.trusted) == (TRUE + 20 * SECOND, TRUE, True)


def test_slow_corrections_are_followed_without_a_word() -> None:
    machine = Machine()
    clock = machine.clock()
    for _ in range(100):
        machine.pass_(1)
        machine.error += 500
        assert clock.check() is None
    assert clock.now() == TRUE + machine.monotonic + 50_000


def test_a_token_the_hub_accepts_proves_that_the_queue_remembers_a_wrong_time() -> None:
    machine = Machine()
    clock = machine.clock(newest=TRUE + 19 * YEAR)
    assert not clock.trusted
    clock.accepted_by_hub()
    assert clock.check() == Found(TRUE, "rtc", 0)


def test_the_hub_cannot_prove_1970() -> None:
    clock = Machine(error=-TRUE).clock()
    clock.accepted_by_hub()
    assert clock.check() is None


def test_the_systems_own_clocks_can_be_asked() -> None:
    first = since_boot()
    assert 0 < first <= since_boot()
    assert boot_id() == boot_id() != ""
    assert kept_by_ntp() in (True, False, None)
    assert abs(AgentClock().now() - module.time.time_ns() // 1000) < 60 * SECOND

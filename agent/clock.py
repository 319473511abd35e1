"""What time it is, where that was learnt, and whether to believe it.

Everything outside (frames, drafts) carries the system clock's time; :attr:`AgentClock.offset` makes the agent's of it.
A clock that cannot be right (a battery-less board wakes in 1970) is not believed: the agent then counts on from there
by the monotonic clock, and what it makes meanwhile waits in the queue until the time is found (:class:`Found`).
"""

from __future__ import annotations

import ctypes
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from duco_workbench import model
from duco_workbench.model import SECOND

EARLIEST = 1_735_689_600 * SECOND  # 2025-01-01: this program is younger than that
STEP = SECOND  # microseconds the system clock may move against the monotonic one before it counts as a step
TOLERANCE = 2 * SECOND  # satellites' time over a bus comes late; within this the system clock is the better one
FRESH = 600 * SECOND  # how long satellites' time is worth more than what the system clock says

_STA_UNSYNC, _TIME_ERROR = 0x40, 5


@dataclass(frozen=True, slots=True)
class Found:
    """Time is known from here on: monotonic zero was at ``base`` (microseconds UTC), ``by`` later than was counted."""

    base: int
    source: str
    by: int


@dataclass(frozen=True, slots=True)
class Stepped:
    """A clock moved ``by`` microseconds while it ran; ``believed``: so did the agent's time."""

    by: int
    believed: bool


class AgentClock:
    """One agent's clock.

    Args:
        wall, monotonic: microseconds; ``monotonic`` counts from the machine's boot.
        is_synchronised: whether the system keeps its clock by NTP; None when that cannot be known.
    """

    def __init__(
        self,
        *,
        wall: Callable[[], int] = lambda: time.time_ns() // 1000,
        monotonic: Callable[[], int] | None = None,
        is_synchronised: Callable[[], bool | None] | None = None,
    ) -> None:
        self._wall, self._monotonic = wall, monotonic or since_boot
        self._is_synchronised = is_synchronised or kept_by_ntp
        self._floor = EARLIEST
        self._system = self._base = self._wall() - self._monotonic()
        self._gnss_base = self._gnss_until = 0
        self.source, self.offset_ms, self.trusted = "none", 0.0, False
        self._judge(step=0)

    def not_before(self, newest: int) -> None:
        """At the start: the latest time this machine believed; a clock that wakes before it is wrong."""
        self._floor = max(newest, EARLIEST)
        self.trusted, self.source = False, "none"
        self._judge(step=0)

    @property
    def base(self) -> int:
        """When monotonic zero was, as the agent counts (microseconds UTC)."""
        return self._base

    @property
    def offset(self) -> int:
        """To be added to a time of the system clock, microseconds; 0 while that clock is believed."""
        return self._base - self._system

    @property
    def wire(self) -> model.Clock:
        return model.Clock(self.source, self.offset_ms)

    def now(self) -> int:
        return self._base + self._monotonic()

    def check(self) -> Found | Stepped | None:
        """Look at the clocks again, several times a second; what has happened. Only this changes :attr:`base`."""
        trusted, base = self.trusted, self._base
        system = self._wall() - self._monotonic()
        step, self._system = system - self._system, system
        self._judge(step)
        moved = self._base - base
        if self.trusted and not trusted:
            return Found(self._base, self.source, moved)
        if abs(step) > STEP or abs(moved) > STEP:
            return Stepped(step if abs(step) > STEP else moved, abs(moved) > STEP)
        return None

    def heard(self, utc: int, ts: int) -> None:
        """Satellites said ``utc`` when the system clock said ``ts``; a receiver that has no time yet says nonsense."""
        if utc >= EARLIEST:
            self.offset_ms = (ts - utc) / 1000
            self._gnss_base, self._gnss_until = utc - (ts - self._system), self._monotonic() + FRESH

    def accepted_by_hub(self) -> None:
        """The hub took a token that this clock dated: it is not behind, whatever the queue remembers."""
        self._floor = EARLIEST

    def _judge(self, step: int) -> None:
        """NTP before satellites (a receiver may be 1024 weeks off) before what is merely not impossible."""
        could_be = self._system + self._monotonic() >= self._floor
        if self._is_synchronised():
            self._follow("ntp")
        elif self._monotonic() < self._gnss_until:
            self._follow_gnss()
        elif abs(step) > STEP and self.trusted:
            if self._system + self._monotonic() >= EARLIEST:  # a person or a program set it: believed, backwards too
                self._follow("rtc")
        elif (self.trusted and abs(self.offset) <= TOLERANCE) or (not self.trusted and could_be):
            self._follow("rtc")

    def _follow_gnss(self) -> None:
        self.trusted, self.source = True, "gnss"
        if abs(self._gnss_base - self._system) <= TOLERANCE:
            self._base = self._system
        elif abs(self._gnss_base - self._base) > TOLERANCE:  # not at every fix: it would tremble
            self._base = self._gnss_base

    def _follow(self, source: str) -> None:
        self.trusted, self.source, self._base = True, source, self._system


def since_boot() -> int:
    """Microseconds, suspended time included where the system counts it: what was made before goes by it, too."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return (time.clock_gettime_ns(clock) if clock is not None else time.monotonic_ns()) // 1000


def boot_id() -> str:
    """The same for every process between two boots; where the system has none, every process is a boot of its own."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return uuid.uuid4().hex


def kept_by_ntp() -> bool | None:
    """What the Linux kernel says of its clock (adjtimex, which every NTP daemon sets); None elsewhere."""
    if _adjtimex is None:
        return None
    state = _adjtimex(ctypes.byref(_timex))
    return None if state < 0 else state != _TIME_ERROR and not _timex.status & _STA_UNSYNC


class _Timex(ctypes.Structure):
    """The head of ``struct timex``; ``modes`` 0 only asks. The rest is room for what the kernel writes behind it."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


_timex = _Timex()
_adjtimex = getattr(ctypes.CDLL(None), "adjtimex", None) if sys.platform == "linux" else None

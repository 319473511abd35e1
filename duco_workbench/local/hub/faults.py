"""Switches for faults, so that tests and people can try what the real hub and real networks do now and then."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from .refusals import bad_argument

EVERY = "*"  # all devices
TIMED = ("black_hole", "throttle", "refuse")
SLOW_S = 1.0  # what throttling adds to a message


class Faults:
    """What is switched on, by device id or ``"*"``.

    drop_puback: the next messages are kept, but not acknowledged; the connection stays.
    black_hole: nothing is read or answered, the connection stays open: a link that swallows everything.
    throttle: REST answers 429 (any device), MQTT takes each message a second later.
    refuse: connections are answered with "server unavailable".
    kick: the connection is cut, once.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.on_kick: Callable[[str], int] = lambda device: 0  # who holds the connections sets it
        self._clock = clock
        self._pubacks: dict[str, int] = {}
        self._until: dict[tuple[str, str], float] = {}  # (fault, device) -> clock

    # -- switching

    def drop_puback(self, count: int = 1, device: str = EVERY) -> None:
        self._pubacks[device] = count

    def black_hole(self, seconds: float, device: str = EVERY) -> None:
        self._until["black_hole", device] = self._clock() + seconds

    def throttle(self, seconds: float, device: str = EVERY) -> None:
        self._until["throttle", device] = self._clock() + seconds

    def refuse(self, seconds: float, device: str = EVERY) -> None:
        self._until["refuse", device] = self._clock() + seconds

    def kick(self, device: str = EVERY) -> int:
        """Returns how many connections were cut."""
        return self.on_kick(device)

    def clear(self) -> None:
        self._pubacks.clear()
        self._until.clear()

    def switch(self, name: str, device: str, count: int, seconds: float) -> None:
        """By name, for REST. Raises: Refusal."""
        if name in TIMED and seconds > 0:
            self._until[name, device] = self._clock() + seconds
        elif name == "drop_puback" and count > 0:
            self.drop_puback(count, device)
        elif name == "kick":
            self.kick(device)
        else:
            raise bad_argument(f"fault {name!r}: one of {', '.join(TIMED)} with seconds, drop_puback with count, kick")

    def active(self) -> list[dict[str, Any]]:
        """``[{"fault", "device", "seconds" | "count"}]``; what is left of each."""
        left = [(*key, until - self._clock()) for key, until in self._until.items()]
        timed: list[dict[str, Any]] = [
            {"fault": fault, "device": device, "seconds": round(s, 3)} for fault, device, s in left if s > 0
        ]
        return timed + [{"fault": "drop_puback", "device": d, "count": n} for d, n in self._pubacks.items() if n > 0]

    # -- asking

    def drops_puback(self, device: str) -> bool:
        """Asked once per acknowledgement: each yes uses one up."""
        for name in (device, EVERY):
            if self._pubacks.get(name, 0) > 0:
                self._pubacks[name] -= 1
                return True
        return False

    def left(self, fault: str, device: str) -> float:
        """Seconds; 0 when the fault is not on."""
        now = self._clock()
        return max(0.0, *(self._until.get((fault, name), now) - now for name in (device, EVERY)))

    async def passage(self, device: str) -> None:
        """Until the device is in no black hole."""
        while (seconds := self.left("black_hole", device)) > 0:
            await asyncio.sleep(min(seconds, 0.2))  # it may be cleared

    async def slow_down(self, device: str) -> None:
        if (seconds := self.left("throttle", device)) > 0:
            await asyncio.sleep(min(seconds, SLOW_S))

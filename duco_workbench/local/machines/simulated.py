"""A simulated machine as its agent meets it: buses to read, and what else there is to collect.

The same messages come out live and of the past: each is due at a whole multiple of its period.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Protocol

import msgspec

from agent.drafts import Draft, Emit

from ... import wire
from ...model import SECOND, FrameBatch
from ..simulation import Machine

POSITION_EVERY = 10 * SECOND  # while nobody looks; each second when streaming
FIGURES_EVERY = 30 * SECOND
LAG = SECOND // 10  # a real bus gives a frame a moment after it was sent


class Bus(Protocol):
    """What has frames: a simulated machine, or a player of a log. Intervals are asked for in order."""

    def frames(self, start: int, end: int) -> FrameBatch: ...


class SimulatedBuses:
    """An agent's frame source: all buses of one machine, from ``begin`` on, in step with the clock."""

    state, dropped = "up", 0

    def __init__(self, bus: Bus, begin: int, clock: Callable[[], int]) -> None:
        self.name, self.ended = "simulated", False
        self._bus, self._clock = bus, clock
        self.at = begin  # microseconds: collected up to here

    def open(self) -> None: ...

    def read(self) -> FrameBatch:
        until = self._clock()
        if until <= self.at:
            return FrameBatch.empty()
        start, self.at = self.at, until
        return self._bus.frames(start, until)

    def close(self) -> None: ...


def drafts(machine: Machine, start: int, end: int, position_every: int = POSITION_EVERY) -> Iterator[Draft]:
    """What the machine has to say besides its frames in [start, end), each kind in order of time."""
    for ts in range(-(-start // position_every) * position_every, end, position_every):
        if machine.is_on(ts):
            yield Draft("vehicle_position", ts, msgspec.convert(machine.position(ts), wire.Position))
    for ts in range(-(-start // FIGURES_EVERY) * FIGURES_EVERY, end, FIGURES_EVERY):
        yield Draft("client_raw_data", ts, wire.Client(machine.performance(ts)))
    for ts, name, severity, data in machine.events(start, end):
        yield Draft("vehicle_event", ts, wire.EventBody(name, severity, data))


class SimulatedRest:
    """The agent's collector of :func:`drafts`, in step with the clock."""

    def __init__(
        self, machine: Machine, begin: int, clock: Callable[[], int], is_streaming: Callable[[], bool]
    ) -> None:
        self._machine, self._at, self._clock, self._is_streaming = machine, begin, clock, is_streaming

    async def run(self, emit: Emit) -> None:
        while True:
            until = self._clock()
            every = SECOND if self._is_streaming() else POSITION_EVERY
            for draft in drafts(self._machine, self._at, until, every):
                emit(draft)
            self._at = max(self._at, until)
            await asyncio.sleep(0.2)

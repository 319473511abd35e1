"""How the agent and its computer are doing: a collector of ``client_raw_data``."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence

import psutil

from duco_workbench.model import SECOND
from duco_workbench.wire import Client

from .clock import since_boot
from .drafts import Draft, Emit
from .peers import now

Fields = Mapping[str, float | bool | str]
Probe = Callable[[int], Fields]  # asked with the microseconds since it was asked last

MEGABYTE = 1 << 20


class Performance:
    """A Collector.

    Args:
        probes: who else has figures: buses, queue, uplink. One that fails is left out of that message.
        interval_s: seconds between two messages.
        disk: a path on the disk whose free space counts, that of the queue.
        clock, monotonic: microseconds, UTC and since some moment.
    """

    def __init__(
        self,
        probes: Sequence[Probe] = (),
        interval_s: float = 10.0,
        *,
        disk: str = "/",
        clock: Callable[[], int] = now,
        monotonic: Callable[[], int] = since_boot,
    ) -> None:
        self._probes = (Computer(disk).fields, *probes)
        self._interval, self._clock, self._monotonic = interval_s, clock, monotonic
        self._asked = monotonic()

    async def run(self, emit: Emit) -> None:
        while True:
            await asyncio.sleep(self._interval)
            emit(self.draft())

    def draft(self) -> Draft:
        asked = self._monotonic()
        span, self._asked = asked - self._asked, asked
        fields: dict[str, float | bool | str] = {}
        for probe in self._probes:
            with contextlib.suppress(Exception):  # a figure less is no reason to have none
                fields |= probe(span)
        return Draft("client_raw_data", self._clock(), Client(fields))


class Computer:
    """The process and the computer it runs on, as far as the platform tells."""

    def __init__(self, disk: str) -> None:
        self._disk, self._process, self._start = disk, psutil.Process(), since_boot()
        self._process.cpu_percent()  # counts from here

    def fields(self, span: int) -> Fields:
        fields: dict[str, float | bool | str] = {}
        for name, figure in self._figures().items():
            with contextlib.suppress(OSError, psutil.Error, AttributeError, NotImplementedError):
                if (value := figure()) is not None:
                    fields[name] = round(value, 1)
        return fields

    def _figures(self) -> dict[str, Callable[[], float | None]]:
        return {
            "cpu_percent": self._process.cpu_percent,  # of one core
            "memory_mb": lambda: self._process.memory_info().rss / MEGABYTE,
            "system_cpu_percent": psutil.cpu_percent,
            "system_memory_free_mb": lambda: psutil.virtual_memory().available / MEGABYTE,
            "disk_free_mb": lambda: psutil.disk_usage(self._disk).free / MEGABYTE,
            "load_1min": lambda: psutil.getloadavg()[0],
            "board_temperature_degC": hottest,
            "uptime_s": lambda: (since_boot() - self._start) / SECOND,
            "system_uptime_s": lambda: since_boot() / SECOND,
        }


def hottest() -> float | None:
    """degC of the hottest sensor; None where there is none."""
    if not hasattr(psutil, "sensors_temperatures"):
        return None
    readings = (reading for sensor in psutil.sensors_temperatures().values() for reading in sensor)
    return max((float(reading.current) for reading in readings), default=None)

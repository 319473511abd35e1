"""Plays the stack's machines into the ingestor flow: the last minutes first, then live; the older past behind it.

How far a machine's past is written is kept beside the log, so that a second start goes on where the first ended.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import redis_log
from ..errors import ServiceError
from ..flows.ingestor import IngestorSinks, ingestor
from ..flows.validate import validator
from ..model import SECOND
from ..parsing.logic import ManifestLogic
from ..runtime import Stop, run_flow
from ..settings import Settings
from ..sinks.live import LiveSink
from ..sinks.log import LogSink
from ..sources.log_file import Player
from ..sources.machine import Bus, MachineSource, now
from ..topics import RAW
from .simulation import SimulatedMachine

log = logging.getLogger(__name__)

RECENT = 600 * SECOND  # written before the page opens
PIECE = 600 * SECOND  # of the older past at a time, and only while the processor keeps up: live data comes first
FEW = 100  # messages it may be behind
REMEMBER_S = 5.0


@dataclass(slots=True)
class Coverage:
    """What of a machine's time is written: everything from ``start`` to ``end`` (microseconds)."""

    start: int
    end: int


@dataclass(slots=True)
class Feeds:
    """All machines of this process; each goes through its own flow into the same log."""

    settings: Settings
    logic: ManifestLogic
    stop: Stop
    history_s: int = 600
    covered: dict[str, Coverage] = field(default_factory=dict)
    with_past: set[str] = field(default_factory=set)  # a log played again has none

    def facts(self) -> dict[str, Any]:
        """For the pulse: how far behind the clock the slowest machine is, and how much of its past is written."""
        behind = max((now() - c.end for c in self.covered.values()), default=0) / SECOND
        spans = [(c.end - c.start) / SECOND for name, c in self.covered.items() if name in self.with_past]
        past = min(spans, default=self.history_s)
        return {"behind_s": round(behind, 1), "past_s": round(past), "history_s": self.history_s}

    async def run(
        self, machines: Sequence[str], replays: Sequence[tuple[str, Path]], *, speed: float, once: bool
    ) -> None:
        """Until the stop: a process whose logs have all ended stays, with nothing to do."""
        remember = asyncio.create_task(self._remember())
        simulated = [self._simulate(name) for name in machines]
        played = [self._replay(name, path, speed, once) for name, path in replays]
        try:
            await asyncio.gather(*simulated, *played)
            await self.stop.wait()
        finally:
            remember.cancel()

    async def _replay(self, name: str, path: Path, speed: float, once: bool) -> None:
        start = now() - min(self.history_s * SECOND, 120 * SECOND)
        player = Player(path, start, speed=speed, once=once)
        self.covered[name] = Coverage(start, start)
        await self._play(name, player, start, on_progress=self._reached(name))

    async def _simulate(self, name: str) -> None:
        machine = SimulatedMachine(name)
        self.with_past.add(name)
        oldest = now() - self.history_s * SECOND
        known = await self._recall(name)
        recent = max(now() - RECENT, oldest)
        start = max(known.end, recent) if known else recent
        self.covered[name] = Coverage(known.start if known and known.end >= recent else start, start)
        await asyncio.gather(
            self._play(name, machine, start, on_progress=self._reached(name)),
            self._fill(name, machine, oldest),
        )

    async def _fill(self, name: str, machine: Bus, oldest: int) -> None:
        """The older past, piece by piece backwards, once the machine is live."""
        coverage = self.covered[name]
        while not self.stop and coverage.start > oldest:
            if now() - coverage.end > 5 * SECOND or await self._is_busy():
                await self.stop.sleep(0.2)
                continue
            start = max(coverage.start - PIECE, oldest)
            await self._play(name, machine, start, coverage.start)
            if not self.stop:
                coverage.start = start

    async def _is_busy(self) -> bool:
        try:
            return await redis_log.lag(self.settings.log_url, RAW.name, "processor") > FEW
        except ServiceError:
            return True

    async def _play(
        self,
        name: str,
        bus: Bus,
        start: int,
        end: int | None = None,
        on_progress: Callable[[int], None] = lambda ts: None,
    ) -> None:
        settings = self.settings
        source = MachineSource(bus, settings.tenant, name, start, end, on_progress=on_progress)
        to = IngestorSinks(LogSink(settings.log_url, RAW, settings.log_memory), LiveSink(settings.live_url))
        validate = validator(settings.max_age_days)
        await run_flow(
            source, lambda records: ingestor(records, validate, self.logic, to), (to.raw_log, to.live), self.stop
        )

    def _reached(self, name: str) -> Callable[[int], None]:
        def reached(ts: int) -> None:
            self.covered[name].end = ts

        return reached

    async def _recall(self, name: str) -> Coverage | None:
        client = redis_log.connect(self.settings.log_url)
        try:
            stored = await client.hgetall(f"feed:{name}")
        finally:
            await client.aclose()
        return Coverage(int(stored[b"start"]), int(stored[b"end"])) if stored else None

    async def _remember(self) -> None:
        client = redis_log.connect(self.settings.log_url)
        while True:
            await asyncio.sleep(REMEMBER_S)
            for name, span in self.covered.items():
                try:
                    await client.hset(f"feed:{name}", mapping={"start": span.start, "end": span.end})
                except Exception as error:  # the flow says that the log is away; this only remembers
                    log.debug("not remembered: %s", error)

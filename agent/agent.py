"""One agent, put together: reads the buses, packs, queues, sends, obeys. Many of them may run in one process.

Each round reads every bus and adds the frames to the open batch; what is sealed goes into the queue in one transaction.
Everything else (collectors, uplink, twin) runs beside it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from duco_workbench import wire
from duco_workbench.model import SECOND, FrameBatch

from . import parts
from .batch import Batch
from .clock import AgentClock, Found, boot_id, since_boot
from .collecting import Beside, Buses, end
from .config import Config, without_secrets
from .drafts import Collector, Draft, FrameSource, FrameWatcher
from .keeper import RETRY_S, Keeper
from .key import Key
from .queue import Queue, Stamp
from .realtime import Realtime
from .remarks import Remarks
from .room import Limits
from .storage import QueueError
from .trouble import LinkLost
from .twin import Properties, Twin
from .uplink import Uplink

ROUND_S = 0.05  # between two looks at the buses
DRAIN_S = 5.0  # to send what is left, at the end


class Agent:
    """One machine's agent.

    Args:
        config: what it is and where its hub is.
        sources, collectors, watchers: instead of what the configuration asks for.
        key: instead of the configured one.
        clock: instead of the system's.
        threads: for the queue's SQLite; agents of one process may share it.

    Raises (``run``): ConfigError for what a person must mend; what ended a part that must never end, once all that was
    collected is stored: whoever started the agent starts it again.
    """

    def __init__(
        self,
        config: Config,
        sources: Sequence[FrameSource] | None = None,
        collectors: Sequence[Collector] | None = None,
        watchers: Sequence[FrameWatcher] | None = None,
        *,
        key: Key | None = None,
        clock: AgentClock | None = None,
        threads: Executor | None = None,
    ) -> None:
        self.config = config
        self.log = logging.getLogger("agent.machine." + config.machine.chassis_id.replace(".", "_"))
        self.clock = clock or AgentClock()
        self._threads = threads or ThreadPoolExecutor(1, "queue")
        self._owns_threads = threads is None
        limits = Limits(config.queue.max_bytes, config.queue.max_batches, config.queue.max_age_days)
        queue = Queue(Path(config.queue.path), config.machine.chassis_id, boot_id(), limits)
        self.keeper = Keeper(queue, self._threads, self.clock, self.log)
        self.realtime = Realtime(since_boot, self.clock.now)
        self.uplink = Uplink(config, self.keeper, self.clock, self.realtime.invoke, self.log)
        self._batch = Batch(config.machine.chassis_id, config.upload.seal_s, config.upload.realtime_seal_s)
        self._key, watching = (key, []) if key else parts.key(config)
        on_time = self.clock.heard if config.gnss.sets_clock else None
        self._watches_traffic = bool(watching)
        watchers = [*(parts.watchers(config, on_time) if watchers is None else watchers), *watching]
        sources = parts.sources(config) if sources is None else sources
        self.buses = Buses(sources, watchers, self._say, self._event, self.log)
        if collectors is None:
            collectors = parts.collectors(config, watchers, [self._figures], on_time, lambda: self._batch.is_full)
        self._collectors = Beside(collectors, self._say, self.log)
        self._twin = Twin(self.uplink, self._state, self._constant())
        self._phase = "collecting"

    @property
    def is_streaming(self) -> bool:
        """Whether somebody looks: envelopes are sealed each second, in realtime mode."""
        return self._batch.realtime

    async def run(self, stop: asyncio.Event) -> None:
        """Until ``stop``; then what was collected is stored, and sent for a few seconds more."""
        remarks = Remarks(self._say)
        self.log.addHandler(remarks)
        key = Beside([self._key], self._say, self.log)
        upward: list[asyncio.Task[None]] = []
        try:
            await self._open_queue(stop)
            key.start()
            upward = [asyncio.create_task(self.uplink.run()), asyncio.create_task(self._twin.run())]
            while not stop.is_set() and not any(task.done() for task in upward):
                await self._round()
                await _wait(stop, ROUND_S)
            await self._rest("stopped")
            _must_run(upward)
            await self._drain()
        finally:
            self.log.removeHandler(remarks)
            await key.stop()
            await self._collectors.stop()
            await end(upward)
            await self.keeper.close()
            if self._owns_threads:
                self._threads.shutdown(wait=False)

    async def _open_queue(self, stop: asyncio.Event) -> None:
        """A disk that does not answer is asked again. Raises: ConfigError."""
        while not stop.is_set():
            try:
                await self.keeper.open()
            except QueueError as error:
                self.log.error("%s; it is tried again", error)
                await _wait(stop, RETRY_S)
                continue
            self.clock.not_before(self.keeper.counts.newest)
            await self.keeper.settle()
            return

    # --- a round: what came, what is due

    async def _round(self) -> None:
        await self._check_clock()
        if self._key.is_on:
            self._phase = "collecting"
            self._collectors.start()
        elif self._phase == "collecting":
            await self._rest("standing by")
        if self._key.is_on or self._watches_traffic:
            self.buses.open()
            self._add(self.buses.read())
        drafts, realtime = self._batch.ready(self.clock.now()), self._batch.realtime
        if self.realtime.is_on != realtime:
            drafts += self._batch.switch(not realtime, self.clock.now())  # whoever begins to look sees these, too
        await self._put(drafts, self.keeper.stamp(realtime or self._batch.realtime))

    async def _check_clock(self) -> None:
        """What was made by another time goes into the queue by itself, dated as it was."""
        before = self.keeper.stamp(self._batch.realtime)
        change = self.clock.check()
        if change is None:
            return
        await self._put(self._batch.finish(), before)
        if isinstance(change, Found):
            await self.keeper.settle()
            self._event("time_found", "info", {"source": change.source, "by_s": change.by / SECOND})
        else:
            self._event("clock_step", "warning", {"by_s": change.by / SECOND, "believed": change.believed})

    def _add(self, frames: FrameBatch) -> None:
        offset = self.clock.offset
        self._batch.add(replace(frames, ts=frames.ts + offset) if offset else frames, self.clock.now())

    def _say(self, draft: Draft) -> None:
        self._batch.say(draft._replace(ts=draft.ts + self.clock.offset))

    def _event(self, name: str, severity: str, data: dict[str, Any]) -> None:
        self._batch.say(Draft("vehicle_event", self.clock.now(), wire.EventBody(name, severity, data)))

    async def _put(self, drafts: list[Draft], stamp: Stamp) -> None:
        if drafts:
            await self.keeper.put(drafts, stamp)

    async def _rest(self, phase: str) -> None:
        """The key is off, or the agent stops: everything so far is stored, and nothing more is collected."""
        self._phase = phase
        await self._collectors.stop()
        if phase == "stopped" or not self._watches_traffic:
            self._add(self.buses.close())
        await self._put(self._batch.finish(), self.keeper.stamp(self._batch.realtime))

    async def _drain(self) -> None:
        """Send what waits, as long as a stop may take."""
        deadline = time.monotonic() + DRAIN_S
        while self.uplink.is_busy and time.monotonic() < deadline:
            await asyncio.sleep(ROUND_S)
        with contextlib.suppress(LinkLost, TimeoutError):
            await asyncio.wait_for(self._twin.look(at_once=True), DRAIN_S)

    # --- what is told of itself

    def _constant(self) -> Properties:
        try:
            ours = version("duco-workbench")
        except PackageNotFoundError:
            ours = "unknown"
        return {"agent": {"version": ours, "started": self.clock.now()}, "config": without_secrets(self.config)}

    async def _state(self) -> tuple[Properties, Properties]:
        """For the twin: what is of note, and what merely counts."""
        counts = self.keeper.counts
        note = {
            "agent": {"state": self._phase, "clock": self.clock.source},
            "buses": {source.name: source.state for source in self.buses.sources},
            "drops": {**counts.drops, **self.buses.dropped},
            "realtime": {"on": self.realtime.is_on},
            "trouble": self._trouble(),
        }
        queue = {
            "epoch": counts.epoch,
            "seq": counts.seq,
            "first": counts.first,
            "older": counts.older,
            "acknowledged": counts.acknowledged,
            "depth": counts.depth,
            "bytes": counts.size,
            "oldest": await self.keeper.oldest(),
        }
        clock = {"offset_ms": round(self.clock.offset_ms)}
        return note, {"queue": queue, "agent": clock, "realtime": {"until": self.realtime.until}}

    def _trouble(self) -> str | None:
        """The worst first."""
        clock = "" if self.clock.trusted else "the time is not known yet: messages wait until it is found"
        found = self.keeper.trouble or clock or self.uplink.trouble or self._key.trouble
        return str(found) if found else None

    def health(self) -> dict[str, Any]:
        """For /health, from any thread. A machine that is out of reach does its work: its queue keeps everything."""
        counts, trouble = self.keeper.counts, self._trouble()
        wrong = [trouble] if trouble and (self.keeper.trouble or not self.clock.trusted) else []
        return {
            "wrong": wrong,
            "notes": [trouble] if trouble and not wrong else [],
            "state": self._phase,
            "online": self.uplink.state == "online",
            "buses": {source.name: source.state for source in self.buses.sources},
            "queue": {"depth": counts.depth, "bytes": counts.size, "drops": dict(counts.drops)},
        }

    def _figures(self, span: int) -> dict[str, float | bool | str]:
        """For the performance message."""
        counts = self.keeper.counts
        return {
            "queue_messages": counts.depth,
            "queue_mb": round(counts.size / 1e6, 3),
            "online": self.uplink.state == "online",
            "reconnects": self.uplink.reconnects,
            "frames_dropped": sum(self.buses.dropped.values()),
        }


def _must_run(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Raises: RuntimeError that names what ended one of them."""
    for task in tasks:
        if task.done():
            cause = None if task.cancelled() else task.exception()
            raise RuntimeError("a part of the agent that must never end has ended") from cause


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)

"""Collect: every source is read, its frames are shown to the watchers; collectors run beside, and are kept running."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from duco_workbench.model import FrameBatch

from .drafts import OPENING, Collector, Draft, Emit, FrameSource, FrameWatcher

AGAIN_S = 5.0  # until a collector that failed is started anew

OnEvent = Callable[[str, str, dict[str, Any]], None]  # name, severity, data


class Buses:
    """All sources of one machine as one.

    Args:
        emit: takes the watchers' drafts.
        on_event: hears of a bus that went away or came back, and of frames that could not be kept.
    """

    def __init__(
        self,
        sources: Sequence[FrameSource],
        watchers: Sequence[FrameWatcher],
        emit: Emit,
        on_event: OnEvent,
        log: logging.Logger,
    ) -> None:
        self.sources, self._watchers = sources, watchers
        self._emit, self._on_event, self._log = emit, on_event, log
        self._states: dict[str, str] = {}
        self._dropped: dict[str, int] = {}
        self._faults: dict[str, str] = {}
        self.are_open = False
        self.frames = 0

    @property
    def dropped(self) -> dict[str, int]:
        """Frames each bus could not keep, since the start."""
        return {source.name: source.dropped for source in self.sources if source.dropped}

    def open(self) -> None:
        if not self.are_open:
            self.are_open = True
            for source in self.sources:
                source.open()

    def close(self) -> FrameBatch:
        """What was still to be read."""
        frames = self.read()
        self.are_open = False
        for source in self.sources:
            source.close()
        return frames

    def read(self) -> FrameBatch:
        """What has come on all buses since the last call, in order of the system clock."""
        if not self.are_open:
            return FrameBatch.empty()
        frames = FrameBatch.concat([source.read() for source in self.sources]).sorted()
        for source in self.sources:
            self._look_at(source)
        if len(frames):
            self.frames += len(frames)
            for watcher in self._watchers:
                self._show(watcher, frames)
        return frames

    def _show(self, watcher: FrameWatcher, frames: FrameBatch) -> None:
        """A watcher that fails costs its own messages, never frames."""
        name = type(watcher).__name__
        try:
            drafts = watcher.on_frames(frames)
        except Exception as error:
            if self._faults.get(name) != str(error):
                self._faults[name] = str(error)
                self._log.exception("%s failed: %r", name, error)
            return
        for draft in drafts:
            self._emit(draft)

    def _look_at(self, source: FrameSource) -> None:
        state, before = source.state, self._states.get(source.name, "up")
        if state not in (before, OPENING):
            self._states[source.name] = state
            name = "bus_up" if state == "up" else "bus_over" if source.ended else "bus_down"
            severity = "warning" if name == "bus_down" else "info"
            self._on_event(name, severity, {"bus": source.name, "state": state})
        lost = source.dropped - self._dropped.get(source.name, 0)
        if lost:
            self._dropped[source.name] = source.dropped
            self._on_event("drop", "error", {"bus": source.name, "count": lost, "reason": "overrun"})


class Beside:
    """Collectors that run until told to rest, each on its own."""

    def __init__(self, collectors: Sequence[Collector], emit: Callable[[Draft], None], log: logging.Logger) -> None:
        self._collectors, self._emit, self._log = collectors, emit, log
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._keep(collector)) for collector in self._collectors]

    async def stop(self) -> None:
        tasks, self._tasks = self._tasks, []
        await end(tasks)

    async def _keep(self, collector: Collector) -> None:
        """One that has nothing more to say returns; one that fails is started again."""
        while True:
            try:
                return await collector.run(self._emit)
            except Exception as error:
                self._log.exception("%s failed: %r; it is started again", type(collector).__name__, error)
                await asyncio.sleep(AGAIN_S)


async def end(tasks: Sequence[asyncio.Task[None]], seconds: float = 10.0) -> None:
    """Cancel them, and give them so long to close what they hold."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=seconds)

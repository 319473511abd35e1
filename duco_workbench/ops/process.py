"""One process as an operator sees it: is it well and does its work, and what are its figures."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import chain
from typing import Any, Protocol

import msgspec
import psutil
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from .. import __version__
from ..errors import ConfigError
from . import logs
from .door import NOTHING, Answer, Door
from .watch import Watch

BEAT_S = 1.0
HANGS_S = 15.0  # a loop that has not turned for so long hangs

Check = Callable[[], str | None]  # a sentence about what is wrong, or nothing


class OpsSettings(Protocol):
    @property
    def ops(self) -> str: ...
    @property
    def log_format(self) -> str: ...
    @property
    def log_level(self) -> str: ...


def addresses(ops: str) -> dict[str, str]:
    """``name=host:port`` of each process, from the setting. Raises: ConfigError."""
    pairs = [part.partition("=") for part in ops.replace(",", " ").split()]
    for name, _, address in pairs:
        if not name or not address.rpartition(":")[2].isdigit():
            raise ConfigError(f"DUCO_OPS: {name!r} has no address; write processor=127.0.0.1:9602 distributor=…")
    return {name: address for name, _, address in pairs}


class Process(Collector):
    """Set up where the process begins; what it does is added to it, then it is :meth:`serving`.

    Constructing it with ``settings`` sets the form of the log lines, too. Raises: ConfigError.
    """

    def __init__(self, name: str, settings: OpsSettings | None = None) -> None:
        self.name, self.url = name, ""
        self._address = addresses(settings.ops).get(name, "") if settings else ""
        self._watches: list[Watch] = []
        self._checks: list[Check] = []
        self._notes: list[Check] = []
        self._dropped: dict[str, Callable[[], int]] = {}
        self._figures: dict[str, tuple[str, Callable[[], float]]] = {}
        self._turned: float | None = None  # when its loop last did, None without one
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.registry.register(self)
        if settings:
            logs.set_up(name, settings.log_format, settings.log_level)

    # --- what it does

    def watch(self, hop: str, **options: Any) -> Watch:
        watch = Watch(hop, **options)
        self._watches.append(watch)
        return watch

    def check(self, check: Check) -> None:
        """What makes it unwell."""
        self._checks.append(check)

    def note(self, check: Check) -> None:
        """What is worth a word, but keeps it from nothing that matters."""
        self._notes.append(check)

    def dropped(self, what: str, count: Callable[[], int]) -> None:
        self._dropped[what] = count

    def figure(self, name: str, said: str, value: Callable[[], float]) -> None:
        """A metric ``duco_{name}``: a counter where the name ends in ``_total``, else a gauge."""
        self._figures[name] = said, value

    # --- what it says

    @contextmanager
    def open_door(self) -> Iterator[None]:
        """Serve, for a process whose loop is not ours."""
        door = Door(self._address, self.answer) if self._address else None
        self.url = door.open() if door else ""
        try:
            yield
        finally:
            if door:
                door.close()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Inside, /health and /metrics are served at its address, if it has one, and its loop is watched."""
        tasks = [asyncio.create_task(self._beat()), *(asyncio.create_task(w.follow_lag()) for w in self._watches)]
        try:
            with self.open_door():
                yield
        finally:
            for task in tasks:
                task.cancel()

    async def _beat(self) -> None:
        while True:
            self._turned = time.monotonic()
            await asyncio.sleep(BEAT_S)

    def answer(self, path: str) -> Answer:
        if path == "/health":
            status, found = self.health()
            return Answer(status, "application/json", msgspec.json.encode(found))
        if path == "/metrics":
            return Answer(200, CONTENT_TYPE_LATEST, generate_latest(self.registry))
        return NOTHING

    def health(self) -> tuple[int, dict[str, Any]]:
        """200 or 503, and for a person: ``status`` ("ok" or "failing"), ``wrong`` and ``notes`` (sentences), ``flows``
        (see :meth:`Watch.facts`), ``figures``, ``dropped``, ``rss_mb``."""
        wrong = list(self._wrong())
        unwell = chain.from_iterable(watch.wrong() for watch in self._watches if not watch.vital)
        return 503 if wrong else 200, {
            "status": "failing" if wrong else "ok",
            "process": self.name,
            "pid": os.getpid(),
            "version": __version__,
            "wrong": wrong,
            "notes": [*unwell, *_said(self._notes)],
            "flows": {watch.figures.hop: watch.facts() for watch in self._watches},
            "figures": {name: value() for name, (_, value) in self._figures.items()},
            "dropped": {what: count() for what, count in self._dropped.items()},
            "rss_mb": round(psutil.Process().memory_info().rss / 1e6),
        }

    def _wrong(self) -> Iterator[str]:
        silent = time.monotonic() - self._turned if self._turned is not None else 0
        if silent > HANGS_S:
            yield f"its loop hangs: it has not turned for {silent:.0f} s"
        yield from _said(self._checks)
        yield from chain.from_iterable(watch.wrong() for watch in self._watches if watch.vital)

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily("duco_build", "What runs here.", {"version": __version__, "process": self.name})
        healthy = not list(self._wrong())
        yield GaugeMetricFamily("duco_healthy", "1 when /health says 200.", float(healthy))
        yield from self._of_watches()
        dropped = CounterMetricFamily("duco_dropped", "Messages given up, by what was to have them.", labels=["what"])
        for what, count in self._dropped.items():
            dropped.add_metric([what], count())
        yield dropped
        for name, (said, value) in self._figures.items():
            family = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
            yield family(f"duco_{name}", said, value())

    def _of_watches(self) -> Iterator[Metric]:
        """One family of each name, with the samples of all flows."""
        families: dict[str, Metric] = {}
        for family in chain.from_iterable(watch.figures.collect() for watch in self._watches):
            known = families.setdefault(family.name, family)
            if known is not family:
                known.samples += family.samples
        yield from families.values()
        oldest = GaugeMetricFamily("duco_oldest_seconds", "Age of the oldest message in hand, 0: none.", labels=["hop"])
        lag = GaugeMetricFamily("duco_lag_messages", "Messages the group has not committed.", labels=["group"])
        for watch in self._watches:
            oldest.add_metric([watch.figures.hop], watch.oldest_s())
            if watch.lag is not None:
                lag.add_metric([watch.figures.hop], watch.lag)
        yield from (oldest, lag)


def _said(checks: list[Check]) -> Iterator[str]:
    return filter(None, (check() for check in checks))

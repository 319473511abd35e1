"""What the page knows of the catalog: one poller per process, so that a hundred pages ask the meta API once.

Answers come from memory: a meta API that is away leaves the last one standing.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Protocol, TypeVar

from ..errors import DucoError
from ..live import LiveReader, Machine, shared_reader
from .layout import Arrangement, Group

T = TypeVar("T")
log = logging.getLogger(__name__)

EVERY_S = 4.0  # a change in the catalog shows within ten seconds
FORGET_AFTER = 30  # polls in which nobody asked for a machine


class Catalog(Protocol):
    """What the page asks of the catalog. Raises: DucoError when it is away."""

    def machines(self) -> Iterable[Machine]: ...

    def arrangement(self, machine: Machine, have: Arrangement) -> Arrangement:
        """``have`` itself when nothing changed since."""
        ...


class Directory:
    """Machines and arrangements, refreshed in the background from the first question on."""

    def __init__(self, catalog: Catalog, reader: LiveReader) -> None:
        self._catalog, self._reader = catalog, reader
        self._arrangements: dict[Machine, Arrangement] = {}
        self._idle: dict[Machine, int] = {}
        self._machines: tuple[Machine, ...] = ()
        self._sending: frozenset[Machine] = frozenset()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()
        self._said: set[str] = set()

    def machines(self) -> tuple[Machine, ...]:
        """Those of the catalog and those the live server knows, sorted, as of the last poll; never blocks."""
        return self._machines

    def first(self, tenant: str) -> Machine | None:
        """The machine to show when nobody chose one: one that sends, if any does."""
        found = [machine for machine in self._machines if machine.tenant == tenant]
        return min(found, key=lambda machine: (machine not in self._sending, machine), default=None)

    def arrangement(self, machine: Machine) -> Arrangement:
        """Of this machine; asks the catalog the first time (blocks), afterwards only the poller does."""
        with self._lock:
            self._idle[machine] = 0
            known = self._arrangements.get(machine)
        return known if known is not None else self._learn(machine)

    def start(self) -> None:
        """The first poll (blocks), then one every few seconds. Once per process; more calls do nothing."""
        with self._lock:
            if self._thread is not None:
                return
            self._thread = threading.Thread(target=self._run, name="catalog-poller", daemon=True)
        self._poll()
        self._thread.start()

    def close(self) -> None:
        self._closed.set()

    def _run(self) -> None:
        while not self._closed.wait(EVERY_S):
            self._poll()

    def _poll(self) -> None:
        sending = self._ask(self._reader.sending)
        answers = [self._ask(self._catalog.machines), self._ask(self._reader.remembered), sending]
        if all(answer is not None for answer in answers):
            self._said.clear()
        found = {machine for answer in answers for machine in answer or ()}
        self._machines = tuple(sorted(found)) or self._machines
        self._sending = frozenset(sending or ())
        for machine in self._watched():
            self._learn(machine)

    def _watched(self) -> list[Machine]:
        with self._lock:
            for machine in list(self._idle):
                self._idle[machine] += 1
                if self._idle[machine] > FORGET_AFTER:
                    del self._idle[machine]
                    self._arrangements.pop(machine, None)
            return list(self._idle)

    def _learn(self, machine: Machine) -> Arrangement:
        have = self._arrangements.get(machine, Arrangement())
        found = self._ask(lambda: self._catalog.arrangement(machine, have)) or have
        with self._lock:
            self._arrangements[machine] = found
        return found

    def _ask(self, question: Callable[[], T]) -> T | None:
        """None, and one line in the log an outage, when the service asked is away."""
        try:
            return question()
        except DucoError as error:
            if str(error) not in self._said:
                log.warning("%s", error)
            self._said.add(str(error))
            return None


class MetaCatalog:
    """The catalog behind the meta API, every tenant of it: a page picks its own."""

    def __init__(self, meta_url: str) -> None:
        from ..catalog.client import CatalogClient

        self._client = CatalogClient(meta_url)

    def machines(self) -> list[Machine]:
        return [Machine(d.tenant, d.chassis_id) for d in self._client.devices()]

    def arrangement(self, machine: Machine, have: Arrangement) -> Arrangement:
        revision = self._client.revision()
        if revision == have.revision:
            return have
        variables = tuple(self._client.variables(machine.tenant, machine.chassis_id))
        groups = self._client.chart_groups(machine.tenant, machine.chassis_id)
        return Arrangement(revision, variables, tuple(Group(g.name, tuple(g.variables)) for g in groups))


@lru_cache(maxsize=8)
def shared_directory(meta_url: str, live_url: str) -> Directory:
    """The one directory of this process for these addresses."""
    return Directory(MetaCatalog(meta_url), shared_reader(live_url))

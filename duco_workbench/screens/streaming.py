"""Machines stream while somebody looks: asked when the first page opens, again every minute, stopped after the last.

A machine stops by itself three minutes after it was last asked, so a page that dies leaves nothing streaming. Every
call is made by a thread of this module; a page only counts itself in and out and reads how it stands.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

from ..errors import DucoError
from ..live import Machine

log = logging.getLogger(__name__)

EVERY_S = 60.0
RETRY_S = 10.0  # after a refusal: a machine may be switched on while one looks
LINGER_S = 5.0  # a page that is loaded again does not stop the machine in between
STARTING_S = 15.0  # how long after it agreed a machine may take until something of it is here
CALLS = 8  # at a time: one to a machine that does not answer takes many seconds

Ask = Callable[[Machine, bool], None]  # raises DucoError


@dataclass(frozen=True, slots=True)
class State:
    """``word``: ``idle`` (nobody asked), ``starting``, ``on`` or ``refused``; ``why`` a sentence when refused."""

    word: str = "idle"
    why: str = ""


@dataclass(slots=True)
class _Watched:
    pages: int = 0
    left: float = 0.0  # when the last page closed
    due: float = 0.0  # when to ask for it (again)
    calling: bool = False
    streams: bool = False  # it agreed, and must be told to stop
    agreed: float | None = None
    why: str = ""


class Watches:
    """Who is watched, and what is due; no thread and no call. Times are seconds of any one clock."""

    def __init__(self) -> None:
        self._machines: dict[Machine, _Watched] = {}

    def add(self, machine: Machine) -> None:
        self._machines.setdefault(machine, _Watched()).pages += 1

    def remove(self, machine: Machine, now: float) -> None:
        watched = self._machines[machine]
        watched.pages, watched.left = watched.pages - 1, now

    def due(self, now: float) -> list[tuple[Machine, bool]]:
        """The calls to make now, True for start; each is under way until :meth:`answered`."""
        calls = []
        for machine, watched in list(self._machines.items()):
            if watched.calling:
                continue
            if watched.pages and now >= watched.due:
                calls.append((machine, True))
            elif not watched.pages and now >= watched.left + LINGER_S:
                if watched.streams:
                    calls.append((machine, False))
                else:
                    del self._machines[machine]
        for machine, _ in calls:
            self._machines[machine].calling = True
        return calls

    def answered(self, machine: Machine, on: bool, why: str, now: float) -> None:
        """``why`` it was refused, "" when it agreed. A stop is not tried again: the machine stops by itself."""
        watched = self._machines[machine]
        watched.calling = False
        if not on:
            watched.streams, watched.agreed, watched.due = False, None, now
        elif why:
            watched.due, watched.why, watched.agreed = now + RETRY_S, why, None
        else:
            watched.streams, watched.due, watched.why = True, now + EVERY_S, ""
            watched.agreed = now if watched.agreed is None else watched.agreed

    def state(self, machine: Machine, now: float) -> State:
        watched = self._machines.get(machine)
        if watched is None:
            return State()
        if watched.why:
            return State("refused", watched.why)
        fresh = watched.agreed is None or now < watched.agreed + STARTING_S
        return State("starting" if fresh else "on")


class Streaming:
    """:class:`Watches` with a clock, a thread and calls. Pages may use it from any thread; nothing here blocks."""

    def __init__(self, ask: Ask, clock: Callable[[], float] = time.monotonic) -> None:
        self._ask, self._clock = ask, clock
        self._watches = Watches()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closed = False
        self._thread: threading.Thread | None = None
        self._calls = ThreadPoolExecutor(CALLS, "streaming")

    def watch(self, machine: Machine) -> None:
        with self._lock:
            self._watches.add(machine)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="streaming", daemon=True)
                self._thread.start()
        self._wake.set()

    def unwatch(self, machine: Machine) -> None:
        with self._lock:
            self._watches.remove(machine, self._clock())

    def state(self, machine: Machine) -> State:
        with self._lock:
            return self._watches.state(machine, self._clock())

    def close(self) -> None:
        self._closed = True
        self._wake.set()
        self._calls.shutdown(wait=False, cancel_futures=True)

    def _run(self) -> None:
        while not self._closed:
            with self._lock:
                calls = self._watches.due(self._clock())
            for machine, on in calls:
                self._calls.submit(self._call, machine, on)
            self._wake.wait(1.0)
            self._wake.clear()

    def _call(self, machine: Machine, on: bool) -> None:
        why = ""
        try:
            self._ask(machine, on)
        except DucoError as error:
            log.info("%s", error)
            why = str(error).partition(": ")[0]
        except Exception:  # the machine must be asked again, whatever this was
            log.exception("asking %s to stream", machine.chassis_id)
            why = "asking it failed; the page's log says how"
        with self._lock:
            self._watches.answered(machine, on, why, self._clock())


@lru_cache(maxsize=8)
def shared_streaming(meta_url: str) -> Streaming:
    """The one of this process: a hundred pages of a machine are one viewer."""
    from ..catalog.client import CatalogClient

    client = CatalogClient(meta_url)

    def ask(machine: Machine, on: bool) -> None:
        client.set_realtime(machine.chassis_id, on=on, reason="user_action")

    return Streaming(ask)

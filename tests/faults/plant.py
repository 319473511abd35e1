"""The whole stack on free ports, with machines that stream each second: what the fault matrix does its harm to."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from faults.proxy import Proxy

from duco_workbench import testing
from duco_workbench.catalog.client import CatalogClient
from duco_workbench.errors import DucoError
from duco_workbench.iothub.service import HubService
from duco_workbench.local.fleet import Fleet
from duco_workbench.local.kafka import Broker
from duco_workbench.local.programs import Program
from duco_workbench.local.supervision import Supervisor
from duco_workbench.settings import Settings

PIPELINES = ("ingestor", "processor", "distributor")
BROKER = "kafka"  # runs beside the supervisor, and is started again here
LOGS = {"redis": ("log",), "kafka": (BROKER, "state")}  # what of a log may be killed; the first is the log itself
LOOK_S = 2.0  # between two commands to stream


@dataclass
class Plant:
    """A running stack. ``links``: the proxies in front of its servers, by the server's name.

    machines: whom somebody looks at, so that they send each second.
    broker: of a log on Kafka.
    sent: how many messages 1, 2, 3 … were sent past any agent, by the beginning of their ids.
    """

    settings: Settings
    machines: list[str]
    log: str
    links: dict[str, Proxy] = field(default_factory=dict)
    sent: dict[str, int] = field(default_factory=dict)
    broker: Broker | None = None

    @property
    def supervisor(self) -> Supervisor:
        return Supervisor(self.settings.data)

    @property
    def parts(self) -> tuple[str, ...]:
        """Everything a message passes, in order; ``machines`` is the process of the agents."""
        return ("machines", "hub", "ingestor", *LOGS[self.log], "processor", "distributor", "store")

    def pid(self, part: str) -> int:
        """0 while it does not run."""
        if part == BROKER and self.broker:
            return self.broker.pid
        return int(self.supervisor.states()[part]["pid"])

    def kill(self, part: str) -> int:
        """``kill -9``; the pid it had."""
        pid = self.pid(part)
        if part == BROKER and self.broker:
            self.broker.kill()
            threading.Thread(target=self.broker.start, daemon=True).start()
        elif pid:
            os.kill(pid, signal.SIGKILL)
        return pid

    def stop(self, part: str) -> int:
        """SIGTERM, and leave it stopped; its exit code."""
        if part == BROKER and self.broker:
            self.broker.stop()
            return self.broker.wait()
        if self.pid(part):
            self.supervisor.stop(part)
        return int(self.supervisor.states()[part]["exitstatus"])

    def start(self, part: str) -> None:
        if part == BROKER and self.broker:
            self.broker.start()
        else:
            self.supervisor.start([Program(part, [], lambda: True)])

    def hub_fault(self, fault: str, seconds: float, device: str = "*") -> None:
        """One of the hub's own; see :mod:`duco_workbench.local.hub.faults`."""
        with HubService(self.settings.hub, self.settings.hub_ca) as hub:
            hub.call("POST", "/duco/faults", {"fault": fault, "device": device, "seconds": seconds})

    @property
    def catalog(self) -> CatalogClient:
        return CatalogClient(self.settings.meta_url)


@contextmanager
def running(
    data: Path, machines: int = 3, log: str = "redis", links: Sequence[str] = (), say: Callable[[str], None] = print
) -> Iterator[Plant]:
    """Up and streaming. ``links``: servers (``log``, ``live``, ``store``) that are reached through a proxy."""
    with contextlib.ExitStack() as stack:
        proxies: dict[str, Proxy] = {}

        def proxied(name: str, url: str) -> str:
            if name in links and name not in proxies:
                proxies[name] = stack.enter_context(Proxy(url))
            return proxies[name].url if name in proxies else url

        def through(settings: Settings) -> Settings:
            urls = {f"{name}_url": proxied(name, getattr(settings, f"{name}_url")) for name in links}
            return settings.model_copy(update=urls)

        fleet = Fleet(machines=machines, history_s=0)
        broker = stack.enter_context(_broker(data / "kafka", proxied)) if log == "kafka" else None
        changes = {"log_url": broker.url, "state_url": f"redis://127.0.0.1:{testing.free_port()}/0"} if broker else {}
        settings = stack.enter_context(testing.running_stack(data, fleet, through=through, **changes))
        plant = Plant(settings, fleet.chassis_ids(), log, proxies, broker=broker)
        plant.supervisor.stop("page")  # nobody looks at it, and its memory and time are wanted
        stack.enter_context(_viewer(plant))
        say(f"{machines or 'no'} machines on {log}, data in {data}")
        yield plant


@contextmanager
def _broker(folder: Path, proxied: Callable[[str, str], str]) -> Iterator[Broker]:
    """Its clients come back to the address it tells them, so it tells them the proxy's."""
    port = testing.free_port()
    told = proxied("log", f"kafka://127.0.0.1:{port}").replace("kafka", "PLAINTEXT")
    broker = Broker(folder, port, testing.free_port(), {"advertised.listeners": told})
    try:
        broker.start()
        yield broker
    finally:
        broker.stop()


@contextmanager
def _viewer(plant: Plant) -> Iterator[None]:
    """Somebody looks at every machine: they stream, and after a restart they are told again."""
    end = threading.Event()

    def look() -> None:
        catalog = plant.catalog
        while not end.wait(LOOK_S):
            for machine in list(plant.machines):
                with contextlib.suppress(DucoError, httpx.HTTPError):  # offline just now
                    catalog.set_realtime(machine, True, "faults")

    thread = threading.Thread(target=look, name="viewer", daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join(40)


def wait_for(check: Callable[[], Any], seconds: float, every: float = 0.2) -> float | None:
    """Seconds until ``check`` says yes, None when it did not."""
    begun = time.monotonic()
    while time.monotonic() - begun < seconds:
        if check():
            return time.monotonic() - begun
        time.sleep(every)
    return None


def points(seed: int, count: int, seconds: float) -> list[float]:
    """``count`` moments in ``seconds``, one at random in each of as many equal parts; rising."""
    dice = random.Random(seed)
    return [(i + dice.random()) * seconds / count for i in range(count)]

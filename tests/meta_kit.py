"""The meta API for tests as it runs: a process of its own, told by the environment where everything is."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

LONG_S = 60.0  # only ends what hangs


@contextmanager
def running_meta(folder: Path, **settings: str) -> Iterator[str]:
    """Its address, for the block; ``settings`` are ``DUCO_`` variables: ``hub=…``, ``hub_ca=…``."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    settings = {"meta_url": url, "catalog_url": f"sqlite:///{folder}/catalog.db", **settings}
    environment = {**os.environ, **{f"DUCO_{name.upper()}": value for name, value in settings.items()}}
    process = subprocess.Popen([sys.executable, "-m", "duco_workbench.api"], env=environment)
    try:
        _wait_for(url, process)
        yield url
    finally:
        process.terminate()
        process.wait(LONG_S)


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + LONG_S
    while True:
        try:
            httpx.get(f"{url}/health", trust_env=False).raise_for_status()
            return
        except httpx.HTTPError:
            assert process.poll() is None, "the meta API ended"
            assert time.monotonic() < deadline, "the meta API does not answer"
            time.sleep(0.05)

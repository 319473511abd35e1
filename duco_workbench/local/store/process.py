"""The store as a process of its own, for tests, notebooks and whoever supervises nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ...errors import ServiceError

# Of the store's process, whose allocators are told by the environment: what an insert or a merge is done with goes back
# to the system soon. The engine has one allocator, Python another; both would keep it, a share for each thread. At once
# would cost an insert half as much time again.
MEMORY = {
    "JE_MALLOC_CONF": "dirty_decay_ms:200,muzzy_decay_ms:0",
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(128 << 10),
}


@dataclass(frozen=True, slots=True)
class StoreProcess:
    """A running store. ``url`` has the default database in its path, as ``settings.store_url`` does."""

    url: str
    port: int
    process: subprocess.Popen[str]

    def stop(self, seconds: float = 15.0) -> int:
        """Drain and close; the exit code."""
        self.process.terminate()
        return self.process.wait(seconds)


@contextmanager
def running(path: Path, port: int = 0, database: str = "duco") -> Iterator[StoreProcess]:
    """A store that keeps its data in ``path``, on a free port unless one is given; closed on exit.

    Raises: ServiceError when it does not come up.
    """
    command = [sys.executable, "-m", "duco_workbench.local.store", str(path), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **MEMORY}) as process:
        try:
            assert process.stdout
            address = process.stdout.readline().strip()
            _wait_for(address, process)
            yield StoreProcess(f"{address}/{database}", int(address.rpartition(":")[2]), process)
        finally:
            if process.poll() is None:
                process.terminate()


def _wait_for(address: str, process: subprocess.Popen[str]) -> None:
    for _ in range(200):
        if process.poll() is not None or not address:
            break
        try:
            urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{address}/ping", timeout=5).close()
            return
        except OSError:
            time.sleep(0.05)
    raise ServiceError(f"the store did not come up (exit code {process.poll()}); what it said stands above")

"""``python -m duco_workbench.local.store DIR --port N``: the embedded ClickHouse, until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import sys
from pathlib import Path

from tornado.netutil import bind_sockets

from ...errors import ConfigError
from ...ops import Process
from ...settings import Settings
from .engine import Engine
from .server import Door

DRAIN_S = 6.0  # then what still runs is cancelled; all is over within 10 s


async def serve(folder: Path, port: int) -> bool:
    """True when everything was finished and the engine closed. Raises: ConfigError."""
    try:
        sockets = bind_sockets(port, "127.0.0.1")
    except OSError as error:
        raise ConfigError(
            f"the store cannot listen on 127.0.0.1:{port}: {error.strerror}; choose another port"
        ) from None
    door = Door(Engine(folder))
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    door.bind(sockets)
    process = Process("store", Settings.load())
    process.check(door.engine.trouble)
    process.figure("store_statements", "Statements that run now.", lambda: door.running)
    process.figure("store_free_bytes", "Room on the disk.", lambda: shutil.disk_usage(folder).free)
    print(f"http://127.0.0.1:{sockets[0].getsockname()[1]}", flush=True)
    async with process.serving():
        await stopping.wait()
    if not await door.drain(DRAIN_S):
        return False
    door.engine.close()
    return True


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m duco_workbench.local.store", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the data is kept")
    parser.add_argument("--port", type=int, default=8123, help="on 127.0.0.1; 0 takes a free one and prints it")
    options = parser.parse_args()
    try:
        closed = asyncio.run(serve(options.folder.resolve(), options.port))
    except ConfigError as error:
        sys.exit(f"duco: {error}")
    if not closed:  # a statement that does not let itself be cancelled; what was acknowledged is on the disk
        os._exit(1)


if __name__ == "__main__":
    main()

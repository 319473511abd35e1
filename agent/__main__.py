"""The agent of one machine, until SIGTERM or SIGINT:   python -m agent agent.toml"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from pathlib import Path

from duco_workbench.errors import ConfigError

from .agent import Agent
from .config import load
from .health import serving


async def work(path: Path) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    agent = Agent(load(path))
    with serving(agent.config.health, agent.health):
        await agent.run(stop)


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("azure").setLevel(logging.ERROR)  # each lost link is a dozen lines; the uplink says it in one
    if len(sys.argv) != 2:
        sys.exit("usage: python -m agent agent.toml")
    try:
        asyncio.run(work(Path(sys.argv[1])))
    except ConfigError as error:
        sys.exit(f"agent: {error}")


if __name__ == "__main__":
    main()

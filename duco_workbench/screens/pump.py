"""Every open page's tick, from one task per process.

Panel's periodic callbacks take the document's lock and report the session busy and idle again, which costs more than
all we send. A tick only sends messages, so it needs no lock.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from panel.io.state import set_curdoc

log = logging.getLogger(__name__)

Tick = Callable[[], None]


class Pump:
    """Lives on the event loop of the server; started with the first page and idle without one."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ticks: dict[Any, Tick] = {}
        self._task: asyncio.Task[None] | None = None

    def add(self, document: Any, tick: Tick) -> None:
        """Call ``tick`` every ``seconds``, with ``document`` as Panel's current one, until :meth:`remove`."""
        self._ticks[document] = tick
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    def remove(self, document: Any) -> None:
        self._ticks.pop(document, None)

    async def _run(self) -> None:
        while self._ticks:
            for document, tick in list(self._ticks.items()):
                with set_curdoc(document):
                    self._call(tick)
                await asyncio.sleep(0)  # pages that load are served between two ticks
            await asyncio.sleep(self._seconds)

    @staticmethod
    def _call(tick: Tick) -> None:
        try:
            tick()
        except Exception:  # one broken page must not stop the others
            log.exception("a live page could not be updated")

"""A TCP proxy that stands in a link between two parts and makes it fail on demand: cut, half-open, black hole, slow.

It runs in a thread of the test; ``set`` returns when the new mode holds for every connection, open ones included.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from duco_workbench.testing import PATIENCE_S

CHUNK = 64 << 10
WAITING = 16  # chunks of one direction that are under way; then the sender's own buffers fill, as on a real link
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER of no seconds: closing sends RST


@dataclass(frozen=True, slots=True)
class Mode:
    """What a link does.

    name: ``pass``; ``cut``: every connection gets RST, new ones too; ``half_open``: connections are taken and never
        answered, what they send is lost, and RST ends them with the mode, as a peer does that has forgotten them;
        ``black_hole``: nothing passes either way until the mode ends, then everything does, in order.
    latency: seconds each answer is late. rate: bytes a second in each direction, 0 for no bound.
    """

    name: str = "pass"
    latency: float = 0.0
    rate: int = 0


PASS, CUT, HALF_OPEN, BLACK_HOLE = Mode(), Mode("cut"), Mode("half_open"), Mode("black_hole")


def slow(latency: float = 0.0, rate: int = 0) -> Mode:
    return Mode("slow", latency, rate)


class Proxy:
    """Listens on ``port`` of loopback for the server of ``url``; used with ``with``."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname
        assert parts.port
        self._url, self._to = parts, (parts.hostname, parts.port)
        self._mode, self._changed = PASS, asyncio.Event()
        self._open: dict[asyncio.StreamWriter, Mode] = {}  # both ends of every connection, and the mode it began in
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self.port = self.taken = 0  # where it listens; connections it took so far

    @property
    def url(self) -> str:
        """The server's, by way of the proxy."""
        return self._url._replace(netloc=f"127.0.0.1:{self.port}").geturl()

    def __enter__(self) -> Proxy:
        self._thread.start()
        self._server = self._do(asyncio.start_server(self._connection, "127.0.0.1", 0, limit=CHUNK))
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *exc: object) -> None:
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def set(self, mode: Mode) -> None:
        self._do(self._set(mode))

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_S)

    # --- on the loop

    async def _end(self) -> None:
        self._server.close()
        self._reset_all()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _set(self, mode: Mode) -> None:
        before, self._mode = self._mode, mode
        if "cut" in (mode.name, before.name) or before.name == "half_open":
            self._reset_all()
        self._changed.set()
        self._changed = asyncio.Event()

    def _reset_all(self) -> None:
        for writer in list(self._open):
            _reset(writer)
        self._open.clear()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.taken += 1
        if self._mode.name == "cut":
            return _reset(writer)
        self._open[writer] = self._mode
        ends = [writer]
        try:
            while self._mode.name in ("half_open", "black_hole") and not writer.is_closing():
                await self._changed.wait()
            if writer.is_closing():
                return None
            back, forth = await asyncio.open_connection(*self._to, limit=CHUNK)
            ends.append(forth)
            self._open[forth] = self._mode
            await self._both_ways(self._pump(reader, forth, False), self._pump(back, writer, True))
        except OSError:
            pass  # the server is away: its client sees the connection end
        finally:
            for end in ends:
                self._open.pop(end, None)
                _reset(end)
        return None

    async def _both_ways(self, *pumps: Coroutine[Any, Any, None]) -> None:
        """Until one direction ends; what is on its way in the other has been written by then."""
        tasks = [asyncio.create_task(pump) for pump in pumps]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, is_answer: bool) -> None:
        """Chunks keep their order and each is as late as the mode said when it came."""
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(WAITING)
        task = asyncio.create_task(self._deliver(under_way, writer))
        try:
            while data := await reader.read(CHUNK):
                await under_way.put((time.monotonic() + (self._mode.latency if is_answer else 0), data))
            await under_way.put((0.0, b""))
            await task
        finally:
            task.cancel()

    async def _deliver(self, under_way: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        while True:
            due, data = await under_way.get()
            while self._mode.name == "black_hole":
                await self._changed.wait()
            if not data:
                return
            await asyncio.sleep(max(0.0, due - time.monotonic()) + len(data) / (self._mode.rate or float("inf")))
            if self._mode.name != "half_open":
                writer.write(data)
                await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, AttributeError):
        if not writer.is_closing():
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()

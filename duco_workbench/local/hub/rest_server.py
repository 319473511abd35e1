"""uvicorn as a part of our process: on a socket we bound, in our loop, with our signals."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator

import uvicorn
from fastapi import FastAPI

DRAIN_S = 3  # for requests that run, e.g. a method that waits for its device


class RestServer(uvicorn.Server):
    """Listening from :meth:`start` to :meth:`close`."""

    def __init__(self, app: FastAPI, listener: socket.socket, context: ssl.SSLContext) -> None:
        config = uvicorn.Config(
            app,
            log_config=None,
            log_level="warning",
            access_log=False,
            lifespan="off",
            ssl_context_factory=lambda config, default: context,
            timeout_graceful_shutdown=DRAIN_S,
        )
        super().__init__(config)
        self._listener = listener

    async def start(self) -> None:
        self._running = asyncio.create_task(self.serve(sockets=[self._listener]))
        while not self.started and not self._running.done():
            await asyncio.sleep(0.01)

    async def close(self) -> None:
        """No new request; those that run may finish for a while."""
        self.should_exit = True
        while not self._running.done():
            await asyncio.sleep(0.02)
            self._cut_idle()
        await self._running

    def _cut_idle(self) -> None:
        """A client that keeps a connection for later does not answer the end of TLS: do not wait for it."""
        for connection in list(self.server_state.connections):
            transport = getattr(connection, "transport", None)
            if transport and transport.is_closing():
                with contextlib.suppress(AttributeError):  # asyncio's, of a TLS connection that is gone already
                    if not transport.get_write_buffer_size():
                        transport.abort()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """They are the main program's."""
        yield

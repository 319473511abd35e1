"""Listens, and keeps account of the connections."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable

from ..journal import Journal
from .connection import Connection
from .nodes import Endpoint

CLOSE_S = 1.0  # for a peer to take what was written and to end TLS


class Server:
    """The listening endpoint, until :meth:`close`."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def listen(self, address: str, port: int, context: ssl.SSLContext) -> None:
        self._server = await asyncio.start_server(self._serve, address, port, ssl=context)

    @property
    def connections(self) -> int:
        return len(self._connections)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A task of our own: asyncio keeps but a weak reference to this one, and logs its cancellation as an error.
        task = asyncio.create_task(self._run(Connection(self._endpoint, reader, writer), writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        task.add_done_callback(lambda _: writer.transport.abort())  # whatever the end was; after a good one, nothing

    async def _run(self, connection: Connection, writer: asyncio.StreamWriter) -> None:
        await connection.run()
        with contextlib.suppress(OSError):
            async with asyncio.timeout(CLOSE_S):
                await writer.wait_closed()

    async def close(self) -> None:
        """Stop listening; every peer is told that the hub closes, and may come back. Returns when all are gone."""
        if self._server is not None:
            self._server.close()
        for task in self._connections:
            task.cancel()
        if self._connections:
            await asyncio.wait(self._connections)


async def serve(
    journal: Journal,
    address: str,
    port: int,
    context: ssl.SSLContext,
    check: Callable[[str, str], str | None],
    name: str,
) -> Server:
    """The hub's Event Hubs-compatible endpoint, listening.

    Args:
        context: TLS of the server.
        check: (token, resource) -> None when the token is good for the resource, e.g.
            ``sb://127.0.0.1/duco-hub/consumergroups/$Default``, or why it is not.
        name: of the event hub: the ``EntityPath`` of the connection string.
    Raises: OSError when the address is taken.
    """
    server = Server(Endpoint(journal, name, check))
    await server.listen(address, port, context)
    return server

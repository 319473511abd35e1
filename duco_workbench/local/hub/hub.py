"""The local IoT Hub, put together: the box of the drawing, in one object."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Mapping
from typing import Any, Self

from ...errors import ConfigError
from ...iothub.sas import check_token
from . import amqp
from .devices import Devices
from .enrichment import DEFAULT
from .faults import Faults
from .identity import AMQP_PORT, EVENTS_POLICY, HUB_NAME, MQTT_PORT, Identity
from .journal import Journal
from .registry import Registry
from .rest import create_app
from .rest_request import Services
from .rest_server import RestServer
from .uplink import Uplink

log = logging.getLogger(__name__)

HANDSHAKE_S = 20.0


class Hub:
    """``async with Hub(identity) as hub:`` listens on the identity's address until the end of the block.

    Args:
        identity: of :func:`~.identity.prepare`; its folder keeps everything.
        enrichments: what is stamped on every message.
        limits: the journal's ``max_age_s`` and ``max_bytes``.

    Attributes:
        registry, devices, journal, faults: to look at, and to switch in tests.
    """

    def __init__(
        self,
        identity: Identity,
        mqtt_port: int = MQTT_PORT,
        amqp_port: int = AMQP_PORT,
        enrichments: Mapping[str, str] = DEFAULT,
        **limits: Any,
    ) -> None:
        self.identity = identity
        self.registry, self.journal, self.faults = (
            Registry(identity.folder),
            Journal(identity.folder, **limits),
            Faults(),
        )
        self.devices = Devices(
            self.registry, self.faults, Uplink(self.registry, self.journal, self.faults, enrichments)
        )
        self._mqtt_port, self._amqp_port = mqtt_port, amqp_port
        self._closing = contextlib.AsyncExitStack()

    async def start(self) -> None:
        """Raises: ConfigError when a port or the folder cannot be used; then nothing is left open."""
        async with self._closing:
            for part in (self.registry, self.journal):  # a second hub on this folder stops here
                await part.open()
                self._closing.push_async_callback(part.close)
            await self._serve_events()
            await self._serve_rest()
            await self._serve_devices()
            self._closing = self._closing.pop_all()

    async def close(self) -> None:
        """No new connection; what was taken is durable and acknowledged; then everything closes."""
        await self._closing.aclose()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _serve_devices(self) -> None:
        listener = self._listener(self._mqtt_port, "devices (MQTT)")
        server = await asyncio.start_server(
            self.devices.serve, sock=listener, ssl=self.identity.tls(), ssl_handshake_timeout=HANDSHAKE_S
        )
        self._closing.push_async_callback(self.devices.close)
        self._closing.callback(server.close)

    async def _serve_rest(self) -> None:
        listener = self._listener(self.identity.rest_port, "services (REST)")
        app = create_app(Services(self.identity, self.registry, self.devices, self.journal, self.faults))
        server = RestServer(app, listener, self.identity.tls())
        await server.start()
        self._closing.push_async_callback(server.close)

    async def _serve_events(self) -> None:
        address, port = self.identity.address, self._amqp_port
        try:
            server = await amqp.serve(self.journal, address, port, self.identity.tls(), self._check_events, HUB_NAME)
        except OSError as error:
            raise _cannot_listen("readers (AMQP)", address, port, error) from None
        self._closing.push_async_callback(server.close)

    def _check_events(self, token: str, resource: str) -> str | None:
        """Event Hubs signs with the text of the key, and names its resources by URL."""
        return check_token(token, resource, self.identity.key.encode(), EVENTS_POLICY)

    def _listener(self, port: int, who: str) -> socket.socket:
        try:
            return socket.create_server((self.identity.address, port), backlog=512)
        except OSError as error:
            raise _cannot_listen(who, self.identity.address, port, error) from None


def _cannot_listen(who: str, address: str, port: int, error: OSError) -> ConfigError:
    why = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)  # negative: a name of no address
    return ConfigError(f"the hub cannot listen for {who} on {address}:{port}: {why}; choose another address or port")

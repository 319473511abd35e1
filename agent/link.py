"""One connection to the hub through azure-iot-device: opened, used, and really gone afterwards.

The client retries nothing by itself: it would not say what it does, and it keeps no order. A connection that fails in
any way is ended, and the next one is another :class:`Link`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from azure.iot.device import Message, MethodRequest, MethodResponse
from azure.iot.device.aio import IoTHubDeviceClient

from . import paho
from .config import Hub, connection_parts, read_ca
from .queue import Waiting
from .trouble import LinkLost, diagnose

CONNECT_S = 40.0  # TCP, TLS and the hub's answer; the client itself gives up earlier in most cases
CLOSE_S = 60.0  # a client with data that nobody takes waits for its keep-alive to end
LIFE_S = 3300.0  # its token lasts an hour; a new connection is cheaper than a token renewed under messages in flight
REPORT_S = 20.0

paho.mend()

OnMethod = Callable[[str, Any], tuple[int, dict[str, Any]]]


class Link:
    """``connect``, then ``send`` and ``report``, then ``close``; :attr:`lost` says that it is over before.

    Args:
        on_method: a direct method's name and payload to status and answer; called on the event loop.
        clock_source: for the diagnosis.
    """

    def __init__(self, hub: Hub, on_method: OnMethod, clock_source: str, log: logging.Logger) -> None:
        parts = connection_parts(hub.connection_string)
        self.host, self.device = parts.get("GatewayHostName") or parts["HostName"], parts["DeviceId"]
        self._hub, self._on_method, self._log = hub, on_method, log
        self._clock_source = clock_source
        self._client: IoTHubDeviceClient | None = None
        self._loop = asyncio.get_running_loop()
        self.lost = asyncio.Event()

    async def connect(self) -> None:
        """Raises: LinkLost; ConfigError for a CA file that is gone."""
        client = self._client = await asyncio.to_thread(self._create)
        await self._within(CONNECT_S, client.connect())
        await self._within(CONNECT_S, asyncio.to_thread(self._listen, client))

    def _create(self) -> IoTHubDeviceClient:
        return IoTHubDeviceClient.create_from_connection_string(
            self._hub.connection_string,
            server_verification_cert=read_ca(self._hub.ca_file) if self._hub.ca_file else None,
            keep_alive=self._hub.keep_alive_s,
            connection_retry=False,
            auto_connect=False,
        )

    def _listen(self, client: IoTHubDeviceClient) -> None:
        """Blocks until the hub has confirmed the subscription: never on the event loop."""
        client.on_background_exception = self._ignore
        client.on_connection_state_change = self._look
        client.on_method_request_received = self._method
        if not client.connected:
            self._loop.call_soon_threadsafe(self.lost.set)

    async def send(self, message: Waiting, timeout_s: float, submitted: asyncio.Event) -> None:
        """Returns when the hub has confirmed it.

        ``submitted`` is set when the client has taken it: one handed over after that is sent after it.

        Raises: LinkLost; ValueError when the client finds that it can never be sent.
        """
        assert self._client is not None
        d2c = _Message(message, lambda: self._loop.call_soon_threadsafe(submitted.set))
        try:
            await self._within(timeout_s, self._client.send_message(d2c))
        finally:
            submitted.set()

    async def reported(self) -> dict[str, Any]:
        """The reported properties as the hub has them. Raises: LinkLost."""
        assert self._client is not None
        twin: dict[str, Any] = await self._within(REPORT_S, self._client.get_twin())
        return {key: value for key, value in twin.get("reported", {}).items() if not key.startswith("$")}

    async def report(self, patch: dict[str, Any]) -> None:
        """Patch the reported properties. Raises: LinkLost."""
        assert self._client is not None
        await self._within(REPORT_S, self._client.patch_twin_reported_properties(patch))

    async def close(self) -> None:
        """End the client and its threads, whatever state it is in."""
        client, self._client = self._client, None
        self.lost.set()
        ends = time.monotonic() + CLOSE_S
        for _ in range(3):  # it raises when it was just being disconnected, and then it has not ended
            if client is None or time.monotonic() > ends or await self._shut_down(client):
                return

    async def _shut_down(self, client: IoTHubDeviceClient) -> bool:
        try:
            await self._within(CLOSE_S, client.shutdown())
        except (LinkLost, ValueError) as error:
            self._log.debug("shutdown: %s", error)
            return False
        return True

    async def _within(self, seconds: float, call: Awaitable[Any]) -> Any:
        """The client's call is never cancelled, it would complain later: it ends with the client."""
        task = asyncio.ensure_future(call)
        task.add_done_callback(seen)
        done, _ = await asyncio.wait({task}, timeout=seconds)
        error = task.exception() if done else TimeoutError()
        if isinstance(error, ValueError):
            raise error
        if error is not None:
            raise LinkLost(diagnose(error, self.host, self.device, self._clock_source)) from error
        return task.result()

    # --- called by the client, on a loop of its own

    async def _look(self, _: None = None) -> None:
        client = self._client
        if client is None or not client.connected:
            self._loop.call_soon_threadsafe(self.lost.set)

    async def _ignore(self, error: Exception) -> None:
        """What it tells of here, the calls tell, too."""

    async def _method(self, request: MethodRequest) -> None:
        asyncio.run_coroutine_threadsafe(self._answer(request), self._loop)

    async def _answer(self, request: MethodRequest) -> None:
        status, answer = self._on_method(request.name, request.payload)
        response = MethodResponse.create_from_method_request(request, status, answer)
        client = self._client
        if client is not None:
            try:
                await asyncio.wait_for(client.send_method_response(response), REPORT_S)
            except Exception as error:  # whoever asked will ask again
                self._log.warning("the answer to %s was not sent: %s", request.name, error)


def seen(task: asyncio.Future[Any]) -> None:
    """For a task that ends when nobody waits for it any more: its error is nobody's concern."""
    if not task.cancelled():
        task.exception()


class _Message(Message):
    """A message that tells when the client reads its body, which it does in the order of sending.

    The client hands each message over in any thread of a pool; without waiting for this, two sent one after the other
    may leave in the other order.
    """

    def __init__(self, waiting: Waiting, on_read: Callable[[], object]) -> None:
        self._on_read: Callable[[], object] = lambda: None
        super().__init__(  # type: ignore[no-untyped-call]
            waiting.body,
            message_id=waiting.message_id,
            content_encoding="utf-8",
            content_type="application/json",
        )
        self.custom_properties["msgType"] = waiting.msg_type
        self._on_read = on_read

    @property
    def data(self) -> bytes:
        self._on_read()
        return self._body

    @data.setter
    def data(self, body: bytes) -> None:
        self._body = body

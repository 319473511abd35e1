"""The devices' side of the hub: who is connected (the newest connection wins), and what services send down to them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import msgspec

from ...errors import DucoError
from . import mqtt
from .admission import NotAdmitted, admit
from .connection import DESIRED, MAX_PACKET, METHODS, Connection, Ended, Handler, MethodAnswer
from .faults import EVERY, Faults
from .mqtt import Answer
from .refusals import MethodRefusal
from .registry import Registry
from .twins import without_marks

log = logging.getLogger(__name__)

CONNECT_S = 20.0  # within which a CONNECT must come
DRAIN_S = 3.0

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Devices:
    """Connected devices.

    Attributes:
        since: when a device last connected or disconnected, in this run of the hub.
    """

    def __init__(self, registry: Registry, faults: Faults, on_publish: Handler) -> None:
        self.since: dict[str, datetime] = {}
        self._registry, self._faults, self._on_publish = registry, faults, on_publish
        self._online: dict[str, Connection] = {}
        self._serving: set[asyncio.Task[Any]] = set()
        self._changed = asyncio.Event()  # replaced whenever someone comes or subscribes
        faults.on_kick = self.kick

    def connected(self, device_id: str) -> bool:
        return device_id in self._online

    def last_activity(self, device_id: str) -> datetime | None:
        """When it last sent anything, or came or went; None when it did not in this run of the hub."""
        connection = self._online.get(device_id)
        return connection.active_at if connection else self.since.get(device_id)

    def __len__(self) -> int:
        return len(self._online)

    # -- connections

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, from its TLS handshake to its end."""
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            connection = await self._open((reader, writer))
            if connection:
                await self._run(connection)
        except (mqtt.MalformedPacket, DucoError, asyncio.IncompleteReadError, OSError, TimeoutError) as error:
            log.info("a connection that made no good CONNECT is closed: %s", error)
        finally:
            self._serving.discard(task)
            writer.transport.abort()

    async def _open(self, streams: Streams) -> Connection | None:
        """The answer to a CONNECT. None when it is refused."""
        reader, writer = streams
        client_id = "a connection"
        try:
            connect = await self._read_connect(reader)
            client_id = connect.client_id
            await self._faults.passage(connect.client_id)
            if self._faults.left("refuse", connect.client_id) > 0:
                raise NotAdmitted(Answer.UNAVAILABLE, "connections are switched off for a while")
            admission = admit(connect, self._registry)
        except (NotAdmitted, mqtt.BadVersion) as refused:
            log.warning("%s is refused: %s", client_id, refused)
            await _close(writer, mqtt.connack(getattr(refused, "answer", Answer.BAD_VERSION)))
            return None
        if connect.clean_session:
            await self._registry.subscribe(connect.client_id, [])
        connection = Connection(
            admission, connect, streams, self._registry, self._faults, self._on_publish, self._announce
        )
        connection.send(mqtt.connack(Answer.ACCEPTED, bool(admission.device.subscriptions)))
        return connection

    async def _read_connect(self, reader: asyncio.StreamReader) -> mqtt.Connect:
        async with asyncio.timeout(CONNECT_S):
            packet = await mqtt.read_packet(reader, MAX_PACKET)
        if packet.kind != mqtt.Kind.CONNECT:
            raise mqtt.MalformedPacket(f"the first packet is of type {packet.kind}")
        return mqtt.parse_connect(packet.body)

    async def _run(self, connection: Connection) -> None:
        device_id = connection.device.device_id
        if older := self._online.get(device_id):
            older.end("a newer connection of the same device took its place")
        self._online[device_id] = connection
        self.since[device_id] = datetime.now(UTC)
        self._announce()
        log.info("%s connected", device_id)
        reason = await connection.run()
        log.info("%s is gone: %s", device_id, reason)
        if self._online.get(device_id) is connection:
            del self._online[device_id]
            self.since[device_id] = datetime.now(UTC)

    def kick(self, device_id: str, reason: str = "it was kicked") -> int:
        """End the connection of a device, or of all (``"*"``). Returns how many there were."""
        found = [c for name, c in self._online.items() if device_id in (name, EVERY)]
        for connection in found:
            connection.end(reason)
        return len(found)

    async def close(self) -> None:
        """What was taken is acknowledged, then every connection ends."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                await asyncio.gather(*[connection.drain() for connection in self._online.values()])
        self.kick(EVERY, "the hub stops")
        serving = list(self._serving)
        if serving:
            await asyncio.wait(serving, timeout=DRAIN_S)
        for task in serving:
            task.cancel()

    # -- from services to devices

    def notify(self, device_id: str, patch: Mapping[str, Any], version: int) -> None:
        """Tell a connected, subscribed device of its new desired properties; others ask when they connect."""
        connection = self._online.get(device_id)
        if connection and connection.subscribed(DESIRED):
            payload = msgspec.json.encode({**without_marks(patch), "$version": version})
            connection.send(mqtt.publish(f"$iothub/twin/PATCH/properties/desired/?$version={version}", payload))

    async def invoke(
        self, device_id: str, name: str, payload: Any, response_s: float, connect_s: float
    ) -> MethodAnswer:
        """A direct method. Raises: MethodRefusal when the device is not there, goes away, or does not answer."""
        connection = await self._with_methods(device_id, connect_s)
        request_id = uuid.uuid4().hex
        answer: asyncio.Future[MethodAnswer] = asyncio.get_running_loop().create_future()
        connection.answers[request_id] = answer
        topic = f"$iothub/methods/POST/{quote(name, safe='')}/?$rid={request_id}"
        connection.send(mqtt.publish(topic, msgspec.json.encode(payload)))
        try:
            async with asyncio.timeout(response_s):
                return await answer
        except TimeoutError:
            sentence = "Timed out waiting for the response from device."
            raise MethodRefusal(504, "GatewayTimeout", 504101, sentence) from None
        except Ended as error:
            sentence = f"The device's answer cannot be read: {error}"
            raise MethodRefusal(502, "BadGateway", 502101, sentence) from None
        except ConnectionError:
            raise MethodRefusal(404, "DeviceNotOnline", 404104, "Device connection was closed.") from None
        finally:
            connection.answers.pop(request_id, None)

    async def _with_methods(self, device_id: str, seconds: float) -> Connection:
        """The device's connection, as soon as it is there and takes methods."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    connection = self._online.get(device_id)
                    if connection and connection.subscribed(METHODS):
                        return connection
                    await self._changed.wait()
        except TimeoutError:
            info = {"timeout": f"{int(seconds) // 3600:02}:{int(seconds) // 60 % 60:02}:{int(seconds) % 60:02}"}
            sentence = "Timed out waiting for device to connect."
            raise MethodRefusal(404, "DeviceNotOnline", 404103, sentence, info) from None

    def _announce(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


async def _close(writer: asyncio.StreamWriter, last: bytes) -> None:
    """An answer that must arrive: a cut would take it away again."""
    writer.write(last)
    writer.close()
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(2):
            await writer.wait_closed()

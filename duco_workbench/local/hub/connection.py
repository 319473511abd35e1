"""One device's MQTT connection: packets in, packets out, acknowledgements in order, and every reason why it ends."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from ...errors import DucoError
from . import mqtt
from .admission import Admission
from .faults import Faults
from .journal import Stored
from .mqtt import Kind
from .registry import Registry

log = logging.getLogger(__name__)

MAX_MESSAGE = 256 << 10  # bytes, IoT Hub's limit
MAX_PACKET = MAX_MESSAGE + (64 << 10) + 4  # and the topic, in which the properties are
MAX_KEEP_ALIVE_S = 1767  # the real hub's
IN_FLIGHT = 16  # messages taken but not durable: then nothing more is read
UNSENT = 100  # packets for a device that does not read

TWIN_ANSWERS = "$iothub/twin/res/#"
DESIRED = "$iothub/twin/PATCH/properties/desired/#"
METHODS = "$iothub/methods/POST/#"

_GONE = "the connection ended"

Done = asyncio.Future[Stored] | asyncio.Future[None]  # a message that becomes durable, or nothing to wait for
Handler = Callable[["Connection", mqtt.Publish], Awaitable[Done]]


class Ended(Exception):
    """The connection ends; says why."""


class MethodAnswer(NamedTuple):
    status: int
    payload: Any


class Connection:
    """From the CONNACK to the end.

    Args:
        on_publish: what a PUBLISH means; what it returns is awaited before the acknowledgement.
        on_subscribed: called when the subscriptions have changed.
    """

    def __init__(
        self,
        admission: Admission,
        connect: mqtt.Connect,
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        registry: Registry,
        faults: Faults,
        on_publish: Handler,
        on_subscribed: Callable[[], None],
    ) -> None:
        self.device = admission.device
        self.active_at = datetime.now(UTC)  # when its last packet came
        self.answers: dict[str, asyncio.Future[MethodAnswer]] = {}  # of direct methods, by request id
        self._expires, self._keep_alive = admission.expires, connect.keep_alive
        self._reader, self._writer = streams
        self._registry, self._faults = registry, faults
        self._on_publish, self._on_subscribed = on_publish, on_subscribed
        self._unsent: asyncio.Queue[bytes] = asyncio.Queue(UNSENT)
        self._unacknowledged: asyncio.Queue[tuple[int | None, Done]] = asyncio.Queue(IN_FLIGHT)
        self._end: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def run(self) -> str:
        """Until it ends. Returns why."""
        parts = (self._receive(), self._transmit(), self._acknowledge(), self._live())
        tasks = [asyncio.create_task(part) for part in parts]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            return _reason(done.pop())
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for answer in self.answers.values():
                if not answer.done():
                    answer.set_exception(ConnectionError(_GONE))
            self._writer.transport.abort()

    def end(self, reason: str) -> None:
        if not self._end.done():
            self._end.set_result(reason)

    async def drain(self) -> None:
        """Take nothing new; what was taken is acknowledged."""
        self._writer.transport.pause_reading()  # type: ignore[attr-defined]
        await self._unacknowledged.join()
        await self._unsent.join()

    # -- what goes out

    def send(self, packet: bytes) -> None:
        try:
            self._unsent.put_nowait(packet)
        except asyncio.QueueFull:
            self.end("it does not read what it is sent")

    def subscribed(self, topic_filter: str) -> bool:
        return topic_filter in self.device.subscriptions

    async def _transmit(self) -> None:
        while True:
            packet = await self._unsent.get()
            await self._faults.passage(self.device.device_id)
            self._writer.write(packet)
            await self._writer.drain()
            _acknowledge_tcp_at_once(self._writer)
            self._unsent.task_done()

    async def _acknowledge(self) -> None:
        """In the order of the messages, each after it is durable."""
        while True:
            packet_id, done = await self._unacknowledged.get()
            stored = await done
            dropped = stored is not None and self._faults.drops_puback(self.device.device_id)
            if packet_id is not None and not dropped:
                self.send(mqtt.puback(packet_id))
            self._unacknowledged.task_done()

    async def _live(self) -> None:
        """Until someone ends it, or its token does."""
        try:
            async with asyncio.timeout(self._expires - time.time()):
                raise Ended(await self._end)
        except TimeoutError:
            raise Ended("its token expired") from None

    # -- what comes in

    async def _receive(self) -> None:
        seconds = 1.5 * min(self._keep_alive or MAX_KEEP_ALIVE_S, MAX_KEEP_ALIVE_S)
        while True:
            try:
                async with asyncio.timeout(seconds):
                    packet = await mqtt.read_packet(self._reader, MAX_PACKET)
            except TimeoutError:
                raise Ended(f"nothing came for {seconds:g} s, 1.5 times its keep-alive") from None
            await self._faults.passage(self.device.device_id)
            if self._end.done():
                return  # what it sent last belongs to the connection that took its place: it is sent again there
            self.active_at = datetime.now(UTC)
            await self._take(packet)

    async def _take(self, packet: mqtt.Packet) -> None:
        match packet.kind:
            case Kind.PUBLISH:
                await self._published(mqtt.parse_publish(packet))
            case Kind.SUBSCRIBE:
                await self._subscribe(*mqtt.parse_subscribe(packet))
            case Kind.UNSUBSCRIBE:
                await self._unsubscribe(*mqtt.parse_unsubscribe(packet))
            case Kind.PINGREQ:
                self.send(mqtt.PINGRESP)
            case Kind.PUBACK:
                pass  # the hub sends at most once
            case Kind.DISCONNECT:
                raise Ended("it disconnected")
            case kind:
                raise Ended(f"it sent a packet of type {kind}, which is not its turn")

    async def _published(self, publish: mqtt.Publish) -> None:
        if publish.qos > 1:
            raise Ended("it sent with QoS 2, which IoT Hub does not do")
        if len(publish.payload) > MAX_MESSAGE:
            raise Ended(f"a message of {len(publish.payload)} bytes; {MAX_MESSAGE} are allowed")
        await self._unacknowledged.put((publish.packet_id, await self._on_publish(self, publish)))

    async def _subscribe(self, packet_id: int, topics: list[tuple[str, int]]) -> None:
        known = self._topic_filters()
        answers = [min(qos, 1) if topic in known else mqtt.SUBSCRIPTION_REFUSED for topic, qos in topics]
        new = [topic for topic, _ in topics if topic in known]
        await self._registry.subscribe(self.device.device_id, sorted({*self.device.subscriptions, *new}))
        self.send(mqtt.suback(packet_id, answers))
        self._on_subscribed()

    async def _unsubscribe(self, packet_id: int, topics: list[str]) -> None:
        kept = [topic for topic in self.device.subscriptions if topic not in topics]
        await self._registry.subscribe(self.device.device_id, kept)
        self.send(mqtt.unsuback(packet_id))

    def _topic_filters(self) -> set[str]:
        cloud_to_device = f"devices/{self.device.device_id}/messages/devicebound/#"  # accepted, and never used
        return {TWIN_ANSWERS, DESIRED, METHODS, cloud_to_device}


def _acknowledge_tcp_at_once(writer: asyncio.StreamWriter) -> None:
    """For what comes next; sending ends this mode of the kernel.

    paho leaves Nagle's algorithm on: a message of two TLS records waits for the acknowledgement of the first, which
    Linux would delay by 40 ms.
    """
    if sys.platform == "linux":
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


def _reason(task: asyncio.Task[None]) -> str:
    """Why the first part ended."""
    error = task.exception()
    if error is None:
        return _GONE
    if isinstance(error, Ended | mqtt.MalformedPacket | DucoError):
        return str(error)
    if isinstance(error, asyncio.IncompleteReadError | OSError):
        return "the link was cut"
    log.error("a connection failed", exc_info=error)
    return f"the hub failed: {error!r}"

"""A local IoT Hub for tests: a real one, on a 127.0.x.y of its own, since the Azure SDKs know their ports only.

In a test that is sync, or that needs the hub beside its own loop (the usual case)::

    with running_hub(tmp_path) as hub:                     # a HubThread
        text = hub.add("truck1", tags={"tenant": "demo"})  # the device's connection string
        client = IoTHubDeviceClient.create_from_connection_string(text, server_verification_cert=hub.ca_text)
        hub.faults.drop_puback(1)                          # switches and registry: hub.hub.registry ...
        hub.call(hub.hub.registry.device, "truck1")        # a function, or coroutine function, in the hub's loop
        hub.stop(); hub.start()                            # another process would do the same: all is on disk

In an async test that wants the hub in its own loop::

    async with Hub(prepare(tmp_path, free_address())) as hub: ...

``hub.identity.hub`` and ``hub.identity.hub_events`` are the two connection strings; ``hub.identity.ca`` is the path of
the CA (``REQUESTS_CA_BUNDLE`` for azure-iot-hub, ``connection_verify=`` for azure-eventhub). ``RawDevice`` speaks MQTT
by hand, for what the SDK does not do.
"""

from __future__ import annotations

import asyncio
import inspect
import random
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from duco_workbench.iothub.sas import make_token
from duco_workbench.local.hub import mqtt
from duco_workbench.local.hub.hub import Hub
from duco_workbench.local.hub.identity import AMQP_PORT, MQTT_PORT, REST_PORT, Identity, prepare
from duco_workbench.local.hub.journal import Stored

NETWORK = 11  # 127.0.11.x, unless a test asks for another
LONG_S = 30.0  # only ends what hangs


def free_address(network: int = NETWORK) -> str:
    """A loopback address on which nobody has the hub's ports."""
    for _ in range(200):
        address = f"127.0.{network}.{random.randint(1, 250)}"
        with suppress(OSError):
            for port in (MQTT_PORT, REST_PORT, AMQP_PORT):
                socket.create_server((address, port)).close()
            return address
    raise AssertionError(f"no free address in 127.0.{network}.x")


def until(condition: Callable[[], Any], what: str, seconds: float = LONG_S) -> Any:
    """Poll until it is true; returns what it returned."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.02)
    return found


class HubThread:
    """A hub in a loop and thread of its own; stopped and started again on the same folder and address."""

    def __init__(self, folder: Path, address: str = "", **options: Any) -> None:
        self.identity: Identity = prepare(folder, address or free_address())
        self._options = options
        self.hub: Hub

    @property
    def ca_text(self) -> str:
        return self.identity.ca.read_text()

    @property
    def faults(self) -> Any:
        return self.hub.faults

    def start(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.hub = Hub(self.identity, **self._options)
        self.call(self.hub.start)

    def stop(self) -> None:
        self.call(self.hub.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(LONG_S)
        self._loop.close()

    def call(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """In the hub's loop; a coroutine function is awaited. From another thread than the hub's."""

        async def run() -> Any:
            result = function(*arguments, **named)
            return await result if inspect.isawaitable(result) else result

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(LONG_S)

    def add(self, device_id: str, tags: Mapping[str, Any] | None = None) -> str:
        """A new device. Returns its connection string."""
        device = self.call(self.hub.registry.create, device_id)
        if tags:
            self.call(self.hub.registry.change_twin, device_id, tags)
        return self.identity.device(device_id, device.primary_key)

    def messages(self, device_id: str | None = None) -> list[Stored]:
        """Everything in the journal, or what is of one device, in order of partition and sequence."""

        async def read() -> list[Stored]:
            found: list[Stored] = []
            for partition in range(self.hub.journal.partitions):
                after = -1
                while batch := await self.hub.journal.read(partition, after):
                    found += batch
                    after = batch[-1].sequence
            return [message for message in found if device_id in (None, message.device_id)]

        return self.call(read)


@contextmanager
def running_hub(folder: Path, address: str = "", **options: Any) -> Iterator[HubThread]:
    """A hub for the block; options are those of ``Hub``."""
    hub = HubThread(folder, address, **options)
    hub.start()
    try:
        yield hub
    finally:
        hub.stop()


class RawDevice:
    """A device that speaks MQTT by hand over TLS; blocking."""

    def __init__(self, hub: HubThread, connection_string: str) -> None:
        fields = dict(part.split("=", 1) for part in connection_string.split(";"))
        self.device_id, self._key, self._host = fields["DeviceId"], fields["SharedAccessKey"], fields["HostName"]
        context = ssl.create_default_context(cafile=str(hub.identity.ca))
        plain = socket.create_connection((hub.identity.address, MQTT_PORT), timeout=LONG_S)
        self.socket = context.wrap_socket(plain, server_hostname=hub.identity.address)

    def connect(
        self,
        keep_alive: int = 60,
        ttl_s: int = 3600,
        host: str = "",
        username: str = "",
        client_id: str = "",
        token: str = "",
        clean: bool = False,
        level: int = 4,
    ) -> int:
        """Returns the CONNACK's code. What is given replaces what a device would send."""
        host = host or self._host
        token = token or make_token(f"{host}/devices/{self.device_id}", self._key, ttl_s=ttl_s)
        name = username or f"{host}/{self.device_id}/?api-version=2019-10-01&DeviceClientType=raw"
        head = mqtt.text("MQTT") + bytes((level, 0xC0 | (2 if clean else 0))) + struct.pack(">H", keep_alive)
        fields = b"".join(mqtt.text(value) for value in (client_id or self.device_id, name, token))
        self.send(0x10, head + fields)
        kind, body = self.receive()
        assert kind == 0x20
        return body[1]

    def publish(self, topic: str, payload: bytes, packet_id: int = 1, qos: int = 1) -> None:
        middle = struct.pack(">H", packet_id) if qos else b""
        self.send(0x30 | qos << 1, mqtt.text(topic) + middle + payload)

    def tell(self, payload: bytes, packet_id: int = 1, qos: int = 1, bag: str = "") -> None:
        """A device-to-cloud message."""
        self.publish(f"devices/{self.device_id}/messages/events/{bag}", payload, packet_id, qos)

    def subscribe(self, *topics: str) -> bytes:
        """Returns the SUBACK's codes."""
        self.send(0x82, b"\0\1" + b"".join(mqtt.text(topic) + b"\1" for topic in topics))
        kind, body = self.receive()
        assert kind == 0x90
        return body[2:]

    def send(self, first: int, body: bytes) -> None:
        self.socket.sendall(bytes((first,)) + mqtt.length_bytes(len(body)) + body)

    def receive(self, seconds: float = LONG_S) -> tuple[int, bytes]:
        """First byte and body of the next packet; (0, b"") when the hub closed. Raises: TimeoutError."""
        self.socket.settimeout(seconds)
        try:
            first, length, shift = self._exactly(1)[0], 0, 0
            while True:
                byte = self._exactly(1)[0]
                length |= (byte & 127) << shift
                shift += 7
                if not byte & 128:
                    return first, self._exactly(length)
        except (EOFError, ConnectionError, ssl.SSLEOFError):
            return 0, b""

    def _exactly(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            part = self.socket.recv(size - len(found))
            if not part:
                raise EOFError
            found += part
        return found

    def close(self) -> None:
        self.socket.close()

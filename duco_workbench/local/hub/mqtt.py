"""MQTT 3.1.1 packets <-> bytes: the part of it that IoT Hub speaks. Pure, but for reading one from a stream.

http://docs.oasis-open.org/mqtt/mqtt/v3.1.1/mqtt-v3.1.1.html
"""

from __future__ import annotations

import asyncio
import enum
import struct
from typing import NamedTuple


class Kind(enum.IntEnum):
    """The packets' types (MQTT 2.2.1)."""

    CONNECT = 1
    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4
    SUBSCRIBE = 8
    SUBACK = 9
    UNSUBSCRIBE = 10
    UNSUBACK = 11
    PINGREQ = 12
    PINGRESP = 13
    DISCONNECT = 14


class Answer(enum.IntEnum):
    """CONNACK's return codes (MQTT 3.2.2.3)."""

    ACCEPTED = 0
    BAD_VERSION = 1
    BAD_CLIENT_ID = 2
    UNAVAILABLE = 3
    BAD_CREDENTIALS = 4
    NOT_AUTHORIZED = 5


SUBSCRIPTION_REFUSED = 0x80


class MalformedPacket(ValueError):
    """Bytes that are no MQTT 3.1.1, or more of them than allowed."""


class Packet(NamedTuple):
    kind: int
    flags: int  # lower half of the first byte
    body: bytes


class Connect(NamedTuple):
    client_id: str
    username: str
    password: str
    keep_alive: int  # seconds, 0 = off
    clean_session: bool


class Publish(NamedTuple):
    topic: str
    payload: bytes
    qos: int
    packet_id: int | None  # None for QoS 0
    retain: bool


class BadVersion(MalformedPacket):
    """A CONNECT of another protocol version: answered, then closed."""


async def read_packet(reader: asyncio.StreamReader, limit: int) -> Packet:
    """The next packet, of at most ``limit`` bytes after its header.

    Raises: MalformedPacket; asyncio.IncompleteReadError when the peer closed.
    """
    first = (await reader.readexactly(1))[0]
    length = shift = 0
    while True:
        byte = (await reader.readexactly(1))[0]
        length |= (byte & 127) << shift
        if not byte & 128:
            break
        shift += 7
        if shift > 21:
            raise MalformedPacket("a packet's length has more than 4 bytes")
    if length > limit:
        raise MalformedPacket(f"a packet of {length} bytes; {limit} are allowed")
    return Packet(first >> 4, first & 15, await reader.readexactly(length) if length else b"")


# -- what clients send


def parse_connect(body: bytes) -> Connect:
    """Raises: BadVersion, MalformedPacket."""
    fields = _Fields(body)
    protocol, level, flags = fields.text(), fields.byte(), fields.byte()
    if (protocol, level) != ("MQTT", 4):
        raise BadVersion(f"protocol {protocol[:20]!r} level {level}; only MQTT 3.1.1 is spoken here")
    if flags & 1:
        raise MalformedPacket("CONNECT with the reserved flag")
    keep_alive, client_id = fields.number(), fields.text()
    if flags & 4:  # a will; this hub does not send any
        fields.text(), fields.blob()
    username = fields.text() if flags & 0x80 else ""
    password = fields.text() if flags & 0x40 else ""
    return Connect(client_id, username, password, keep_alive, bool(flags & 2))


def parse_publish(packet: Packet) -> Publish:
    """Raises: MalformedPacket."""
    fields, qos = _Fields(packet.body), packet.flags >> 1 & 3
    topic = fields.text()
    packet_id = fields.packet_id() if qos else None
    return Publish(topic, fields.rest(), qos, packet_id, bool(packet.flags & 1))


def parse_subscribe(packet: Packet) -> tuple[int, list[tuple[str, int]]]:
    """Packet id, and (topic filter, requested QoS) of each. Raises: MalformedPacket."""
    fields = _topics_of(packet)
    packet_id = fields.packet_id()
    topics = []
    while fields.left():
        topics.append((fields.text(), fields.byte()))
    return packet_id, topics


def parse_unsubscribe(packet: Packet) -> tuple[int, list[str]]:
    """Packet id and topic filters. Raises: MalformedPacket."""
    fields = _topics_of(packet)
    packet_id = fields.packet_id()
    topics = []
    while fields.left():
        topics.append(fields.text())
    return packet_id, topics


# -- what the hub sends


def connack(answer: Answer, session_present: bool = False) -> bytes:
    return _packet(Kind.CONNACK, 0, bytes((session_present, answer)))


def puback(packet_id: int) -> bytes:
    return _packet(Kind.PUBACK, 0, struct.pack(">H", packet_id))


def suback(packet_id: int, answers: list[int]) -> bytes:
    return _packet(Kind.SUBACK, 0, struct.pack(">H", packet_id) + bytes(answers))


def unsuback(packet_id: int) -> bytes:
    return _packet(Kind.UNSUBACK, 0, struct.pack(">H", packet_id))


def publish(topic: str, payload: bytes) -> bytes:
    """At most once (QoS 0), as IoT Hub sends twins and methods."""
    return _packet(Kind.PUBLISH, 0, text(topic) + payload)


PINGRESP = bytes((Kind.PINGRESP << 4, 0))


def text(value: str) -> bytes:
    """A string as packets hold it. Raises: MalformedPacket."""
    encoded = value.encode()
    if len(encoded) > 0xFFFF:
        raise MalformedPacket(f"a text of {len(encoded)} bytes; 65535 are possible")
    return struct.pack(">H", len(encoded)) + encoded


def length_bytes(length: int) -> bytes:
    """A packet's remaining length (MQTT 2.2.3)."""
    out = bytearray()
    while True:
        length, low = length >> 7, length & 127
        out.append(low | (128 if length else 0))
        if not length:
            return bytes(out)


def _packet(kind: Kind, flags: int, body: bytes) -> bytes:
    return bytes((kind << 4 | flags,)) + length_bytes(len(body)) + body


def _topics_of(packet: Packet) -> _Fields:
    if packet.flags != 2:
        raise MalformedPacket("SUBSCRIBE or UNSUBSCRIBE with wrong flags")
    return _Fields(packet.body)


class _Fields:
    """A packet's body, read field by field. Raises: MalformedPacket past its end, or where a text is none."""

    def __init__(self, body: bytes) -> None:
        self._body, self._at = body, 0

    def left(self) -> int:
        return len(self._body) - self._at

    def rest(self) -> bytes:
        return self._body[self._at :]

    def byte(self) -> int:
        return self._take(1)[0]

    def number(self) -> int:
        return int.from_bytes(self._take(2), "big")

    def packet_id(self) -> int:
        number = self.number()
        if not number:
            raise MalformedPacket("packet id 0")
        return number

    def blob(self) -> bytes:
        return self._take(self.number())

    def text(self) -> str:
        try:
            found = self.blob().decode()
        except UnicodeDecodeError:
            raise MalformedPacket("a text is not UTF-8") from None
        if "\0" in found:
            raise MalformedPacket("a text with a null character")
        return found

    def _take(self, size: int) -> bytes:
        if self.left() < size:
            raise MalformedPacket("a packet ends in the middle of a field")
        self._at += size
        return self._body[self._at - size : self._at]

"""MQTT packets from and to bytes, property bags, and the switches for faults."""

from __future__ import annotations

import asyncio
import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duco_workbench.local.hub import mqtt
from duco_workbench.local.hub.faults import Faults
from duco_workbench.local.hub.mqtt import Kind, MalformedPacket, Packet
from duco_workbench.local.hub.refusals import Refusal
from duco_workbench.local.hub.uplink import split_bag

LIMIT = 300_000


def head(flags: int, protocol: str = "MQTT", level: int = 4) -> bytes:
    return mqtt.text(protocol) + bytes((level, flags)) + struct.pack(">H", 30)


async def read(content: bytes, limit: int = LIMIT) -> Packet:
    reader = asyncio.StreamReader()
    reader.feed_data(content)
    reader.feed_eof()
    return await mqtt.read_packet(reader, limit)


# -- reading


@pytest.mark.parametrize(
    ("length", "written"),
    [(0, "00"), (127, "7f"), (128, "8001"), (16_383, "ff7f"), (16_384, "808001"), (2_097_152, "80808001")],
)
def test_lengths_are_those_of_the_standard(length: int, written: str) -> None:
    assert mqtt.length_bytes(length).hex() == written


@pytest.mark.parametrize("size", [0, 1, 127, 128, 20_000])
async def test_a_packet_is_read_whole(size: int) -> None:
    assert await read(b"\x32" + mqtt.length_bytes(size) + b"x" * size + b"next") == (Kind.PUBLISH, 2, b"x" * size)


async def test_a_packet_that_is_too_large_or_cut_is_not() -> None:
    with pytest.raises(MalformedPacket, match="301 bytes; 300 are allowed"):
        await read(b"\x30" + mqtt.length_bytes(301), 300)
    with pytest.raises(MalformedPacket, match="more than 4 bytes"):
        await read(b"\x30\xff\xff\xff\xff\x01")
    with pytest.raises(asyncio.IncompleteReadError):
        await read(b"\x30\x05abc")


def test_a_connect_is_read() -> None:
    fields = mqtt.text("truck1"), mqtt.text("host/truck1/?api-version=x"), mqtt.text("token")
    assert mqtt.parse_connect(head(0xC2) + b"".join(fields)) == (
        "truck1",
        "host/truck1/?api-version=x",
        "token",
        30,
        True,
    )
    will = mqtt.text("topic") + mqtt.text("gone")
    found = mqtt.parse_connect(head(0xC4) + fields[0] + will + fields[1] + fields[2])
    assert (found.username, found.password, found.clean_session) == ("host/truck1/?api-version=x", "token", False)
    assert mqtt.parse_connect(head(0) + fields[0]) == ("truck1", "", "", 30, False)


@pytest.mark.parametrize(("protocol", "level"), [("MQTT", 5), ("MQIsdp", 3)])
def test_other_versions_are_told_apart(protocol: str, level: int) -> None:
    with pytest.raises(mqtt.BadVersion, match=r"only MQTT 3\.1\.1"):
        mqtt.parse_connect(head(0, protocol, level) + mqtt.text("x"))


def test_a_publish_is_read() -> None:
    found = mqtt.parse_publish(Packet(3, 0b0011, mqtt.text("t/ü") + b"\0\7body"))
    assert found == ("t/ü", b"body", 1, 7, True)
    assert mqtt.parse_publish(Packet(3, 0, mqtt.text("t") + b"body")) == ("t", b"body", 0, None, False)


def test_subscriptions_are_read() -> None:
    topics = mqtt.text("a/#") + b"\1" + mqtt.text("b") + b"\0"
    assert mqtt.parse_subscribe(Packet(8, 2, b"\0\x09" + topics)) == (9, [("a/#", 1), ("b", 0)])
    assert mqtt.parse_unsubscribe(Packet(10, 2, b"\0\x09" + mqtt.text("a/#"))) == (9, ["a/#"])


@pytest.mark.parametrize(
    "packet",
    [
        Packet(3, 2, b"\0\1t\0\0"),  # packet id 0
        Packet(3, 2, b"\0\1t\0"),
        Packet(3, 0, b"\0\5t"),
        Packet(3, 0, b"\0\1\xff"),
        Packet(3, 0, b"\0\1\0"),
        Packet(3, 0, b""),
    ],
)
def test_what_is_no_publish_is_said(packet: Packet) -> None:
    with pytest.raises(MalformedPacket):
        mqtt.parse_publish(packet)


@given(st.binary(max_size=60), st.integers(0, 15))
def test_any_bytes_are_a_packet_or_malformed(body: bytes, flags: int) -> None:
    for parse in (
        lambda: mqtt.parse_connect(body),
        lambda: mqtt.parse_connect(head(flags << 4) + body),
        lambda: mqtt.parse_publish(Packet(3, flags, body)),
        lambda: mqtt.parse_subscribe(Packet(8, 2, body)),
        lambda: mqtt.parse_unsubscribe(Packet(10, flags, body)),
    ):
        with contextlib.suppress(MalformedPacket):
            parse()


# -- writing


def test_packets_are_written_as_the_standard_says() -> None:
    assert mqtt.connack(mqtt.Answer.NOT_AUTHORIZED).hex() == "20020005"
    assert mqtt.connack(mqtt.Answer.ACCEPTED, session_present=True).hex() == "20020100"
    assert mqtt.puback(0x1234).hex() == "40021234"
    assert mqtt.suback(1, [1, 0x80]).hex() == "900400010180"
    assert mqtt.unsuback(1).hex() == "b0020001"
    assert mqtt.PINGRESP.hex() == "d000"
    assert mqtt.publish("t", b"body") == b"\x30\x07\0\1tbody"


# -- property bags


@pytest.mark.parametrize(
    ("bag", "system", "properties"),
    [
        ("", {}, {}),
        (
            "%24.mid=a%3A1%3A2&%24.ct=application%2Fjson",
            {"message_id": "a:1:2", "content_type": "application/json"},
            {},
        ),
        ("$.mid=x&msgType=vehicle_can", {"message_id": "x"}, {"msgType": "vehicle_can"}),
        ("a%20b=%C3%BC+%26%3D&empty=&none", {}, {"a b": "ü+&=", "empty": "", "none": ""}),
        ("%24.exp=1&%24.ifid=2&&=x", {}, {}),
    ],
)
def test_bags_are_split(bag: str, system: dict[str, str], properties: dict[str, str]) -> None:
    assert split_bag(bag) == (system, properties)


# -- faults


def test_faults_are_per_device_or_for_all_and_end() -> None:
    now = [100.0]
    faults = Faults(clock=lambda: now[0])
    faults.throttle(10, "a")
    faults.refuse(5)
    assert [faults.left("throttle", d) for d in "ab"] == [10, 0]
    assert [faults.left("refuse", d) for d in "ab"] == [5, 5]
    now[0] += 6
    assert [faults.left("throttle", "a"), faults.left("refuse", "a")] == [4, 0]
    assert faults.active() == [{"fault": "throttle", "device": "a", "seconds": 4.0}]
    now[0] += 6
    assert faults.active() == []


def test_dropped_pubacks_are_counted() -> None:
    faults = Faults()
    faults.drop_puback(2, "a")
    faults.drop_puback(1)
    assert [faults.drops_puback(d) for d in ("b", "b", "a", "a", "a")] == [True, False, True, True, False]


@pytest.mark.parametrize(("name", "count", "seconds"), [("black_hole", 1, 0), ("drop_puback", 0, 5), ("rain", 1, 1)])
def test_a_fault_that_makes_no_sense_is_refused(name: str, count: int, seconds: float) -> None:
    with pytest.raises(Refusal, match="one of black_hole"):
        Faults().switch(name, "*", count, seconds)

"""The local IoT Hub as devices see it: the unmodified azure-iot-device, and MQTT by hand for what it does not do."""

from __future__ import annotations

import json
import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from azure.iot.device import IoTHubDeviceClient, Message, MethodResponse
from azure.iot.device.exceptions import ClientError, CredentialError, OperationCancelled
from hub_kit import HubThread, RawDevice, free_address, running_hub, until

from duco_workbench.errors import ConfigError
from duco_workbench.local.hub.connection import MAX_MESSAGE
from duco_workbench.local.hub.hub import Hub
from duco_workbench.local.hub.identity import prepare
from duco_workbench.local.hub.refusals import MethodRefusal

PUBACK, SUBACK, PINGRESP, PUBLISH, CLOSED = 0x40, 0x90, 0xD0, 0x30, 0
ACCEPTED, BAD_VERSION, UNAVAILABLE, BAD_CREDENTIALS, NOT_AUTHORIZED = 0, 1, 3, 4, 5
TWIN_ANSWERS, METHODS = "$iothub/twin/res/#", "$iothub/methods/POST/#"

Connect = Callable[..., IoTHubDeviceClient]
Start = Callable[[Path, str], subprocess.Popen[str]]

pytestmark = pytest.mark.filterwarnings("ignore:ssl.PROTOCOL_TLSv1_2:DeprecationWarning")  # the SDK's


@pytest.fixture(scope="module", autouse=True)
def quiet() -> None:
    logging.getLogger("azure").setLevel(logging.CRITICAL)  # refusals are what these tests are about


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubThread]:
    with running_hub(tmp_path) as found:
        yield found


@pytest.fixture
def client(hub: HubThread) -> Iterator[Connect]:
    """Makes SDK clients, and shuts them down."""
    made: list[IoTHubDeviceClient] = []

    def make(text: str, **options: Any) -> IoTHubDeviceClient:
        options = {"server_verification_cert": hub.ca_text, "connection_retry_interval": 1, **options}
        made.append(IoTHubDeviceClient.create_from_connection_string(text, **options))
        return made[-1]

    yield make
    for one in made:
        one.shutdown()


@pytest.fixture
def raw(hub: HubThread) -> Iterator[RawDevice]:
    """A device that speaks by hand, connected."""
    device = RawDevice(hub, hub.add("raw1"))
    assert device.connect() == ACCEPTED
    yield device
    device.close()


def message(number: int, body: bytes = b'{"v":1}', chassis: str = "truck1") -> Message:
    made = Message(body, message_id=f"{chassis}:7:{number}", content_type="application/json", content_encoding="utf-8")
    made.custom_properties["msgType"] = "vehicle_event"
    return made


# -- messages


def test_a_message_is_kept_with_everything_that_belongs_to_it(hub: HubThread, client: Connect) -> None:
    truck = client(hub.add("truck1", tags={"tenant": "demo"}))
    before = time.time_ns() // 1000
    sent = message(1, b"\x00\xff body")
    sent.custom_properties["a b&="] = "ü/+ %"
    sent.correlation_id, sent.user_id = "c 1", "u/1"
    truck.send_message(sent)
    (kept,) = hub.messages()
    assert (kept.device_id, kept.sequence, kept.body) == ("truck1", 0, b"\x00\xff body")
    assert kept.generation == hub.hub.registry.device("truck1").generation
    assert before <= kept.enqueued <= time.time_ns() // 1000
    assert kept.properties == {"msgType": "vehicle_event", "a b&=": "ü/+ %", "tenant": "demo"}
    assert kept.system == {
        "message_id": "truck1:7:1",
        "correlation_id": "c 1",
        "user_id": "u/1",
        "content_type": "application/json",
        "content_encoding": "utf-8",
    }


def test_the_tenant_is_the_hubs_to_say(hub: HubThread, client: Connect) -> None:
    truck = client(hub.add("truck1"))
    forged = message(1)
    forged.custom_properties["tenant"] = "someone else"
    truck.send_message(forged)
    assert (
        hub.messages()[0].properties["tenant"] == "$twin.tags.tenant"
    )  # as the real hub writes a tag that is not there


def test_messages_in_flight_keep_their_order_and_are_acknowledged_in_it(hub: HubThread, raw: RawDevice) -> None:
    count = 200
    for number in range(1, count + 1):
        raw.tell(b"%d" % number * 500, packet_id=number, bag=f"%24.mid=raw1%3a1%3a{number}")
    acknowledged = [raw.receive() for _ in range(count)]
    assert acknowledged == [(PUBACK, number.to_bytes(2, "big")) for number in range(1, count + 1)]
    kept = hub.messages("raw1")
    assert [m.system["message_id"] for m in kept] == [f"raw1:1:{number}" for number in range(1, count + 1)]
    assert [m.sequence for m in kept] == list(range(count))


def test_quality_of_service_0_is_taken_and_2_ends_the_connection(hub: HubThread, raw: RawDevice) -> None:
    raw.tell(b"zero", qos=0)
    until(lambda: hub.messages(), "the message")
    raw.tell(b"two", qos=2)
    assert raw.receive() == (CLOSED, b"")
    assert [m.body for m in hub.messages()] == [b"zero"]


def test_256_kib_are_taken_and_one_byte_more_ends_the_connection(hub: HubThread, raw: RawDevice) -> None:
    raw.tell(b"x" * MAX_MESSAGE)
    assert raw.receive() == (PUBACK, b"\0\1")
    raw.tell(b"x" * (MAX_MESSAGE + 1), packet_id=2)
    assert raw.receive() == (CLOSED, b"")
    assert [len(m.body) for m in hub.messages()] == [MAX_MESSAGE]


@pytest.mark.parametrize(
    "topic", ["devices/other/messages/events/", "telemetry", "$iothub/twin/POST/", "$iothub/twin/GET/"]
)
def test_an_unknown_topic_ends_the_connection(hub: HubThread, raw: RawDevice, topic: str) -> None:
    raw.publish(topic, b"{}")
    assert raw.receive() == (CLOSED, b"")
    assert not hub.messages()


# -- who may connect


def test_a_wrong_key_is_refused(hub: HubThread, client: Connect) -> None:
    text = hub.add("truck1")
    wrong = text[: text.index("SharedAccessKey=")] + "SharedAccessKey=d3JvbmcgbG9uZyBlbm91Z2g="
    with pytest.raises(CredentialError):
        client(wrong, connection_retry=False).connect()


def test_an_unknown_device_is_refused(hub: HubThread, client: Connect) -> None:
    with pytest.raises(CredentialError):
        client(hub.add("truck1").replace("truck1", "truck2"), connection_retry=False).connect()


def test_a_disabled_device_is_refused(hub: HubThread, client: Connect) -> None:
    text = hub.add("truck1")
    hub.call(hub.hub.registry.update, "truck1", enabled=False)
    with pytest.raises(CredentialError):
        client(text, connection_retry=False).connect()


def test_a_wrong_authority_is_refused_by_the_device(hub: HubThread, client: Connect, tmp_path: Path) -> None:
    other = prepare(tmp_path / "other", "127.0.0.1").ca.read_text()
    with pytest.raises(ClientError) as refused:
        client(hub.add("truck1"), server_verification_cert=other, connection_retry=False).connect()
    assert "TLS" in str(refused.value)
    assert not hub.hub.devices.connected("truck1")


@pytest.mark.parametrize(
    ("options", "answer"),
    [
        ({"host": "gateway.example.com"}, ACCEPTED),  # what the device signed for is its own matter
        ({"username": "{host}/raw1"}, ACCEPTED),
        ({"username": "{host}/raw2/?api-version=2019-10-01"}, BAD_CREDENTIALS),
        ({"username": "raw1"}, BAD_CREDENTIALS),
        ({"client_id": "raw2"}, BAD_CREDENTIALS),
        ({"ttl_s": 10**400}, ACCEPTED),
        ({"ttl_s": -5}, NOT_AUTHORIZED),
        ({"token": "SharedAccessSignature sr=x"}, NOT_AUTHORIZED),
        ({"token": "secret"}, NOT_AUTHORIZED),
        ({"level": 5}, BAD_VERSION),
    ],
)
def test_a_connect_is_judged_as_the_real_hub_does(hub: HubThread, options: dict[str, Any], answer: int) -> None:
    device = RawDevice(hub, hub.add("raw1"))
    given = {
        name: value.format(host=hub.identity.address) if name == "username" else value
        for name, value in options.items()
    }
    assert device.connect(**given) == answer
    if answer:
        assert device.receive() == (CLOSED, b"")
    device.close()


def test_what_is_no_mqtt_is_closed(hub: HubThread) -> None:
    device = RawDevice(hub, hub.add("raw1"))
    device.socket.sendall(b"GET / HTTP/1.1\r\nHost: hub\r\n" + b"Accept: */*\r\n" * 10 + b"\r\n")
    assert device.receive() == (CLOSED, b"")


def test_the_newest_connection_of_a_device_wins(hub: HubThread, client: Connect) -> None:
    text = hub.add("truck1")
    first, second = client(text, connection_retry=False), client(text, connection_retry=False)
    first.connect()
    second.connect()
    until(lambda: not first.connected, "the first is gone")
    second.send_message(message(1))
    assert second.connected
    assert len(hub.messages()) == 1


def test_the_end_of_a_token_ends_the_connection(hub: HubThread) -> None:
    device = RawDevice(hub, hub.add("raw1"))
    assert device.connect(ttl_s=6) == ACCEPTED
    device.send(0xC0, b"")
    assert device.receive() == (PINGRESP, b"")
    assert device.receive() == (CLOSED, b"")


def test_the_keep_alive_is_enforced(hub: HubThread) -> None:
    quiet, busy = RawDevice(hub, hub.add("quiet")), RawDevice(hub, hub.add("busy"))
    assert (quiet.connect(keep_alive=4), busy.connect(keep_alive=4)) == (ACCEPTED, ACCEPTED)
    for _ in range(6):  # longer than one and a half times that
        time.sleep(1.2)
        busy.send(0xC0, b"")
        assert busy.receive() == (PINGRESP, b"")
    assert quiet.receive() == (CLOSED, b"")


# -- twins and methods


def test_a_twin_is_read_reported_and_notified(hub: HubThread, client: Connect) -> None:
    truck = client(hub.add("truck1"))
    patches: list[Any] = []
    truck.on_twin_desired_properties_patch_received = patches.append
    truck.patch_twin_reported_properties({"agent": {"version": "1", "state": "up"}, "gone": 1})
    truck.patch_twin_reported_properties({"agent": {"state": None}, "gone": None})
    hub.call(hub.hub.registry.change_twin, "truck1", None, {"hz": 5})
    hub.call(hub.hub.devices.notify, "truck1", {"hz": 5}, 2)
    until(lambda: patches, "the patch")
    assert patches == [{"hz": 5, "$version": 2}]
    assert truck.get_twin() == {
        "desired": {"hz": 5, "$version": 2},
        "reported": {"agent": {"version": "1"}, "$version": 3},
    }


def test_a_report_that_is_not_allowed_is_answered_and_changes_nothing(hub: HubThread, raw: RawDevice) -> None:
    assert raw.subscribe(TWIN_ANSWERS) == b"\1"
    for number, patch in enumerate([b'{"a.b":1}', b"[]", b'{"a":', json.dumps({"a": "x" * 5000}).encode()], 1):
        raw.publish(f"$iothub/twin/PATCH/properties/reported/?$rid={number}", patch, packet_id=number)
        kind, body = raw.receive()
        assert kind == PUBLISH
        assert f"$iothub/twin/res/400/?$rid={number}".encode() in body
        assert raw.receive() == (PUBACK, number.to_bytes(2, "big"))
    assert hub.hub.registry.device("raw1").reported == {}


def test_a_subscription_to_what_is_not_there_is_refused(raw: RawDevice) -> None:
    assert raw.subscribe("#", METHODS, "devices/raw1/messages/devicebound/#", "devices/other/#") == b"\x80\1\1\x80"


def test_a_method_is_answered_by_the_device(hub: HubThread, client: Connect) -> None:
    truck = client(hub.add("truck1"))

    def on_method(request: Any) -> None:
        answer = {"name": request.name, "got": request.payload}
        truck.send_method_response(MethodResponse.create_from_method_request(request, 201, answer))

    truck.on_method_request_received = on_method
    answer = hub.call(hub.hub.devices.invoke, "truck1", "set it / ü", {"n": 1}, 20, 20)
    assert answer == (201, {"name": "set it / ü", "got": {"n": 1}})


def test_a_method_for_a_device_that_is_away_silent_or_leaving_says_which(hub: HubThread) -> None:
    device = RawDevice(hub, hub.add("raw1"))

    def number(response_s: float, connect_s: float) -> int:
        with pytest.raises(MethodRefusal) as refused:
            hub.call(hub.hub.devices.invoke, "raw1", "m", None, response_s, connect_s)
        return refused.value.number

    assert number(5, 0) == 404103
    device.connect()
    assert number(5, 0.2) == 404103  # connected, but it takes no methods
    device.subscribe(METHODS)
    assert number(0.2, 0) == 504101
    assert b"methods/POST" in device.receive()[1]  # the one nobody waits for any more
    with ThreadPoolExecutor() as threads:
        leaving = threads.submit(number, 20, 0)
        while b"methods/POST" not in device.receive()[1]:
            pass
        device.close()
        assert leaving.result(20) == 404104


def test_a_method_waits_for_the_device_to_come(hub: HubThread, client: Connect) -> None:
    truck = client(hub.add("truck1"))
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(hub.call, hub.hub.devices.invoke, "truck1", "m", None, 20, 20)
        truck.on_method_request_received = lambda request: truck.send_method_response(
            MethodResponse.create_from_method_request(request, 200)
        )
        assert waiting.result(30) == (200, None)


# -- faults


def test_a_message_whose_puback_was_dropped_is_sent_again_with_the_same_id(hub: HubThread, client: Connect) -> None:
    truck = client(hub.add("truck1"))
    truck.connect()
    hub.faults.drop_puback(1)
    sending = threading.Thread(target=truck.send_message, args=(message(1),))
    sending.start()
    until(lambda: hub.messages(), "the message")
    sending.join(0.5)
    assert sending.is_alive()  # nobody told it
    assert hub.call(hub.faults.kick) == 1
    sending.join(30)
    assert not sending.is_alive()
    assert [m.system["message_id"] for m in hub.messages()] == ["truck1:7:1", "truck1:7:1"]


def test_a_black_hole_swallows_everything_and_closes_nothing(hub: HubThread, raw: RawDevice) -> None:
    hub.faults.black_hole(60, "raw1")
    raw.send(0xC0, b"")
    raw.tell(b"later")
    with pytest.raises(TimeoutError):
        raw.receive(1.0)
    assert not hub.messages()
    hub.call(hub.faults.clear)
    assert [raw.receive()[0], raw.receive()[0]] == [PINGRESP, PUBACK]


def test_a_kicked_device_comes_back_and_takes_methods_without_subscribing_again(
    hub: HubThread, client: Connect
) -> None:
    truck = client(hub.add("truck1"))
    truck.on_method_request_received = lambda request: truck.send_method_response(
        MethodResponse.create_from_method_request(request, 200)
    )
    truck.connect()
    since = hub.hub.devices.since["truck1"]
    assert hub.call(hub.faults.kick, "truck1") == 1
    until(lambda: hub.hub.devices.connected("truck1") and hub.hub.devices.since["truck1"] > since, "it is back")
    assert hub.call(hub.hub.devices.invoke, "truck1", "m", None, 20, 20).status == 200


def test_connections_are_refused_and_messages_slowed_while_asked(hub: HubThread) -> None:
    text = hub.add("raw1")
    hub.faults.refuse(60, "raw1")
    assert RawDevice(hub, text).connect() == UNAVAILABLE
    hub.call(hub.faults.clear)
    device = RawDevice(hub, text)
    assert device.connect() == ACCEPTED
    hub.faults.throttle(60)
    begun = time.monotonic()
    device.tell(b"slow")
    assert device.receive()[0] == PUBACK
    assert time.monotonic() - begun >= 0.9


def test_an_sdk_client_hears_that_it_was_cut_off(hub: HubThread, client: Connect) -> None:
    truck = client(hub.add("truck1"), connection_retry=False)
    truck.connect()
    hub.faults.drop_puback(1)
    with ThreadPoolExecutor() as threads:
        sending = threads.submit(truck.send_message, message(1))
        until(lambda: hub.messages(), "the message")
        hub.call(hub.faults.kick)
        with pytest.raises(OperationCancelled):
            sending.result(30)


# -- restarts


def test_everything_survives_a_restart(hub: HubThread, client: Connect) -> None:
    truck = client(hub.add("truck1", tags={"tenant": "demo"}))
    truck.on_method_request_received = lambda request: truck.send_method_response(
        MethodResponse.create_from_method_request(request, 200)
    )
    truck.patch_twin_reported_properties({"state": "up"})
    for number in range(3):
        truck.send_message(message(number))
    before = hub.hub.registry.device("truck1")
    hub.stop()
    hub.start()
    after = hub.hub.registry.device("truck1")
    assert after == before
    assert after is not before
    truck.send_message(message(3))
    assert [(m.sequence, m.system["message_id"]) for m in hub.messages()] == [(n, f"truck1:7:{n}") for n in range(4)]
    assert hub.hub.journal.counts.by_device["truck1"]["vehicle_event"][:3] == (4, 7, 3)
    assert hub.call(hub.hub.devices.invoke, "truck1", "m", None, 20, 20).status == 200


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts hubs as processes; none outlives its test."""
    started: list[subprocess.Popen[str]] = []

    def begin(folder: Path, address: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "duco_workbench.local.hub", str(folder), "--address", address]
        started.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def _wait_up(process: subprocess.Popen[str]) -> None:
    assert process.stderr
    for line in process.stderr:
        if "is up" in line:
            return
    raise AssertionError(f"the hub ended with {process.wait()}")


def test_what_was_acknowledged_survives_kill_9(tmp_path: Path, client: Connect, start: Start) -> None:
    folder, address = tmp_path / "killed", free_address()
    with running_hub(folder, address) as hub:
        text = hub.add("truck1")
    process = start(folder, address)
    _wait_up(process)
    truck = client(text, server_verification_cert=(folder / "ca.pem").read_text(), connection_retry=False)
    for number in range(20):
        truck.send_message(message(number))
    process.kill()
    process.wait()
    with running_hub(folder, address) as hub:
        assert [m.system["message_id"] for m in hub.messages()] == [f"truck1:7:{n}" for n in range(20)]
        assert hub.hub.journal.counts.by_device["truck1"]["vehicle_event"][:3] == (20, 7, 19)


def test_the_process_ends_on_sigterm_and_says_in_a_sentence_what_it_cannot_do(tmp_path: Path, start: Start) -> None:
    address = free_address()
    running = start(tmp_path, address)
    _wait_up(running)
    _, said = start(tmp_path / "other", address).communicate(timeout=60)
    assert said.startswith("duco: the hub cannot listen for readers (AMQP) on ")
    assert "Address already in use; choose another address or port" in said
    assert "Traceback" not in said
    running.terminate()
    assert running.wait(30) == 0


async def test_a_hub_that_cannot_start_leaves_nothing_open(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"on 192\.0\.2\.1:5671: Cannot assign"):
        await Hub(prepare(tmp_path, "192.0.2.1")).start()
    address = free_address()
    with socket.create_server((address, 8883)), pytest.raises(ConfigError, match=r"devices \(MQTT\).*already in use"):
        await Hub(prepare(tmp_path, address)).start()
    async with Hub(prepare(tmp_path, address)):  # everything above was closed again
        with pytest.raises(ConfigError, match="another hub uses this folder"):
            await Hub(prepare(tmp_path, free_address())).start()

"""The local IoT Hub as services see it: the unmodified azure-iot-hub over REST, and plain HTTP for codes and faults."""

from __future__ import annotations

import json
import logging
import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from azure.iot.device import IoTHubDeviceClient, MethodResponse
from azure.iot.hub import IoTHubRegistryManager
from azure.iot.hub.models import CloudToDeviceMethod, QuerySpecification, Twin, TwinProperties
from hub_kit import HubThread, RawDevice, running_hub, until
from msrest.exceptions import HttpOperationError

from duco_workbench.iothub.sas import make_token

KEY = "c29tZSBrZXkgb2YgYSBkZXZpY2UgaW4gYSB0ZXN0ISE="
VERSION = {"api-version": "2021-04-12"}

pytestmark = pytest.mark.filterwarnings("ignore:ssl.PROTOCOL_TLSv1_2:DeprecationWarning")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubThread]:
    logging.getLogger("azure").setLevel(logging.CRITICAL)
    with running_hub(tmp_path) as found:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(found.identity.ca))
        yield found


@pytest.fixture
def manager(hub: HubThread) -> IoTHubRegistryManager:
    return IoTHubRegistryManager.from_connection_string(hub.identity.hub)


@pytest.fixture
def http(hub: HubThread) -> Iterator[httpx.Client]:
    """Requests with a good token."""
    host = f"{hub.identity.address}:{hub.identity.rest_port}"
    token = {"Authorization": make_token(host, hub.identity.key, "iothubowner")}
    trust = ssl.create_default_context(cafile=str(hub.identity.ca))
    with httpx.Client(
        base_url=f"https://{host}", verify=trust, headers=token, params=VERSION, trust_env=False
    ) as client:
        yield client


@pytest.fixture
def truck(hub: HubThread) -> Iterator[IoTHubDeviceClient]:
    """A device that answers methods with what it got, connected."""
    client = IoTHubDeviceClient.create_from_connection_string(
        hub.add("truck1", tags={"tenant": "demo"}), server_verification_cert=hub.ca_text
    )
    client.on_method_request_received = lambda request: client.send_method_response(
        MethodResponse.create_from_method_request(request, 200, {"got": request.payload})
    )
    client.connect()
    yield client
    client.shutdown()


def refusal(call: Callable[..., Any], *arguments: Any, **named: Any) -> tuple[int, str]:
    """HTTP status and ``Message`` of what the hub refused."""
    with pytest.raises(HttpOperationError) as refused:
        call(*arguments, **named)
    response = refused.value.response
    return response.status_code, response.json()["Message"]


def values(section: dict[str, Any]) -> dict[str, Any]:
    """Of a twin's section, without when it was changed."""
    return {name: value for name, value in section.items() if name != "$metadata"}


# -- identities


def test_a_device_is_made_changed_listed_and_deleted(hub: HubThread, manager: IoTHubRegistryManager) -> None:
    made = manager.create_device_with_sas("truck1", KEY, KEY, "enabled")
    assert (made.device_id, made.status, made.connection_state) == ("truck1", "enabled", "Disconnected")
    assert made.authentication.symmetric_key.primary_key == KEY
    changed = manager.update_device_with_sas("truck1", made.etag, KEY, KEY, "disabled")
    assert (changed.status, changed.generation_id) == ("disabled", made.generation_id)
    assert changed.etag != made.etag
    manager.create_device_with_sas("truck2", "", "", "enabled")
    assert [device.device_id for device in manager.get_devices()] == ["truck1", "truck2"]
    assert [device.device_id for device in manager.get_devices(1)] == ["truck1"]
    statistics = manager.get_device_registry_statistics()
    assert (statistics.total_device_count, statistics.enabled_device_count) == (2, 1)
    manager.delete_device("truck1")
    assert refusal(manager.get_device, "truck1")[0] == 404
    again = manager.create_device_with_sas("truck1", KEY, KEY, "enabled")
    assert again.generation_id != made.generation_id


def test_identities_are_refused_as_by_the_real_hub(hub: HubThread, manager: IoTHubRegistryManager) -> None:
    made = manager.create_device_with_sas("truck1", KEY, KEY, "enabled")
    status, text = refusal(manager.create_device_with_sas, "truck1", KEY, KEY, "enabled")
    assert (status, text.split(";")[0]) == (409, "ErrorCode:DeviceAlreadyExists")
    status, text = refusal(manager.get_device, "nobody")
    assert (status, text) == (404, "ErrorCode:DeviceNotFound;Device nobody not registered")
    manager.update_device_with_sas("truck1", made.etag, KEY, KEY, "enabled")
    assert refusal(manager.update_device_with_sas, "truck1", made.etag, KEY, KEY, "enabled")[0] == 412
    assert refusal(manager.delete_device, "truck1", made.etag)[0] == 412
    assert refusal(manager.create_device_with_sas, "a b", KEY, KEY, "enabled")[0] == 400
    assert refusal(manager.create_device_with_sas, "truck3", "no base64", KEY, "enabled")[0] == 400


def test_a_disabled_or_deleted_device_is_cut_off(hub: HubThread, manager: IoTHubRegistryManager) -> None:
    for end in (
        lambda name: manager.update_device_with_sas(name, "*", None, None, "disabled"),
        lambda name: manager.update_device_with_sas(name, "*", KEY, KEY, "enabled"),
        lambda name: manager.delete_device(name),
    ):
        name = f"raw{len(manager.get_devices())}"
        device = RawDevice(hub, hub.add(name))
        assert device.connect() == 0
        until(lambda name=name: manager.get_device(name).connection_state == "Connected", "it is connected")
        end(name)
        assert device.receive() == (0, b"")


@pytest.mark.parametrize("wrong", ["key", "policy"])
def test_a_wrong_service_token_is_refused(hub: HubThread, wrong: str) -> None:
    replaced = {"key": (hub.identity.key, KEY), "policy": ("iothubowner", "someone")}[wrong]
    manager = IoTHubRegistryManager.from_connection_string(hub.identity.hub.replace(*replaced))
    status, text = refusal(manager.get_devices)
    assert (status, text.split(";")[0]) == (401, "ErrorCode:IotHubUnauthorizedAccess")


# -- twins


def test_a_twin_is_patched_replaced_and_told_to_the_device(
    manager: IoTHubRegistryManager, truck: IoTHubDeviceClient
) -> None:
    heard: list[Any] = []
    before = datetime.now(UTC)
    truck.on_twin_desired_properties_patch_received = heard.append
    truck.patch_twin_reported_properties({"state": "up"})
    first = manager.get_twin("truck1")
    assert (first.tags, first.properties.reported["state"]) == ({"tenant": "demo"}, "up")
    reported = datetime.fromisoformat(first.properties.reported["$metadata"]["$lastUpdated"])
    assert all(before <= at <= datetime.now(UTC) for at in (reported, first.last_activity_time))
    assert first.properties.desired["$metadata"]["$lastUpdated"].startswith("0001-01-01")
    second = manager.update_twin("truck1", Twin(properties=TwinProperties(desired={"a": {"b": 1, "c": 2}})), first.etag)
    assert second.version == first.version + 1
    assert second.etag != first.etag
    third = manager.update_twin(
        "truck1", Twin(tags={"site": "x", "tenant": None}, properties=TwinProperties(desired={"a": {"b": None}})), "*"
    )
    assert third.tags == {"site": "x"}
    assert values(third.properties.desired) == {"a": {"c": 2}, "$version": 3}
    whole = {**third.properties.desired, "a": None, "z": [1, "two"]}  # the hub's own marks come back with it
    fourth = manager.replace_twin("truck1", Twin(properties=TwinProperties(desired=whole)), "*")
    assert values(fourth.properties.desired) == {"z": [1, "two"], "$version": 4}
    assert fourth.tags == {"site": "x"}
    until(lambda: len(heard) == 3, "the patches")
    assert heard == [
        {"a": {"b": 1, "c": 2}, "$version": 2},
        {"a": {"b": None}, "$version": 3},
        {"a": None, "z": [1, "two"], "$version": 4},
    ]
    assert truck.get_twin()["desired"] == {"z": [1, "two"], "$version": 4}


def test_a_twin_that_is_not_allowed_changes_nothing(hub: HubThread, manager: IoTHubRegistryManager) -> None:
    hub.add("truck1")
    before = manager.get_twin("truck1")

    def desired(value: Any, etag: str = "*") -> tuple[int, str]:
        return refusal(manager.update_twin, "truck1", Twin(properties=TwinProperties(desired=value)), etag)

    assert desired({"a.b": 1})[0] == 400
    assert desired({"a": "x" * 5000})[0] == 400
    assert desired({f"k{n}": "x" * 4000 for n in range(10)})[0] == 400
    assert desired({"a": 1}, "AAAAAAAAAAk=")[0] == 412
    assert refusal(manager.get_twin, "nobody")[0] == 404
    after = manager.get_twin("truck1")
    assert (after.etag, after.version, values(after.properties.desired)) == (
        before.etag,
        before.version,
        {"$version": 1},
    )


def test_twins_are_queried_page_by_page(hub: HubThread, manager: IoTHubRegistryManager) -> None:
    for number in range(5):
        hub.add(f"truck{number}", tags={"number": number})
    everything, found, token = QuerySpecification(query="SELECT * FROM devices"), [], None
    for expected in (2, 2, 1):
        page = manager.query_iot_hub(everything, token, 2)
        assert (page.type, len(page.items)) == ("Twin", expected)
        found += page.items
        token = page.continuation_token
    assert token is None
    assert [twin.tags["number"] for twin in found] == [0, 1, 2, 3, 4]
    other = QuerySpecification(query="SELECT deviceId FROM devices WHERE tags.number > 2")
    status, text = refusal(manager.query_iot_hub, other)
    assert status == 400
    assert "SELECT * FROM devices only" in text


# -- methods


def test_a_method_reaches_the_device_and_its_answer_comes_back(
    manager: IoTHubRegistryManager, truck: IoTHubDeviceClient
) -> None:
    method = CloudToDeviceMethod(
        method_name="setRealTimeUpload", payload={"action": "start"}, connect_timeout_in_seconds=20
    )
    answer = manager.invoke_device_method("truck1", method)
    assert (answer.status, answer.payload) == (200, {"got": {"action": "start"}})
    assert manager.get_service_statistics().connected_device_count == 1


def test_methods_are_refused_with_the_codes_of_the_real_hub(hub: HubThread, manager: IoTHubRegistryManager) -> None:
    def invoke(device_id: str, response_s: int = 5) -> tuple[int, Any]:
        method = CloudToDeviceMethod(method_name="m", payload=None, response_timeout_in_seconds=response_s)
        status, text = refusal(manager.invoke_device_method, device_id, method)
        return status, json.loads(text) if text.startswith("{") else text

    assert invoke("nobody")[0] == 404
    device = RawDevice(hub, hub.add("raw1"))
    status, offline = invoke("raw1")
    assert (status, offline["errorCode"], offline["info"]) == (404, 404103, {"timeout": "00:00:00"})
    device.connect()
    device.subscribe("$iothub/methods/POST/#")
    status, silent = invoke("raw1")
    assert (status, silent["errorCode"]) == (504, 504101)
    assert silent["message"] == "Timed out waiting for the response from device."
    assert invoke("raw1", response_s=1)[0] == 400


# -- ours, and plain HTTP


def test_the_status_says_what_the_hub_has(hub: HubThread, http: httpx.Client) -> None:
    device = RawDevice(hub, hub.add("raw1"))
    device.connect()
    for number, msg_type in enumerate(["vehicle_can", "vehicle_can", "vehicle_log", "of mine"], 1):
        device.tell(b"{}", packet_id=number, bag=f"%24.mid=raw1%3a9%3a{number}&msgType={msg_type}")
        assert device.receive()[0] == 0x40
    status = http.get("/duco/status").raise_for_status().json()
    raw1 = status["devices"]["raw1"]
    assert (raw1["registered"], raw1["connected"]) == (True, True)
    assert {name: (m["taken"], m["epoch"], m["seq"]) for name, m in raw1["messages"].items()} == {
        "vehicle_can": (2, 9, 2),
        "vehicle_log": (1, 9, 3),
        "other": (1, 9, 4),
    }
    assert sorted(partition["last"] for partition in status["partitions"]) == [-1, -1, -1, 3]
    assert raw1["messages"]["other"]["enqueued"] == hub.messages()[-1].enqueued


def test_faults_are_switched_over_rest(hub: HubThread, http: httpx.Client) -> None:
    hub.add("truck1")
    assert http.get("/devices/truck1").status_code == 200
    http.post("/duco/faults", json={"fault": "throttle", "seconds": 60}).raise_for_status()
    throttled = http.get("/devices/truck1")
    assert throttled.status_code == 429
    assert throttled.json()["Message"].startswith("ErrorCode:ThrottlingException")
    http.post("/duco/faults", json={"fault": "drop_puback", "device": "truck1", "count": 3}).raise_for_status()
    active = {fault["fault"]: fault for fault in http.get("/duco/faults").raise_for_status().json()}
    assert active["drop_puback"] == {"fault": "drop_puback", "device": "truck1", "count": 3}
    assert 0 < active["throttle"]["seconds"] <= 60
    http.delete("/duco/faults").raise_for_status()
    assert http.get("/duco/faults").json() == []
    assert http.get("/devices/truck1").status_code == 200
    device = RawDevice(hub, hub.add("raw1"))
    device.connect()
    http.post("/duco/faults", json={"fault": "kick", "device": "raw1"}).raise_for_status()
    assert device.receive() == (0, b"")
    wrong = http.post("/duco/faults", json={"fault": "earthquake"})
    assert wrong.status_code == 400
    assert "drop_puback with count" in wrong.json()["Message"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"[]", 400),
        (b'{"status": "broken"}', 400),
        (b'{"deviceId": "x"}', 400),
        (b'"' + b"x" * 300_000, 413),
    ],
)
def test_a_body_that_cannot_be_used_is_refused(http: httpx.Client, body: bytes, status: int) -> None:
    assert http.put("/devices/truck1", content=body).status_code == status


def test_without_a_token_nothing_is_answered(hub: HubThread, http: httpx.Client) -> None:
    for path in ("/devices", "/duco/status", "/duco/faults", "/twins/x"):
        assert http.get(path, headers={"Authorization": ""}).status_code == 401
        expired = make_token(http.base_url.netloc.decode(), hub.identity.key, "iothubowner", ttl_s=-5)
        assert http.get(path, headers={"Authorization": expired}).status_code == 401
        elsewhere = make_token("other.example.com", hub.identity.key, "iothubowner")
        assert http.get(path, headers={"Authorization": elsewhere}).status_code == 401

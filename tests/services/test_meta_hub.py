"""Twins and direct methods through the meta API: its process, a local hub, and machines of azure-iot-device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from azure.iot.device import IoTHubDeviceClient, MethodResponse
from hub_kit import HubThread, RawDevice, free_address, running_hub, until
from meta_kit import running_meta

from duco_workbench.catalog.client import CatalogClient
from duco_workbench.errors import ConfigError, ServiceError

MANY = 60  # more than the threads that the meta API's other paths share
METHODS = "$iothub/methods/POST/#"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubThread]:
    with running_hub(tmp_path_factory.mktemp("hub"), free_address(17)) as running:
        yield running


@pytest.fixture(scope="module")
def url(hub: HubThread, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_meta(tmp_path_factory.mktemp("meta"), hub=hub.identity.hub, hub_ca=str(hub.identity.ca)) as address:
        yield address


@pytest.fixture
def client(url: str) -> Iterator[CatalogClient]:
    with CatalogClient(url) as opened:
        yield opened


@pytest.fixture
def machine(hub: HubThread) -> Iterator[Callable[..., IoTHubDeviceClient]]:
    """A new device of the hub, connected, that answers methods with a status and the payload it got."""
    clients = []

    def connected(name: str, status: int = 200, asked: list[Any] | None = None) -> IoTHubDeviceClient:
        def answer(request: Any) -> None:
            if asked is not None:
                asked.append(request)
            client.send_method_response(
                MethodResponse.create_from_method_request(request, status, {"got": request.payload})
            )

        text = hub.add(name, tags={"tenant": "demo"})
        client = IoTHubDeviceClient.create_from_connection_string(text, server_verification_cert=hub.ca_text)
        clients.append(client)
        client.connect()
        client.on_method_request_received = answer
        return client

    yield connected
    for client in clients:
        client.shutdown()


def test_realtime_is_started_and_stopped(client: CatalogClient, machine: Callable[..., IoTHubDeviceClient]) -> None:
    asked: list[Any] = []
    machine("realtime-1", asked=asked)
    for on, action in ((True, "start"), (False, "stop")):
        answer = client.set_realtime("realtime-1", on, "user_action")
        request = asked.pop()
        assert answer == {"status": 200, "payload": {"got": request.payload}}
        assert request.name == "setRealTimeUpload"
        UUID(request.payload.pop("commandId"))
        assert request.payload == {"action": action, "reason": "user_action"}


def test_other_methods_are_passed_on(url: str, machine: Callable[..., IoTHubDeviceClient]) -> None:
    """The machine's own status is in the answer: HTTP's is the hub's."""
    asked: list[Any] = []
    machine("other-1", status=404, asked=asked)
    body = {"methodName": "restart", "payload": {"part": ["agent", None, 1.5]}}
    answer = httpx.post(f"{url}/api/iothubs/ducohub/devices/other-1/methods", json=body, trust_env=False)
    assert (answer.status_code, answer.json()) == (200, {"status": 404, "payload": {"got": body["payload"]}})
    assert asked[0].name == "restart"


def test_a_machine_that_refuses(client: CatalogClient, machine: Callable[..., IoTHubDeviceClient]) -> None:
    machine("refusing-1", status=400)
    with pytest.raises(ServiceError, match=r"refusing-1 refused setRealTimeUpload \(400\)"):
        client.set_realtime("refusing-1", True)


def test_a_machine_that_is_offline(hub: HubThread, url: str, client: CatalogClient) -> None:
    hub.add("offline-1", tags={"tenant": "demo"})
    with pytest.raises(ServiceError, match="offline-1 is not connected"):
        client.set_realtime("offline-1", True)
    body = {"methodName": "any"}
    answer = httpx.post(f"{url}/api/iothubs/ducohub/devices/offline-1/methods", json=body, trust_env=False)
    assert answer.status_code == 504


def test_a_machine_that_nobody_registered(client: CatalogClient) -> None:
    with pytest.raises(ConfigError, match="no device 'nobody'"):
        client.set_realtime("nobody", True)
    with pytest.raises(ConfigError, match="no device 'nobody'"):
        client.twin("nobody")
    with pytest.raises(ConfigError, match="no device 'nobody'"):
        client.patch_twin("nobody", tags={"tenant": "demo"})


def test_the_twin_both_ways(url: str, client: CatalogClient, machine: Callable[..., IoTHubDeviceClient]) -> None:
    told: list[Any] = []
    truck = machine("twin-1")
    truck.on_twin_desired_properties_patch_received = told.append
    truck.patch_twin_reported_properties({"agent": {"state": "running"}})
    assert client.twin("twin-1")["properties"]["reported"]["agent"] == {"state": "running"}
    twin = client.patch_twin("twin-1", desired={"seal": {"normal": 10}}, tags={"site": "quarry"})
    assert twin["tags"] == {"tenant": "demo", "site": "quarry"}
    assert client.twin("twin-1") == twin
    until(lambda: told, "the machine is told")
    assert told[0]["seal"] == {"normal": 10}
    client.patch_twin("twin-1", desired={"seal": None}, tags={"site": None})
    twin = client.twin("twin-1")
    assert (twin["tags"], "seal" in twin["properties"]["desired"]) == ({"tenant": "demo"}, False)
    with pytest.raises(ConfigError, match="no dot"):
        client.patch_twin("twin-1", desired={"a.b": 1})
    devices = httpx.get(f"{url}/api/iothubs/ducohub/devices", trust_env=False).json()
    (device,) = [device for device in devices if device["chassis_id"] == "twin-1"]
    assert (device["tenant"], device["connected"]) == ("demo", True)


def test_slow_machines_hold_up_nothing(
    hub: HubThread, url: str, client: CatalogClient, machine: Callable[..., IoTHubDeviceClient]
) -> None:
    """Many callers wait for a machine that never answers: the catalog, twins and another machine go on."""
    machine("quick-1")
    silent = RawDevice(hub, hub.add("silent-1", tags={"tenant": "demo"}))
    silent.connect()
    silent.subscribe(METHODS)
    with ThreadPoolExecutor(MANY) as pool:
        waiting = [pool.submit(_start, url, "silent-1") for _ in range(MANY)]
        for _ in waiting:
            assert silent.receive()[0] >> 4 == 3  # each has reached the machine
        assert client.set_realtime("quick-1", True)["status"] == 200
        assert client.twin("silent-1")["deviceId"] == "silent-1"
        client.ensure_device("demo", "silent-1")
        assert not any(call.done() for call in waiting)
        silent.close()
        _check_given_up(waiting)


def _start(url: str, name: str) -> httpx.Response:
    payload = {"action": "start", "reason": "user_action", "commandId": "5f0c2f4e-1a51-4d1f-9a57-0d2a8c9b7e11"}
    body = {"methodName": "setRealTimeUpload", "payload": payload}
    path = f"{url}/api/iothubs/ducohub/devices/{name}/methods"
    return httpx.post(path, json=body, timeout=60, trust_env=False)


def _check_given_up(waiting: list[Future[httpx.Response]]) -> None:
    for call in waiting:
        answer = call.result()
        assert answer.status_code == 504
        assert "silent-1 was asked and gave no answer" in answer.json()["detail"]


def test_a_hub_that_is_away(tmp_path: Path) -> None:
    """The catalog needs no hub, and the way to the machines is there again when the hub is."""
    with running_hub(tmp_path / "hub", free_address(17)) as hub:
        hub.add("m1", tags={"tenant": "demo"})
        hub.stop()
        with (
            running_meta(tmp_path, hub=hub.identity.hub, hub_ca=str(hub.identity.ca)) as url,
            CatalogClient(url) as client,
        ):
            client.ensure_device("demo", "m1")
            with pytest.raises(ServiceError, match=r"IoT hub at .* is it running\?"):
                client.set_realtime("m1", True)
            assert _start(url, "m1").status_code == 503
            hub.start()
            assert client.twin("m1")["tags"] == {"tenant": "demo"}


def test_a_hub_that_refuses_our_key(hub: HubThread, tmp_path: Path) -> None:
    """Nothing the caller did wrong: 503, and a sentence for who runs this."""
    wrong = hub.identity.hub.replace(hub.identity.key, "Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA=")
    with running_meta(tmp_path, hub=wrong, hub_ca=str(hub.identity.ca)) as url:
        answer = _start(url, "m1")
        assert answer.status_code == 503
        assert "DUCO_HUB" in answer.json()["detail"]

"""HubService and the real local hub; machines are azure-iot-device's clients, and its registry is a second opinion."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import trustme
from azure.iot.device import IoTHubDeviceClient, MethodResponse
from azure.iot.hub import IoTHubRegistryManager
from hub_kit import HubThread, free_address, running_hub, until

from duco_workbench.errors import ConfigError, ServiceError
from duco_workbench.iothub.devices import connection_string_of, ensure_device, listed
from duco_workbench.iothub.service import (
    PAGE,
    DeviceExists,
    DeviceOffline,
    HubRefused,
    HubService,
    MethodTimeout,
    UnknownDevice,
)

KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
OTHER_KEY = "Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA="


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubThread]:
    with running_hub(tmp_path_factory.mktemp("hub"), free_address(17)) as running:
        yield running


@pytest.fixture(scope="module")
def service(hub: HubThread) -> Iterator[HubService]:
    with HubService(hub.identity.hub, str(hub.identity.ca)) as opened:
        yield opened


@pytest.fixture
def connect(hub: HubThread) -> Iterator[Callable[[str], IoTHubDeviceClient]]:
    """A machine of a connection string, connected."""
    clients = []

    def connected(text: str) -> IoTHubDeviceClient:
        client = IoTHubDeviceClient.create_from_connection_string(text, server_verification_cert=hub.ca_text)
        clients.append(client)
        client.connect()
        return client

    yield connected
    for client in clients:
        client.shutdown()


def _answering(client: IoTHubDeviceClient, status: int = 200) -> list[Any]:
    """Have the machine answer any method with what it was asked; returns the requests as they come."""
    asked: list[Any] = []

    def answer(request: Any) -> None:
        asked.append(request)
        said = {"name": request.name, "asked": request.payload}
        client.send_method_response(MethodResponse.create_from_method_request(request, status, said))

    client.on_method_request_received = answer
    return asked


def test_a_device_from_its_making_to_its_end(
    hub: HubThread, service: HubService, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = service.create_device("life-1", key=KEY, tags={"tenant": "demo"})
    assert made["authentication"]["symmetricKey"]["primaryKey"] == KEY
    assert service.device("life-1")["generationId"] == made["generationId"]
    assert "life-1" in {device["deviceId"] for device in service.devices()}
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(hub.identity.ca))
    registry = IoTHubRegistryManager.from_connection_string(hub.identity.hub)
    assert registry.get_device("life-1").authentication.symmetric_key.primary_key == KEY
    assert registry.get_twin("life-1").tags == {"tenant": "demo"}
    with pytest.raises(DeviceExists, match="life-1"):
        service.create_device("life-1")
    service.delete_device("life-1")
    for gone in (service.device, service.twin, service.delete_device):
        with pytest.raises(UnknownDevice, match="no device 'life-1'"):
            gone("life-1")
    with pytest.raises(UnknownDevice):
        service.invoke("life-1", "any")


def test_what_the_hub_refuses_is_its_sentence(service: HubService) -> None:
    with pytest.raises(ConfigError, match="refused"):
        service.create_device("no space")
    service.create_device("refusing")
    with pytest.raises(ConfigError, match="no dot"):
        service.patch_twin("refusing", tags={"a.b": 1})
    with pytest.raises(ConfigError, match="refused"):
        service.invoke("refusing", "any", response_s=1)


def test_names_that_need_quoting(service: HubService) -> None:
    name = "a:b=c,d%2F$'(1)!?#@;*"
    service.create_device(name, tags={"tenant": "demo"})
    assert service.twin(name)["tags"] == {"tenant": "demo"}
    service.delete_device(name)
    with pytest.raises(UnknownDevice):
        service.device(name)


def test_the_twins_of_more_devices_than_a_page_has(hub: HubThread, service: HubService) -> None:
    names = [f"paged-{n:03}" for n in range(2 * PAGE + 1)]
    for name in names:
        hub.call(hub.hub.registry.create, name)
    assert len(service.call("GET", "/devices?top=7")) == 7
    found = [twin["deviceId"] for twin in service.twins()]
    assert len(found) == len(set(found)) > 2 * PAGE
    assert set(names) <= set(found)
    assert [device.chassis_id for device in listed(service)] == sorted(found)


def test_what_a_machine_reports_and_what_it_is_told(
    service: HubService, connect: Callable[[str], IoTHubDeviceClient]
) -> None:
    machine = connect(ensure_device(service, "twin-1", "demo"))
    told: list[Any] = []
    machine.on_twin_desired_properties_patch_received = told.append
    machine.patch_twin_reported_properties({"agent": {"state": "running"}, "queue": {"depth": 3}})
    assert service.twin("twin-1")["properties"]["reported"]["agent"] == {"state": "running"}
    service.patch_twin("twin-1", desired={"seal": {"normal": 10, "realtime": 1}})
    twin = service.patch_twin("twin-1", desired={"seal": {"realtime": None}}, tags={"site": "quarry"})
    assert twin["properties"]["desired"]["seal"] == {"normal": 10}
    assert twin["tags"] == {"tenant": "demo", "site": "quarry"}
    until(lambda: len(told) == 2, "the machine is told")
    assert [patch["seal"] for patch in told] == [{"normal": 10, "realtime": 1}, {"realtime": None}]
    (device,) = [device for device in listed(service) if device.chassis_id == "twin-1"]
    assert (device.tenant, device.connected) == ("demo", True)
    assert device.last_activity


def test_a_method_and_its_answer(service: HubService, connect: Callable[[str], IoTHubDeviceClient]) -> None:
    machine = connect(ensure_device(service, "method-1", "demo"))
    asked = _answering(machine, 207)
    for payload in ({"action": "start", "n": [1, 2.5, None, "é"]}, None, "text", 0):
        status, answer = service.invoke("method-1", "do it/now?", payload)
        assert (status, answer) == (207, {"name": "do it/now?", "asked": payload})
    assert len(asked) == 4


def test_a_machine_that_is_offline_is_not_asked(
    service: HubService, connect: Callable[[str], IoTHubDeviceClient]
) -> None:
    text = ensure_device(service, "offline-1", "demo")
    with pytest.raises(DeviceOffline, match="offline-1 is not connected"):
        service.invoke("offline-1", "any")
    connect(text)  # it takes no methods
    with pytest.raises(DeviceOffline):
        service.invoke("offline-1", "any")


def test_a_machine_may_come_while_one_waits(service: HubService, connect: Callable[[str], IoTHubDeviceClient]) -> None:
    text = ensure_device(service, "late-1", "demo")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(service.invoke, "late-1", "any", connect_s=30)
        _answering(connect(text))
        assert waiting.result()[0] == 200


def test_a_slow_machine_holds_up_no_other(service: HubService, connect: Callable[[str], IoTHubDeviceClient]) -> None:
    slow = connect(ensure_device(service, "slow-1", "demo"))
    slow.on_method_request_received = lambda request: None
    _answering(connect(ensure_device(service, "quick-1", "demo")))
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(service.invoke, "slow-1", "any", response_s=5)
        assert service.invoke("quick-1", "any")[0] == 200
        assert not waiting.done()
        with pytest.raises(MethodTimeout, match="slow-1 was asked"):
            waiting.result()


def test_ensuring_a_device(hub: HubThread, service: HubService, connect: Callable[[str], IoTHubDeviceClient]) -> None:
    text = ensure_device(service, "ensured-1", "demo")
    assert text == connection_string_of(service, service.device("ensured-1"))
    assert text.startswith(f"HostName={hub.identity.address};DeviceId=ensured-1;SharedAccessKey=")
    connect(text).send_message("{}")
    (message,) = hub.messages("ensured-1")
    assert message.properties["tenant"] == "demo"
    assert ensure_device(service, "ensured-1", "demo") == text
    version = service.twin("ensured-1")["version"]
    assert ensure_device(service, "ensured-1", "other") == text  # the key stays, the tag is changed
    assert service.twin("ensured-1")["tags"] == {"tenant": "other"}
    ensure_device(service, "ensured-1", "other")
    assert service.twin("ensured-1")["version"] == version + 1  # what is right is not written again
    service.create_device("ensured-2")  # left without its tag, as by a process that died in between
    ensure_device(service, "ensured-2", "demo")
    assert service.twin("ensured-2")["tags"] == {"tenant": "demo"}


def test_many_at_once_ensure_one_device(service: HubService) -> None:
    together = threading.Barrier(8)

    def ensure(_: int) -> str:
        together.wait()
        return ensure_device(service, "ensured-by-many", "demo")

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(ensure, range(8)))) == 1


def test_a_wrong_key_and_a_wrong_policy(hub: HubThread) -> None:
    right = hub.identity.hub
    for wrong in (right.replace(hub.identity.key, OTHER_KEY), right.replace("iothubowner", "nobody")):
        with (
            HubService(wrong, str(hub.identity.ca)) as refused,
            pytest.raises(HubRefused, match="refuses the key or policy of DUCO_HUB"),
        ):
            refused.devices()


def test_a_wrong_authority(hub: HubThread, tmp_path: Path) -> None:
    (tmp_path / "other.pem").write_bytes(trustme.CA().cert_pem.bytes())
    for ca in (str(tmp_path / "other.pem"), ""):
        with HubService(hub.identity.hub, ca) as service, pytest.raises(HubRefused, match="DUCO_HUB_CA"):
            service.devices()


def test_a_hub_that_goes_away_and_comes_back(tmp_path: Path) -> None:
    with (
        running_hub(tmp_path, free_address(17)) as hub,
        HubService(hub.identity.hub, str(hub.identity.ca)) as service,
    ):
        service.create_device("m1", tags={"tenant": "demo"})
        hub.stop()
        for _ in range(2):
            with pytest.raises(ServiceError, match=rf"{hub.identity.address}:8443 .*running\?"):
                service.twin("m1")
        hub.start()
        assert service.twin("m1")["tags"] == {"tenant": "demo"}
        hub.faults.throttle(60)
        with pytest.raises(ServiceError, match=r"429; try again later: .*Too many"):
            service.twin("m1")
        hub.faults.clear()
        assert service.call("GET", "/duco/status")["devices"]["m1"]["registered"] is True

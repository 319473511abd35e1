"""The service side of an IoT hub where no hub is needed: settings, tokens, and what Azure's refusals mean to us."""

from __future__ import annotations

import json
import time
from pathlib import Path

import httpx
import pytest

from duco_workbench.errors import ConfigError, DucoError, ServiceError
from duco_workbench.iothub.devices import connection_string_of, describe
from duco_workbench.iothub.sas import token_fields
from duco_workbench.iothub.service import (
    DeviceExists,
    DeviceOffline,
    HubRefused,
    HubService,
    MethodTimeout,
    UnknownDevice,
    refusal,
)

HUB = "HostName=hub.example:8443;SharedAccessKeyName=iothubowner;SharedAccessKey=c2VjcmV0"


def _nested(code: int, message: str) -> str:
    """As Azure writes what goes wrong with a method: JSON as a text within JSON."""
    return json.dumps({"Message": json.dumps({"errorCode": code, "message": message, "info": {}})})


@pytest.mark.parametrize(
    ("status", "body", "kind", "said"),
    [
        (404, _nested(404103, "the device isn't online"), DeviceOffline, "m/1 is not connected.*isn't online"),
        (404, _nested(404104, "Device connection closed"), MethodTimeout, "m/1 was asked .*connection closed"),
        (404, _nested(404001, "Device not registered"), UnknownDevice, "Device not registered"),
        (404, '{"Message":"ErrorCode:DeviceNotFound;Device m1 not registered"}', UnknownDevice, "m1 not registered"),
        (404, '{"errorCode":404001,"trackingId":"x","message":"m1 not found"}', UnknownDevice, "m1 not found"),
        (404, '{"errorCode":404103,"trackingId":"x","message":"m1 is away"}', DeviceOffline, "m1 is away"),
        (504, _nested(504101, "Timed out waiting for the response"), MethodTimeout, "may have done it"),
        (504, "<html>Gateway Time-out</html>", ServiceError, "Gateway Time-out"),
        (401, '{"Message":"ErrorCode:IotHubUnauthorizedAccess;Unauthorized"}', HubRefused, "DUCO_HUB"),
        (409, '{"Message":"ErrorCode:DeviceAlreadyExists;m1"}', DeviceExists, "m1"),
        (429, '{"Message":"ErrorCode:ThrottlingException;100 a minute"}', ServiceError, "429; .*100 a minute"),
        (403, '{"Message":"ErrorCode:IotHubQuotaExceeded;8000"}', ServiceError, "QuotaExceeded"),
        (400, '{"Message":"ErrorCode:ArgumentInvalid;bad tag"}', ConfigError, "bad tag"),
        (500, '{"Message":null}', ServiceError, "500"),
        (503, "", ServiceError, "Service Unavailable"),
        (500, "[1]", ServiceError, "500"),
        (500, '{"Message":"{}"}', ServiceError, "500"),
        (500, '{"Message":"[1]"}', ServiceError, "500"),
    ],
)
def test_what_a_refusal_means(status: int, body: str, kind: type[DucoError], said: str) -> None:
    with pytest.raises(kind, match=said) as raised:
        raise refusal("hub.example", "/twins/m%2F1/methods", httpx.Response(status, text=body))
    assert raised.type is kind
    assert "\n" not in str(raised.value)


def test_a_path_that_a_hub_has_not() -> None:
    """Azure has nothing of what the local hub has besides."""
    with pytest.raises(ConfigError, match=r"hub\.example refused /duco/status") as raised:
        raise refusal("hub.example", "/duco/status", httpx.Response(404, text=""))
    assert raised.type is ConfigError


@pytest.mark.parametrize(
    ("connection_string", "said"),
    [
        ("", "DUCO_HUB is not set"),
        ("HostName=h", "DUCO_HUB: the connection string lacks SharedAccessKeyName, SharedAccessKey"),
        (HUB.replace("8443", "eight"), "DUCO_HUB: HostName=hub.example:eight is no host"),
        (HUB.replace("c2VjcmV0", "secret!"), "DUCO_HUB: SharedAccessKey is no base64"),
    ],
)
def test_a_wrong_connection_string(connection_string: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        HubService(connection_string)


def test_a_wrong_authority(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("nothing")
    for ca in (str(tmp_path / "none.pem"), str(tmp_path / "empty.pem"), str(tmp_path)):
        with pytest.raises(ConfigError, match="DUCO_HUB_CA"):
            HubService(HUB, ca)


def test_a_token_is_made_anew_before_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    with HubService(HUB) as hub:
        now = 1_700_000_000.0
        monkeypatch.setattr(time, "time", lambda: now)
        first = hub._authorization()
        fields = token_fields(first)
        assert (fields["sr"], fields["skn"]) == ("hub.example%3A8443", "iothubowner")
        lives = int(fields["se"]) - now
        now += lives - 400
        assert hub._authorization() == first
        now += 200  # a call may wait for its device as long as what is left
        second = hub._authorization()
        assert int(token_fields(second)["se"]) == now + lives
        now -= 86400  # the clock was a day ahead: to the hub the token would be good for too long, not too short
        assert int(token_fields(hub._authorization())["se"]) == now + lives


def test_a_hub_that_nobody_runs() -> None:
    with HubService(HUB.replace("hub.example:8443", "127.0.0.1:9")) as hub:
        with pytest.raises(ServiceError, match=r"IoT hub at 127\.0\.0\.1:9 does not answer .* is it running\?"):
            hub.twin("m1")
        for wrong in (float("nan"), "\ud800"):
            with pytest.raises(ConfigError, match="no JSON"):
                hub.invoke("m1", "any", wrong)


def test_a_device_that_shows_a_certificate_has_no_connection_string() -> None:
    with HubService(HUB) as hub:
        device = {"deviceId": "m1", "authentication": {"type": "selfSigned", "symmetricKey": {"primaryKey": None}}}
        with pytest.raises(ConfigError, match="m1 has no key"):
            connection_string_of(hub, device)
        device["authentication"] = {"type": "sas", "symmetricKey": {"primaryKey": "YQ=="}}
        assert connection_string_of(hub, device) == "HostName=hub.example;DeviceId=m1;SharedAccessKey=YQ=="
    with HubService(HUB.replace(":8443", "")) as azure:
        assert connection_string_of(azure, device) == "HostName=hub.example;DeviceId=m1;SharedAccessKey=YQ=="


def test_what_a_twin_says() -> None:
    """Azure's times have seven digits; a device that was never there has one of the year 1."""
    bare = {"$metadata": {"$lastUpdated": "2024-03-14T09:54:49.6536567Z"}, "$version": 1}
    twin = {
        "deviceId": "m1",
        "connectionState": "Disconnected",
        "lastActivityTime": "0001-01-01T00:00:00Z",
        "tags": {"tenant": 7},
        "properties": {"desired": bare, "reported": bare},
    }
    found = describe(twin)
    assert (found.tenant, found.connected, found.last_activity, found.last_reported) == ("", False, None, None)
    reported = {**bare, "agent": {"state": "running"}}
    twin |= {
        "connectionState": "Connected",
        "lastActivityTime": "2024-03-14T10:54:49.653656",
        "tags": {"tenant": "demo"},
        "properties": {"reported": reported},
    }
    found = describe(twin)
    assert (found.tenant, found.connected) == ("demo", True)
    assert (found.last_activity, found.last_reported) == (1_710_413_689_653_656, 1_710_410_089_653_656)

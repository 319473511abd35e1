"""Shared access signatures: ours are what Azure's SDKs make, theirs are good to us, and anything else is refused."""

from __future__ import annotations

import base64
import time

import pytest
from azure.eventhub._pyamqp.utils import generate_sas_token as event_hubs_token
from azure.iot.device.common.auth import sastoken as device_sdk
from azure.iot.device.common.auth.signing_mechanism import SymmetricKeySigningMechanism
from azure.iot.hub.sastoken import SasToken as ServiceToken

from duco_workbench.errors import ConfigError
from duco_workbench.iothub.sas import check_token, make_token, parse_connection_string, token_fields

KEY = base64.b64encode(bytes(range(32))).decode()
RAW = base64.b64decode(KEY)
OTHER = base64.b64encode(b"another key, of another machine!").decode()
DEVICE = "127.0.0.1/devices/Öl pump+1%/2"  # nothing that quoting could leave alone
HOST = "127.0.0.1:8443"


def _of_the_device_sdk(key: str = KEY, resource: str = DEVICE, ttl: int = 3600) -> str:
    return str(device_sdk.RenewableSasToken(resource, SymmetricKeySigningMechanism(key), ttl=ttl))


def test_a_devices_token_is_the_sdks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_700_000_000.5)
    assert make_token(DEVICE, KEY) == _of_the_device_sdk()


def test_a_services_token_says_what_the_sdks_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Theirs leaves a slash in the signature unquoted, so the fields are compared."""
    monkeypatch.setattr(time, "time", lambda: 1_700_000_000.5)
    ours, theirs = make_token(HOST, KEY, "iothubowner"), str(ServiceToken(HOST, KEY, "iothubowner"))
    assert device_sdk.get_sastoken_info_from_string(ours)["se"] == "1700003600"
    assert ours.replace("%2F", "/") == theirs.replace("%2F", "/")


def test_the_sdks_tokens_are_good() -> None:
    assert check_token(_of_the_device_sdk(), DEVICE, RAW) is None
    assert check_token(str(ServiceToken(HOST, KEY, "service")), HOST, RAW, "service") is None
    # Event Hubs signs with the key's text, and quotes otherwise.
    resource = "sb://127.0.0.1/duco-hub"
    token = event_hubs_token(resource, "service", KEY)
    assert check_token(token, resource, KEY.encode(), "service") is None


@pytest.mark.parametrize("length", range(28, 37))
def test_every_signature_survives_its_quoting(length: int) -> None:
    """With + / and = in it, of any padding: 200 of each."""
    for n in range(200):
        key = base64.b64encode(n.to_bytes(length, "big")).decode()
        raw = base64.b64decode(key)
        assert check_token(make_token(HOST, key, "p"), HOST, raw, "p") is None
        assert check_token(_of_the_device_sdk(key), DEVICE, raw) is None
        assert check_token(str(ServiceToken(HOST, key, "p")), HOST, raw, "p") is None


@pytest.mark.parametrize(
    ("token", "why"),
    [
        (make_token(DEVICE, OTHER), "another key"),
        (make_token(DEVICE, KEY, ttl_s=-60), "expired"),
        (make_token("127.0.0.1/devices/other", KEY), "it is for '127.0.0.1/devices/other'"),
        (make_token("127.0.0.1/devices/Öl pump+1%/2x", KEY), "it is for"),
        (make_token("127.0.0.1/devices/Öl pump+1%", KEY).replace("sr=127", "sr=128"), "another key"),
        (make_token(DEVICE, KEY).replace("se=", "se=9"), "another key"),
        (make_token(DEVICE, KEY).replace("&se=", "&sx="), "not a shared access signature"),
        (make_token(DEVICE, KEY).removeprefix("SharedAccessSignature "), "not a shared access signature"),
        ("", "not a shared access signature"),
        ("SharedAccessSignature ", "not a shared access signature"),
        ("SharedAccessSignature sr&sig&se", "not a shared access signature"),
        ("SharedAccessSignature sr=a&sig=b&se=soon", "not a shared access signature"),
        ("SharedAccessSignature sr=a&sig=b&se=" + "9" * 9999, "not a shared access signature"),
        ("SharedAccessSignature sr=a&sig=%ff%00&se=1", "another key"),
        ("SharedAccessSignature sr=a&sig=ö&se=1", "another key"),
        ("\x00\udfff", "not a shared access signature"),
    ],
)
def test_what_is_wrong_is_said(token: str, why: str) -> None:
    assert why in (check_token(token, DEVICE, RAW) or "it was taken")


def test_a_token_of_a_part_above_covers_what_is_below() -> None:
    """As on Azure: a policy's token is for the hub's host, and good for all of it; never the other way round."""
    assert check_token(make_token("HUB.example", KEY, "p"), "hub.example/devices/m1", RAW, "p") is None
    assert "it is for" in (check_token(make_token("hub.example/devices/m1", KEY, "p"), "hub.example", RAW, "p") or "")
    assert "it is for" in (check_token(make_token("hub.exam", KEY, "p"), "hub.example", RAW, "p") or "")


def test_the_policy_must_be_the_one_asked_for() -> None:
    for policy in ("", "other"):
        assert "policy" in (check_token(make_token(HOST, KEY, policy), HOST, RAW, "iothubowner") or "")


def test_it_expires_by_the_clock() -> None:
    token = make_token(DEVICE, KEY, ttl_s=60)
    expires = int(token_fields(token)["se"])
    assert check_token(token, DEVICE, RAW, now=expires) is None
    assert "expired" in (check_token(token, DEVICE, RAW, now=expires + 1) or "")


def test_a_connection_string_in_any_order() -> None:
    text = f"SharedAccessKey={KEY};HostName=h:8443;;SharedAccessKeyName=p;"
    found = parse_connection_string(text, "DUCO_HUB", "HostName", "SharedAccessKeyName")
    assert found == {"HostName": "h:8443", "SharedAccessKeyName": "p", "SharedAccessKey": KEY}
    assert KEY.endswith("=")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "lacks HostName, SharedAccessKey;"),
        ("HostName=;SharedAccessKey=YQ==", "lacks HostName;"),
        ("HostName=h", "lacks SharedAccessKey;"),
        ("HostName=h;SharedAccessKey=not base64", "no base64"),
        ("HostName=h;SharedAccessKey=YQ", "no base64"),
        ("HostName=h;SharedAccessKey=schlüssel", "no base64"),
        ("nonsense", "lacks HostName"),
    ],
)
def test_a_connection_string_that_lacks_something(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match="DUCO_HUB: ") as error:
        parse_connection_string(text, "DUCO_HUB", "HostName", "SharedAccessKey")
    assert said in str(error.value)
    assert "schlüssel" not in str(error.value)  # no key in a log

"""Shared access signatures and connection strings, as every Azure SDK writes them.

https://learn.microsoft.com/azure/iot-hub/authenticate-authorize-sas
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Mapping
from urllib.parse import quote, unquote_plus

from ..errors import ConfigError

PREFIX = "SharedAccessSignature "


def parse_connection_string(text: str, what: str, *needed: str) -> dict[str, str]:
    """``"HostName=…;SharedAccessKey=…"`` as a mapping; values may hold ``=``.

    Args:
        what: the setting the text comes from, for the error.
        needed: names that must be there.
    Raises: ConfigError.
    """
    pairs = [part.partition("=") for part in text.split(";") if part]
    found = {name.strip(): value for name, equals, value in pairs if equals}
    missing = [name for name in needed if not found.get(name)]
    if missing:
        raise ConfigError(
            f"{what}: the connection string lacks {', '.join(missing)}; copy it whole, e.g. from the portal"
        )
    if not is_key(found.get("SharedAccessKey", "")):
        raise ConfigError(f"{what}: SharedAccessKey is no base64")
    return found


def is_key(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except ValueError:  # binascii.Error is one, and so is a letter that is not ASCII
        return False
    return True


def make_token(resource: str, key: str, policy: str = "", ttl_s: int = 3600) -> str:
    """A token for ``resource`` (``host/devices/id``, or a host), signed with the base64 ``key``."""
    uri, expiry = quote(resource, safe=""), str(int(time.time()) + ttl_s)
    signature = quote(_sign(uri, expiry, base64.b64decode(key)), safe="")
    name = f"&skn={policy}" if policy else ""
    return f"{PREFIX}sr={uri}&sig={signature}&se={expiry}{name}"


def check_token(token: str, resource: str, key: bytes, policy: str = "", now: float | None = None) -> str | None:
    """None when the token is good for ``resource``, else a sentence that says why not.

    Args:
        key: what signs: the decoded key of a device or hub policy, the key's text as bytes for Event Hubs.
        policy: the name it must carry, "" for a device's own key.
    """
    try:
        fields = token_fields(token)
        uri, signature, expiry = fields["sr"], unquote_plus(fields["sig"].replace("+", "%2B")), fields["se"]
        expires, given, expected = int(expiry), signature.encode(), _sign(uri, expiry, key).encode()
    except (ValueError, KeyError):
        return "it is not a shared access signature"
    if not hmac.compare_digest(given, expected):  # of bytes: it takes no text that is not ASCII
        return "its signature is wrong: another key made it"
    if expires < (time.time() if now is None else now):
        return "it has expired; is the clock of its maker right?"
    if policy and fields.get("skn") != policy:
        return f"it is of policy {fields.get('skn')!r}, not {policy!r}"
    return None if _covers(unquote_plus(uri), resource) else f"it is for {unquote_plus(uri)!r}, not {resource!r}"


def token_fields(token: str) -> Mapping[str, str]:
    """``sr``, ``sig``, ``se`` and ``skn`` as they stand in the token. Raises: ValueError."""
    if not token.startswith(PREFIX):
        raise ValueError("a shared access signature begins with its name")
    return dict(part.split("=", 1) for part in token.removeprefix(PREFIX).split("&"))


def _covers(granted: str, resource: str) -> bool:
    granted, resource = granted.rstrip("/").lower(), resource.rstrip("/").lower()
    return resource == granted or resource.startswith(granted + "/")


def _sign(uri: str, expiry: str, key: bytes) -> str:
    return base64.b64encode(hmac.new(key, f"{uri}\n{expiry}".encode(), hashlib.sha256).digest()).decode()

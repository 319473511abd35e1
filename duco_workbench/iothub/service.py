"""The service side of an IoT Hub, Azure's or the local one, through its REST API: devices, twins, direct methods.

::

    ConfigError
    ├── HubRefused      key, policy or certificate: what DUCO_HUB or DUCO_HUB_CA says is wrong
    ├── UnknownDevice
    └── DeviceExists
    ServiceError
    ├── DeviceOffline   it is not connected, or takes no methods: it was not asked
    └── MethodTimeout   it was asked and gave no answer: it may have done it

https://learn.microsoft.com/rest/api/iothub/service
"""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote, unquote

import httpx

from ..errors import ConfigError, DucoError, ServiceError
from .sas import make_token, parse_connection_string

API_VERSION = "2021-04-12"
TIMEOUT_S = 10.0  # of every call but `invoke`, which waits for the device too
TOKEN_S = 3600
RENEW_S = 300  # before a token ends: a call may wait that long for its device
PAGE = 100  # twins a page; IoT Hub gives no more
_T = TypeVar("_T")


class HubRefused(ConfigError):
    """The hub does not take us, or we do not trust it: DUCO_HUB or DUCO_HUB_CA has to be set right."""


class UnknownDevice(ConfigError):
    """The hub has no such device."""


class DeviceExists(ConfigError):
    """The hub has a device of this id already."""


class DeviceOffline(ServiceError):
    """The device is not connected, or has subscribed to no methods: it was not asked."""


class MethodTimeout(ServiceError):
    """The device was asked, and gave no answer in time or before its connection ended: it may have done it."""


class HubService:
    """The hub of a service connection string; may be used by several threads, each call blocks.

    Every method raises ServiceError where the hub is away, throttles or fails (the same call may work later) and
    ConfigError, with the hub's own sentence, where it refused: HubRefused for key and certificate, UnknownDevice.

    Args:
        connection_string: ``HostName=…;SharedAccessKeyName=…;SharedAccessKey=…``, with a port where it is not 443.
        ca: PEM file of who signed the hub's certificate; "" for Azure's, which the system knows.
    Raises: ConfigError naming the setting.
    """

    def __init__(self, connection_string: str, ca: str = "") -> None:
        if not connection_string:
            raise ConfigError("DUCO_HUB is not set: it takes the service connection string of the IoT hub")
        needed = ("HostName", "SharedAccessKeyName", "SharedAccessKey")
        parts = parse_connection_string(connection_string, "DUCO_HUB", *needed)
        self.host, self._policy, self._key = (parts[name] for name in needed)
        try:
            self._http = httpx.Client(
                base_url=f"https://{self.host}",
                timeout=TIMEOUT_S,
                verify=_trust(ca),
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=20),  # the callers are the bound
                trust_env=not ca,  # a proxy may lead to Azure, never to a hub with a certificate of its own
            )
        except httpx.InvalidURL:
            raise ConfigError(f"DUCO_HUB: HostName={self.host} is no host; copy the string whole") from None
        self._token, self._token_at = "", 0.0

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    def devices(self) -> list[dict[str, Any]]:
        """Identities with their keys, as IoT Hub writes them; it gives 1000 at most (``twins`` gives all)."""
        return _as(list, self.call("GET", "/devices?top=1000"))

    def device(self, chassis_id: str) -> dict[str, Any]:
        """The identity with its keys. Raises: UnknownDevice."""
        return _as(dict, self.call("GET", _path("devices", chassis_id)))

    def create_device(
        self, chassis_id: str, key: str | None = None, tags: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Register a device that shows a key. Two calls where there are tags: the first alone may succeed.

        Args:
            key: base64; made by the hub where None.
        Raises: DeviceExists.
        """
        keys = {"primaryKey": key, "secondaryKey": key}
        authentication = {"type": "sas", "symmetricKey": keys}
        body = {"deviceId": chassis_id, "status": "enabled", "authentication": authentication}
        device = _as(dict, self.call("PUT", _path("devices", chassis_id), body))
        if tags:
            self.patch_twin(chassis_id, tags=tags)
        return device

    def delete_device(self, chassis_id: str) -> None:
        """With its twin and its key; messages it sent stay. Raises: UnknownDevice."""
        self.call("DELETE", _path("devices", chassis_id), headers={"If-Match": "*"})

    def twin(self, chassis_id: str) -> dict[str, Any]:
        """``deviceId``, ``connectionState``, ``lastActivityTime``, ``tags``, ``properties`` of which ``reported`` …

        Raises: UnknownDevice.
        """
        return _as(dict, self.call("GET", _path("twins", chassis_id)))

    def twins(self) -> Iterator[dict[str, Any]]:
        """Of every device, page by page."""
        headers = {"x-ms-max-item-count": str(PAGE)}
        while True:
            answer = self._answer("POST", "/devices/query", {"query": "SELECT * FROM devices"}, headers, TIMEOUT_S)
            yield from _as(list, _json(answer))
            if not (more := answer.headers.get("x-ms-continuation")):
                return
            headers["x-ms-continuation"] = more

    def patch_twin(
        self, chassis_id: str, desired: Mapping[str, Any] | None = None, tags: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Merge what is given into the twin (None removes a key); a connected device is told. Returns: the whole twin.

        Raises: UnknownDevice, ConfigError for what a twin cannot hold.
        """
        body: dict[str, Any] = {}
        if desired is not None:
            body["properties"] = {"desired": dict(desired)}
        if tags is not None:
            body["tags"] = dict(tags)
        return _as(dict, self.call("PATCH", _path("twins", chassis_id), body))

    def invoke(
        self, chassis_id: str, method: str, payload: Any = None, response_s: int = 30, connect_s: int = 0
    ) -> tuple[int, Any]:
        """Call a direct method and wait for its answer: the status the device gave, and what it said.

        Args:
            response_s: how long the device may take, 5 to 300 s.
            connect_s: how long a device that is away may take to come, 0 to 300 s.
        Raises: UnknownDevice, DeviceOffline, MethodTimeout.
        """
        body = {
            "methodName": method,
            "payload": payload,
            "responseTimeoutInSeconds": response_s,
            "connectTimeoutInSeconds": connect_s,
        }
        wait = response_s + connect_s + TIMEOUT_S
        answer = _as(dict, self.call("POST", _path("twins", chassis_id, "methods"), body, timeout=wait))
        return int(answer.get("status", 0)), answer.get("payload")

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = TIMEOUT_S,
    ) -> Any:
        """What has no method here, e.g. the local hub's ``/duco/status``. Returns: the JSON, None for nothing."""
        return _json(self._answer(method, path, body, headers or {}, timeout))

    def _answer(self, method: str, path: str, body: Any, headers: Mapping[str, str], timeout: float) -> httpx.Response:
        headers = {**headers, "Authorization": self._authorization()}
        url = f"{path}{'&' if '?' in path else '?'}api-version={API_VERSION}"
        try:
            answer = self._http.request(method, url, json=body, headers=headers, timeout=timeout)
        except httpx.TimeoutException:
            raise ServiceError(f"IoT hub at {self.host} did not answer within {timeout:.0f} s; try again") from None
        except httpx.HTTPError as error:
            raise self._unreached(error) from None
        except ValueError as error:  # NaN, or half a surrogate pair
            raise ConfigError(f"{method} {path}: what is sent is no JSON ({error})") from None
        if answer.is_success:
            return answer
        raise refusal(self.host, path, answer)

    def _authorization(self) -> str:
        """One token for many calls; another one when its time is nearly over, or the clock was set back."""
        if not 0 <= time.time() - self._token_at < TOKEN_S - RENEW_S:
            at = time.time()
            self._token = make_token(self.host, self._key, self._policy, TOKEN_S)
            self._token_at = at
        return self._token

    def _unreached(self, error: httpx.HTTPError) -> DucoError:
        cause: BaseException | None = error
        while cause:
            if isinstance(cause, ssl.SSLCertVerificationError):
                return HubRefused(
                    f"IoT hub at {self.host}: its certificate is not trusted ({cause.verify_message}); "
                    "DUCO_HUB_CA takes the PEM file of who signed it, and is unset for Azure"
                )
            cause = cause.__cause__ or cause.__context__
        return ServiceError(f"IoT hub at {self.host} does not answer ({error}); is it running?")


def refusal(host: str, path: str, answer: httpx.Response) -> DucoError:
    """What a hub's answer other than 2xx to a request of ``path`` means."""
    status, (code, said) = answer.status_code, _said(answer)
    where, device = f"IoT hub at {host}", _device_of(path)
    if status == 401:
        return HubRefused(f"{where} refuses the key or policy of DUCO_HUB, or the clock here is wrong: {said}")
    if code == 404103:
        return DeviceOffline(f"{device} is not connected, or takes no methods: {said}")
    if code == 404104 or code // 1000 == 504:
        return MethodTimeout(f"{device} was asked and gave no answer; it may have done it: {said}")
    if status == 404 and device:
        return UnknownDevice(f"{where} has no device {device!r}: {said}")
    if status == 409:
        return DeviceExists(f"{where} has a device {device!r} already: {said}")
    if status in (403, 429) or status >= 500:  # a quota used up, too many calls, its own trouble
        return ServiceError(f"{where} answered {status}; try again later: {said}")
    return ConfigError(f"{where} refused {path} ({status}): {said}")


def _device_of(path: str) -> str:
    parts = path.split("/")
    return unquote(parts[2]) if len(parts) > 2 and parts[1] in ("devices", "twins") else ""


def _said(answer: httpx.Response) -> tuple[int, str]:
    """The hub's error code, 0 where it gives none, and its sentence; it writes JSON as a text within JSON."""
    try:
        body = answer.json()
    except ValueError:
        return 0, answer.text[:300] or answer.reason_phrase
    if not isinstance(body, dict):
        return 0, answer.text[:300]
    message = str(body.get("Message") or body.get("message") or answer.text[:300])
    try:
        inner = json.loads(message)
        return int(inner["errorCode"]), str(inner["message"])
    except (ValueError, TypeError, KeyError):
        code = body.get("errorCode")
        return (code if isinstance(code, int) else 0), message


def _trust(ca: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"DUCO_HUB_CA = {ca!r} cannot be used ({error}); it takes a PEM file of certificates"
        ) from None


def _path(*parts: str) -> str:
    return "/" + "/".join(quote(part, safe="") for part in parts)


def _json(answer: httpx.Response) -> Any:
    if not answer.content:
        return None
    try:
        return answer.json()
    except ValueError:
        raise ServiceError(f"{answer.url} answered something that is no JSON; is it an IoT hub?") from None


def _as(kind: type[_T], found: Any) -> _T:
    if not isinstance(found, kind):
        raise ServiceError(f"an IoT hub answers a {kind.__name__} here, not {str(found)[:100]!r}; is it one?")
    return found

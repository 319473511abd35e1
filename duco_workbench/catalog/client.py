"""What everyone but the meta API uses of the catalog."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote
from uuid import uuid4

import httpx
import msgspec

from ..errors import ConfigError, ServiceError
from ..model import Binding, Manifest, Variable
from .types import ChartGroup, DatabaseRevision, Device

__all__ = ["CatalogClient", "ChartGroup", "DatabaseRevision", "Device"]

TIMEOUT_S = 10.0
READING_S = 320.0  # a large database file takes minutes to read
DEVICE_S = 45.0  # a machine may take 30 s to answer
_T = TypeVar("_T")


class CatalogClient:
    """The catalog behind ``meta_url`` (``http://host:port``, else ConfigError); may be used by several threads.

    Every method raises ServiceError where the meta API is away or failed (the same call may work later) and
    ConfigError, with the API's own sentence, where it refused.
    """

    def __init__(self, meta_url: str) -> None:
        self.url = meta_url.rstrip("/")
        if not _is_http(self.url):
            raise ConfigError(f"meta API address {meta_url!r} cannot be used; write it like http://127.0.0.1:8600")
        self._http = httpx.Client(base_url=self.url, timeout=TIMEOUT_S, trust_env=False)
        self._texts: dict[str, str] = {}  # by sha256, of the manifests last seen

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    def revision(self) -> int:
        """Rises with every change of the catalog; cheap."""
        return int(self._get("/revision")["revision"])

    def manifests(self) -> list[Manifest]:
        """Every manifest in force of every tenant; a text already seen is not fetched again."""
        answer = self._get("/manifests")["manifests"]
        texts: dict[str, str] = {}
        found = [self._manifest(m, texts) for m in answer]
        self._texts = texts
        return found

    def tenants(self) -> list[str]:
        return [tenant["name"] for tenant in self._get("/tenants")]

    def ensure_tenant(self, tenant: str) -> None:
        """Adds it where it is missing."""
        self._send("POST", "/tenants", {"name": tenant})

    def devices(self, tenant: str | None = None) -> list[Device]:
        """Of every tenant where none is given."""
        return _to(self._get("/devices" if tenant is None else _path(tenant, "devices")), list[Device])

    def ensure_device(self, tenant: str, chassis_id: str, name: str = "", kind: str = "") -> Device:
        """Adds tenant and device where they are missing; a device that is there stays as it is."""
        self.ensure_tenant(tenant)
        body = {"chassis_id": chassis_id, "name": name, "kind": kind}
        return _to(self._send("POST", _path(tenant, "devices"), body), Device)

    def databases(self, tenant: str) -> list[DatabaseRevision]:
        """The newest revision of each."""
        return _to(self._get(_path(tenant, "databases")), list[DatabaseRevision])

    def put_database(
        self,
        tenant: str,
        name: str,
        text: str,
        format: str = "dbc",
        overrides: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> DatabaseRevision:
        """Publish a text; the same one again changes nothing. ``overrides`` None keeps those there are."""
        body = {"text": text, "format": format, "overrides": overrides}
        return _to(self._send("PUT", _path(tenant, "databases", name), body, READING_S), DatabaseRevision)

    def patch_signal(self, tenant: str, name: str, signal: str, **change: float | str) -> DatabaseRevision:
        """Change ``scale``, ``offset``, ``unit``, ``minimum``, ``maximum`` or ``validity`` of ``Message.Signal``.

        Every manifest in force that binds the database is published again; their revisions are in ``manifests``.
        """
        return _to(self._send("PATCH", _path(tenant, "databases", name, "signals", signal), change), DatabaseRevision)

    def unpatch_signal(self, tenant: str, name: str, signal: str) -> DatabaseRevision:
        """Back to what the file says."""
        path = _path(tenant, "databases", name, "signals", signal)
        return _to(self._send("DELETE", path), DatabaseRevision)

    def put_manifest(
        self,
        tenant: str,
        chassis_id: str,
        bindings: Mapping[str, str | Sequence[str]],
        keep: str | None = None,
        valid_from: int = 0,
    ) -> int:
        """Bind the newest revision of each database, by bus; ``chassis_id`` ``*`` is every device of the tenant.

        Returns: the manifest's revision, a new one unless the one in force is the same.
        """
        body = {"bindings": dict(bindings), "keep": keep, "valid_from": valid_from}
        return int(self._send("PUT", _path(tenant, "devices", chassis_id, "manifest"), body)["revision"])

    def variables(self, tenant: str, chassis_id: str | None = None) -> list[Variable]:
        """Of a device, in its databases' order; of the whole tenant where none is given."""
        path = _path(tenant, "variables") if chassis_id is None else _path(tenant, "devices", chassis_id, "variables")
        return _to(self._get(path), list[Variable])

    def put_variable(self, tenant: str, variable: Variable, name: str | None = None) -> Variable:
        """Add or replace; ``name`` is the one it has, where ``variable`` renames it."""
        path = _path(tenant, "variables", name or variable.name)
        return _to(self._send("PUT", path, msgspec.to_builtins(variable, str_keys=True)), Variable)

    def chart_groups(self, tenant: str, chassis_id: str) -> list[ChartGroup]:
        """In the order drawn."""
        return _to(self._get(_path(tenant, "devices", chassis_id, "chart-groups")), list[ChartGroup])

    def put_chart_groups(self, tenant: str, chassis_id: str, groups: Sequence[ChartGroup]) -> list[ChartGroup]:
        path = _path(tenant, "devices", chassis_id, "chart-groups")
        return _to(self._send("PUT", path, msgspec.to_builtins(list(groups))), list[ChartGroup])

    def set_realtime(self, chassis_id: str, on: bool, reason: str = "user_action") -> dict[str, Any]:
        """Have a machine send each second, or no longer; it stops by itself 3 minutes after the last start.

        Returns: ``{"status": 200, "payload": {"accepted": true, "commandId": …, …}}``, as the machine answered.
        Raises: ServiceError too where it is offline, did not answer in time, or refused.
        """
        payload = {"action": "start" if on else "stop", "reason": reason, "commandId": str(uuid4())}
        body = {"methodName": "setRealTimeUpload", "payload": payload}
        answer: dict[str, Any] = self._send("POST", f"{_hub_path(chassis_id)}/methods", body, DEVICE_S)
        if not 200 <= answer["status"] < 300:
            raise ServiceError(f"{chassis_id} refused setRealTimeUpload ({answer['status']}): {answer['payload']}")
        return answer

    def twin(self, chassis_id: str) -> dict[str, Any]:
        """The machine's device twin as IoT Hub writes it: what it reports is in ``["properties"]["reported"]``."""
        return dict(self._get(f"{_hub_path(chassis_id)}/twin"))

    def patch_twin(
        self, chassis_id: str, desired: Mapping[str, Any] | None = None, tags: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Merge desired properties and tags into the twin (None removes a key). Returns: the whole twin."""
        body: dict[str, Any] = {}
        if desired is not None:
            body["properties"] = {"desired": dict(desired)}
        if tags is not None:
            body["tags"] = dict(tags)
        return dict(self._send("PATCH", f"{_hub_path(chassis_id)}/twin", body))

    def _manifest(self, m: dict[str, Any], texts: dict[str, str]) -> Manifest:
        bindings = []
        for b in m["bindings"]:
            if b["sha256"] not in texts:
                texts[b["sha256"]] = self._texts.get(b["sha256"]) or self._text(m["tenant"], b)
            text = texts[b["sha256"]]
            bindings.append(Binding(b["bus"], b["name"], b["revision"], text, b["format"], b["overrides"]))
        return Manifest(m["revision"], m["tenant"], m["chassis_id"], tuple(bindings), m["valid_from"], m["keep"])

    def _text(self, tenant: str, binding: Mapping[str, Any]) -> str:
        path = _path(tenant, "databases", binding["name"], "revisions", str(binding["revision"]), "text")
        return self._request("GET", path).content.decode()

    def _get(self, path: str) -> Any:
        return self._request("GET", path).json()

    def _send(self, method: str, path: str, body: Any = None, timeout: float = TIMEOUT_S) -> Any:
        return self._request(method, path, body, timeout).json()

    def _request(self, method: str, path: str, body: Any = None, timeout: float = TIMEOUT_S) -> httpx.Response:
        try:
            answer = self._http.request(method, path, json=body, timeout=timeout)
        except httpx.TimeoutException:
            raise ServiceError(f"meta API at {self.url} did not answer within {timeout:.0f} s; try again") from None
        except httpx.HTTPError as error:
            raise ServiceError(f"meta API at {self.url} does not answer ({error}); is it running?") from None
        except UnicodeEncodeError as error:
            raise ConfigError(f"{method} {path}: the text holds half a character ({error}); read it again") from None
        if answer.is_success:
            return answer
        kind = ConfigError if answer.is_client_error else ServiceError
        raise kind(_sentence(answer) or f"meta API at {self.url}{path} answered {answer.status_code}")


def _path(tenant: str, *parts: str) -> str:
    return "/".join(quote(part, safe="*") for part in ("", "tenants", tenant, *parts))


def _hub_path(chassis_id: str) -> str:
    return f"/api/iothubs/ducohub/devices/{quote(chassis_id, safe='')}"


def _sentence(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return ""


def _is_http(url: str) -> bool:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        return False
    return parsed.scheme in ("http", "https") and bool(parsed.host)


def _to(plain: Any, kind: type[_T]) -> _T:
    """JSON of the API as the catalog's own type (object keys are texts, so those of choices are converted)."""
    return msgspec.convert(plain, kind, strict=False)

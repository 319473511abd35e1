"""Machines as devices of an IoT Hub: registered with the tenant their messages are stamped with, and listed."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ..errors import ConfigError
from .service import DeviceExists, HubService, UnknownDevice


@dataclass(frozen=True, slots=True)
class HubDevice:
    """What a device's twin says of it; times are microseconds UTC, None for never.

    Attributes:
        tenant: the tag the hub stamps on its messages; "" where it has none, so that they are dead letters.
        last_activity: when it last connected or sent, as far as the hub keeps note (Azure is minutes behind).
        last_reported: when it last wrote a reported property.
    """

    chassis_id: str
    tenant: str
    connected: bool
    last_activity: int | None
    last_reported: int | None


def listed(service: HubService) -> list[HubDevice]:
    """Every device of the hub, by id. Raises: as :class:`HubService`."""
    return sorted((describe(twin) for twin in service.twins()), key=lambda device: device.chassis_id)


def describe(twin: Mapping[str, Any]) -> HubDevice:
    reported = twin.get("properties", {}).get("reported", {})
    has_reported = any(not key.startswith("$") for key in reported)
    return HubDevice(
        chassis_id=twin["deviceId"],
        tenant=tenant_of(twin),
        connected=twin.get("connectionState") == "Connected",
        last_activity=_instant(twin.get("lastActivityTime")),
        last_reported=_instant(reported.get("$metadata", {}).get("$lastUpdated")) if has_reported else None,
    )


def ensure_device(service: HubService, chassis_id: str, tenant: str) -> str:
    """Register the machine where it is missing, tag it with its tenant, and return its connection string.

    Raises: as :class:`HubService`, and as :func:`connection_string_of`.
    """
    try:
        device = service.device(chassis_id)
    except UnknownDevice:
        with contextlib.suppress(DeviceExists):  # somebody else was quicker
            service.create_device(chassis_id)
        device = service.device(chassis_id)
    if tenant_of(service.twin(chassis_id)) != tenant:
        service.patch_twin(chassis_id, tags={"tenant": tenant})
    return connection_string_of(service, device)


def tenant_of(twin: Mapping[str, Any]) -> str:
    tenant = twin.get("tags", {}).get("tenant")
    return tenant if isinstance(tenant, str) else ""


def connection_string_of(service: HubService, device: Mapping[str, Any]) -> str:
    """``HostName=…;DeviceId=…;SharedAccessKey=…`` of an identity with its keys; a device's port is its protocol's.

    Raises: ConfigError where it shows a certificate instead of a key.
    """
    keys = device.get("authentication", {}).get("symmetricKey") or {}
    if not (key := keys.get("primaryKey")):
        raise ConfigError(f"device {device['deviceId']} has no key: it authenticates by certificate")
    return f"HostName={_without_port(service.host)};DeviceId={device['deviceId']};SharedAccessKey={key}"


def _without_port(host: str) -> str:
    return host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host


def _instant(text: str | None) -> int | None:
    """An ISO time of the hub, which is UTC whether it says so or not, and of the year 1 for never."""
    if not text or text.startswith("0001"):
        return None
    moment = datetime.fromisoformat(text)
    moment = moment.replace(tzinfo=moment.tzinfo or UTC)
    return round(moment.timestamp() * 1_000_000)

"""The registry as IoT Hub writes it in JSON: identities, twins, statistics; and our own status of the hub. Pure."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from .devices import Devices
from .journal import Journal
from .registry import Device, Registry

NEVER = "0001-01-01T00:00:00Z"  # what the real one writes


def identity_etag(device: Device) -> str:
    return base64.b64encode(str(device.etag).encode()).decode()


def twin_etag(device: Device) -> str:
    return base64.b64encode(device.twin_etag.to_bytes(8, "big")).decode()


def identity(device: Device, devices: Devices) -> dict[str, Any]:
    key = {"primaryKey": device.primary_key, "secondaryKey": device.secondary_key}
    return {
        "deviceId": device.device_id,
        "generationId": device.generation,
        "etag": identity_etag(device),
        **_state(device, devices),
        "statusReason": None,
        "connectionStateUpdatedTime": _time(devices.since.get(device.device_id)),
        "statusUpdatedTime": NEVER,
        "lastActivityTime": _time(devices.last_activity(device.device_id)),
        "cloudToDeviceMessageCount": 0,
        "authentication": {"symmetricKey": key, "type": "sas"},
        "capabilities": {"iotEdge": False},
    }


def twin(device: Device, devices: Devices) -> dict[str, Any]:
    return {
        "deviceId": device.device_id,
        "etag": twin_etag(device),
        "deviceEtag": identity_etag(device),
        **_state(device, devices),
        "statusUpdateTime": NEVER,
        "lastActivityTime": _time(devices.last_activity(device.device_id)),
        "cloudToDeviceMessageCount": 0,
        "authenticationType": "sas",
        "capabilities": {"iotEdge": False},
        "version": device.version,
        "tags": device.tags,
        "properties": {
            "desired": _section(device.desired, device.desired_version, device.desired_at),
            "reported": _section(device.reported, device.reported_version, device.reported_at),
        },
    }


def registry_statistics(registry: Registry) -> dict[str, int]:
    enabled = sum(device.enabled for device in registry)
    return {
        "totalDeviceCount": len(registry),
        "enabledDeviceCount": enabled,
        "disabledDeviceCount": len(registry) - enabled,
    }


def status(registry: Registry, devices: Devices, journal: Journal) -> dict[str, Any]:
    """``GET /duco/status``: per device and msgType what the hub has, from memory.

    ``taken`` counts every message acknowledged, those sent twice too; ``epoch`` and ``seq`` are the highest of any
    message id ``chassis:epoch:seq``, -1 when there was none; ``enqueued`` is the newest (microseconds UTC).
    """
    names = [device.device_id for device in registry]
    gone = sorted(set(journal.counts.by_device) - set(names))
    bounds = [journal.bounds(p) for p in range(journal.partitions)]
    return {
        "partitions": [{"partition": p, "first": first, "last": last} for p, (first, last) in enumerate(bounds)],
        "devices": {name: _counts(name, registry, devices, journal) for name in (*names, *gone)},
    }


def _counts(name: str, registry: Registry, devices: Devices, journal: Journal) -> dict[str, Any]:
    counts = journal.counts.by_device.get(name, {})
    return {
        "registered": registry.find(name) is not None,
        "connected": devices.connected(name),
        "messages": {msg_type: count._asdict() for msg_type, count in counts.items()},
    }


def page(found: Iterable[Device], after: str, size: int) -> tuple[list[Device], str]:
    """Of devices in the order of their ids: those after one, and the token for what follows ("" at the end)."""
    following = [device for device in found if device.device_id > after]
    rest = following[size:]
    return following[:size], base64.b64encode(following[size - 1].device_id.encode()).decode() if rest else ""


def _section(values: Mapping[str, Any], version: int, changed: int) -> dict[str, Any]:
    """With the hub's marks; of ``$metadata`` only when the whole section was last changed."""
    at = datetime.fromtimestamp(changed / 1e6, UTC) if changed else None
    return {**values, "$metadata": {"$lastUpdated": _time(at)}, "$version": version}


def _state(device: Device, devices: Devices) -> dict[str, str]:
    return {
        "status": "enabled" if device.enabled else "disabled",
        "connectionState": "Connected" if devices.connected(device.device_id) else "Disconnected",
    }


def _time(at: datetime | None) -> str:
    return at.isoformat().replace("+00:00", "Z") if at else NEVER

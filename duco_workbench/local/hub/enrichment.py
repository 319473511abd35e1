"""Message enrichment: properties the hub stamps on every message, as IoT Hub does it.

https://learn.microsoft.com/azure/iot-hub/iot-hub-message-enrichments-overview
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .registry import Device

DEFAULT = {"tenant": "$twin.tags.tenant"}


def enrich(properties: Mapping[str, str], rules: Mapping[str, str], device: Device) -> dict[str, str]:
    """The properties with those of the rules; what the device itself wrote under such a name does not count.

    A path that the twin does not have, or that is no single value, is stamped literally: the real one does so too.
    """
    return {**properties, **{name: _value(rule, device) for name, rule in rules.items()}}


def _value(rule: str, device: Device) -> str:
    if not rule.startswith("$twin."):
        return rule
    value: Any = {"tags": device.tags, "properties": {"desired": device.desired, "reported": device.reported}}
    for part in rule.split(".")[1:]:
        value = value.get(part) if isinstance(value, dict) else None
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, str | int | float) else rule

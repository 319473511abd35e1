"""Device twins as documents: merging, and what IoT Hub allows in them. Pure.

https://learn.microsoft.com/azure/iot-hub/iot-hub-devguide-device-twins
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

Document = dict[str, Any]

MAX_PROPERTIES, MAX_TAGS = 32 << 10, 8 << 10  # bytes of JSON
MAX_DEPTH = 10
MAX_STRING = 4096  # bytes
MAX_KEY = 1024
MAX_INTEGER = 1 << 52

_BAD_KEY = re.compile(r"[\x00-\x1f\x7f-\x9f.$ ]")


def merged(document: Mapping[str, Any], patch: Mapping[str, Any]) -> Document:
    """The document after a patch: objects merge, null deletes, anything else replaces."""
    result = dict(document)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            old = result.get(key)
            result[key] = merged(old if isinstance(old, dict) else {}, value)
        else:
            result[key] = value
    return result


def without_marks(patch: Mapping[str, Any]) -> Document:
    """A section as a client may send it back: what the hub had added to it is dropped."""
    return {key: value for key, value in patch.items() if key not in ("$version", "$metadata")}


def check(section: str, document: Mapping[str, Any], limit: int) -> None:
    """Raises: ValueError with a sentence that says what is not allowed, and where."""
    _check_values(section, document, 1)
    size = len(msgspec.json.encode(document))
    if size > limit:
        raise ValueError(f"{section} would have {size} bytes; {limit} are allowed")


def _check_values(where: str, document: Mapping[str, Any], depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ValueError(f"{where} is nested deeper than {MAX_DEPTH} levels")
    for key, value in document.items():
        if not key or len(key.encode()) > MAX_KEY or _BAD_KEY.search(key):
            raise ValueError(f"{where} has the key {key[:80]!r}; no dot, $, space or control character is allowed")
        _check_value(f"{where}.{key}", value, depth)


def _check_value(where: str, value: Any, depth: int) -> None:
    if isinstance(value, dict):
        _check_values(where, value, depth + 1)
    elif isinstance(value, list):
        if depth >= MAX_DEPTH:
            raise ValueError(f"{where} is nested deeper than {MAX_DEPTH} levels")
        for item in value:
            _check_value(where, item, depth + 1)
    elif isinstance(value, str) and len(value.encode()) > MAX_STRING:
        raise ValueError(f"{where} is a text of more than {MAX_STRING} bytes")
    elif isinstance(value, int) and not -MAX_INTEGER <= value < MAX_INTEGER:
        raise ValueError(f"{where} = {value} needs more than 53 bits")

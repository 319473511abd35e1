"""What the catalog refuses, and the checks of names that several of its modules share.

::

    ConfigError
    ├── Unknown    there is no such tenant, device, database, signal ... (HTTP 404)
    ├── Conflict   the name belongs to somebody else                      (HTTP 409)
    └── TooLarge                                                          (HTTP 413)
"""

from __future__ import annotations

import re

from ..errors import ConfigError

_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_CHASSIS_ID = re.compile(r"[A-Za-z0-9._%*?!(),:=@$'+-]{1,128}")  # what IoT Hub allows in a device id
_NAME = re.compile(r"[^/\\\x00-\x1f\x7f]{1,200}")


class Unknown(ConfigError):
    """There is nothing of that name."""


class Conflict(ConfigError):
    """The name is in use elsewhere."""


class TooLarge(ConfigError):
    """More than the catalog takes."""


def check_tenant(name: str) -> None:
    if not _TENANT.fullmatch(name):
        raise ConfigError(f"tenant {name!r}: use 1 to 64 letters, digits and . _ - and begin with a letter or digit")


def check_chassis_id(text: str) -> None:
    if not _CHASSIS_ID.fullmatch(text) or text == "*":
        raise ConfigError(f"chassis id {text!r}: use 1 to 128 letters, digits and - . _ : (as IoT Hub does), no spaces")


def check_name(what: str, name: str) -> None:
    if not _NAME.fullmatch(name) or name != name.strip() or not is_text(name):
        raise ConfigError(f"{what} {name!r}: use 1 to 200 characters, no slash, no control character, no outer space")


def is_text(text: str) -> bool:
    """Whether every store takes it: no NUL (PostgreSQL), no half of a surrogate pair (UTF-8)."""
    return "\0" not in text and not any("\ud800" <= c <= "\udfff" for c in text)

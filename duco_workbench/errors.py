"""Everything this package raises on purpose.

::

    DucoError
    ├── DataError      the data is bad: becomes one dead letter, stops nothing else
    ├── ServiceError   a server is away or refuses: nothing is committed, retried with backoff
    └── ConfigError    what a person set is wrong: one sentence that says what to do, then exit

Each message names what was wrong, where, and what to do.
"""

from __future__ import annotations


class DucoError(Exception):
    """Base of the tree above."""


class DataError(DucoError):
    """Bad data, with the reason code its dead letter carries.

    Args:
        reason: a stable code of lower-case words, e.g. ``"bad_base64"``.
        detail: one sentence for a person.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class ServiceError(DucoError):
    """A service we depend on did not do its part; the same call may work later."""


class ConfigError(DucoError):
    """A setting, a file or an argument that a person can mend."""

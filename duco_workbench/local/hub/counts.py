"""What the hub has of each device: counts and highest ids, for ``GET /duco/status``. They outlive retention.

Kept in memory to be read at once, and written in the journal's own transactions, so both always agree.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

from ...model import MSG_TYPES

OTHER = "other"  # whatever a device may call its messages, this object stays small

Key = tuple[str, str]  # device id, msgType


class Count(NamedTuple):
    """Of one device and msgType: messages taken, the highest ``epoch:seq`` of a message id, the newest time (µs)."""

    taken: int = 0
    epoch: int = -1
    seq: int = -1
    enqueued: int = 0


class Message(Protocol):
    """The fields of a stored message that are counted by."""

    @property
    def device_id(self) -> str: ...
    @property
    def enqueued(self) -> int: ...
    @property
    def system(self) -> Mapping[str, str]: ...
    @property
    def properties(self) -> Mapping[str, str]: ...


class Counts:
    """``by_device[device_id][msg_type]``."""

    TABLE = (
        "CREATE TABLE IF NOT EXISTS counts (device_id TEXT, msg_type TEXT, count INTEGER, epoch INTEGER, seq INTEGER,"
        " enqueued INTEGER, PRIMARY KEY (device_id, msg_type)) WITHOUT ROWID"
    )

    def __init__(self) -> None:
        self.by_device: dict[str, dict[str, Count]] = {}

    @property
    def taken(self) -> int:
        """Messages of all devices, since the hub's folder was made."""
        return sum(count.taken for kinds in list(self.by_device.values()) for count in list(kinds.values()))

    def load(self, connection: sqlite3.Connection) -> None:
        for device_id, msg_type, *numbers in connection.execute("SELECT * FROM counts"):
            self.by_device.setdefault(device_id, {})[msg_type] = Count(*numbers)

    @staticmethod
    def save(connection: sqlite3.Connection, counts: Mapping[Key, Count]) -> None:
        """Into the transaction that is open."""
        rows = [(*key, *count) for key, count in counts.items()]
        connection.executemany("INSERT OR REPLACE INTO counts VALUES (?, ?, ?, ?, ?, ?)", rows)

    def after(self, messages: Iterable[Message]) -> dict[Key, Count]:
        """What the counts touched by these messages become."""
        changed: dict[Key, Count] = {}
        for m in messages:
            named = m.properties.get("msgType", OTHER)
            key = m.device_id, named if named in MSG_TYPES else OTHER
            old = changed.get(key) or self.by_device.get(m.device_id, {}).get(key[1], Count())
            epoch, seq = max((old.epoch, old.seq), id_numbers(m.system.get("message_id", "")))
            changed[key] = Count(old.taken + 1, epoch, seq, max(old.enqueued, m.enqueued))
        return changed

    def take(self, counts: Mapping[Key, Count]) -> None:
        """They are committed."""
        for (device_id, msg_type), count in counts.items():
            self.by_device.setdefault(device_id, {})[msg_type] = count


def id_numbers(message_id: str) -> tuple[int, int]:
    """Epoch and seq of ``chassis:epoch:seq``; (-1, -1) of any other id."""
    numbers = message_id.rsplit(":", 2)[1:]
    if len(numbers) != 2 or not all(n.isascii() and n.isdigit() and len(n) < 19 for n in numbers):
        return -1, -1  # longer ones do not fit SQLite's integers
    return int(numbers[0]), int(numbers[1])

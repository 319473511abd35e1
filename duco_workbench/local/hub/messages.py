"""The journal's file: messages by partition and sequence in SQLite. SQL only; threads and waiting are the journal's.

A table a partition, so that all insertions are at a table's end. WAL with ``synchronous = FULL``: what is committed
survives a power cut.
"""

from __future__ import annotations

import contextlib
import sqlite3
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ...errors import ConfigError
from .counts import Count, Counts, Key

PAGE_BYTES = 8192
DELETE_ROWS = 500  # of one transaction; insertions go between two of them

_HEADERS = msgspec.json.Decoder(tuple[dict[str, str], dict[str, str]])


@dataclass(frozen=True, slots=True)
class Stored:
    """One device-to-cloud message as the hub keeps it.

    Attributes:
        sequence: rises by 1 per partition from 0, never reused.
        enqueued: when the hub took it, microseconds UTC.
        system: ``message_id``, ``correlation_id``, ``user_id``, ``content_type``, ``content_encoding`` as the device
            gave them; absent ones are absent.
        properties: application properties, with what message enrichment stamped.
    """

    partition: int
    sequence: int
    enqueued: int
    device_id: str
    generation: str
    system: Mapping[str, str]
    properties: Mapping[str, str]
    body: bytes


class MessageFile:
    """One connection to the file, for the thread that makes it. Every method may raise sqlite3.Error.

    Raises: ConfigError when the file was made with another number of partitions.
    """

    def __init__(self, path: Path, partitions: int) -> None:
        self._connection = sqlite3.connect(path)
        self._prepare(path, partitions)
        self.partitions = partitions

    def _prepare(self, path: Path, partitions: int) -> None:
        for pragma in (f"page_size = {PAGE_BYTES}", "journal_mode = WAL", "synchronous = FULL"):
            self._connection.execute(f"PRAGMA {pragma}")
        made_with = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if made_with not in (0, partitions):  # devices would change their partition, and lose their order
            self.close()
            raise ConfigError(f"{path} was made with {made_with} partitions, not {partitions}; move it away")
        with self._connection:
            for partition in range(partitions):
                self._connection.execute(
                    f"CREATE TABLE IF NOT EXISTS messages_{partition} (sequence INTEGER PRIMARY KEY,"
                    " enqueued INTEGER, device_id TEXT, generation TEXT, headers BLOB, body BLOB)"
                )
            self._connection.execute("CREATE TABLE IF NOT EXISTS trimmed (partition INTEGER PRIMARY KEY, last INTEGER)")
            self._connection.executemany(
                "INSERT OR IGNORE INTO trimmed VALUES (?, -1)", [(p,) for p in range(partitions)]
            )
            self._connection.execute(Counts.TABLE)
            self._connection.execute(f"PRAGMA user_version = {partitions}")

    def close(self) -> None:
        self._connection.close()

    def bounds(self, partition: int) -> tuple[int, int]:
        """First kept and last sequence; first is last + 1 when none is kept."""
        first, last = self._connection.execute(
            f"SELECT (SELECT min(sequence) FROM messages_{partition}), (SELECT max(sequence) FROM messages_{partition})"
        ).fetchone()
        if last is None:
            row = self._connection.execute("SELECT last FROM trimmed WHERE partition = ?", (partition,)).fetchone()
            return row[0] + 1, row[0]
        return first, last

    def load_counts(self, counts: Counts) -> None:
        counts.load(self._connection)

    def insert(self, messages: Sequence[Stored], counts: Mapping[Key, Count]) -> None:
        """All of it in one transaction, or nothing."""
        with self._connection:
            for partition in {m.partition for m in messages}:
                rows = [_row(m) for m in messages if m.partition == partition]
                self._connection.executemany(f"INSERT INTO messages_{partition} VALUES (?, ?, ?, ?, ?, ?)", rows)
            Counts.save(self._connection, counts)

    def select(self, partition: int, after: int, max_bytes: int) -> list[Stored]:
        """In order, from ``sequence > after``: up to ``max_bytes`` of bodies, at least one where there is one."""
        found: list[Stored] = []
        size = 0
        rows = self._connection.execute(
            f"SELECT * FROM messages_{partition} WHERE sequence > ? ORDER BY sequence", (after,)
        )
        with contextlib.closing(rows):
            for sequence, enqueued, device_id, generation, headers, body in rows:
                size += len(body)
                if found and size > max_bytes:
                    break
                system, properties = _HEADERS.decode(headers)
                found.append(Stored(partition, sequence, enqueued, device_id, generation, system, properties, body))
        return found

    def sequence_at(self, partition: int, kept: range, enqueued: int) -> int:
        """The last of the ``kept`` sequences enqueued at or before that time; -1 if none.

        Sequences have no holes, so the table can be searched like a list.
        """
        sql = f"SELECT enqueued FROM messages_{partition} WHERE sequence = ?"

        def time_of(sequence: int) -> int:
            row = self._connection.execute(sql, (sequence,)).fetchone()
            return row[0] if row else 0  # just deleted: older than anything

        place = bisect_right(kept, enqueued, key=time_of)
        return kept[place - 1] if place else -1

    def oldest(self) -> int:
        """The partition whose first message is the oldest of all."""
        return min(range(self.partitions), key=self._first_time)

    def _first_time(self, partition: int) -> float:
        sql = f"SELECT enqueued FROM messages_{partition} ORDER BY sequence LIMIT 1"
        row = self._connection.execute(sql).fetchone()
        return row[0] if row else float("inf")

    def bytes_used(self) -> int:
        """Of the file's pages that hold something; freed ones are used again."""
        pages, free = (
            self._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count")
        )
        return int((pages - free) * PAGE_BYTES)

    def delete(self, partition: int, kept: range, up_to: int) -> int:
        """The oldest ``DELETE_ROWS`` of ``kept`` that do not pass ``up_to``. Returns the first sequence then kept."""
        up_to = min(up_to, kept.start + DELETE_ROWS - 1)
        if up_to < kept.start:
            return kept.start
        with self._connection:
            self._connection.execute(f"DELETE FROM messages_{partition} WHERE sequence <= ?", (up_to,))
            self._connection.execute("UPDATE trimmed SET last = ? WHERE partition = ?", (up_to, partition))
        return up_to + 1


def _row(message: Stored) -> tuple[int, int, str, str, bytes, bytes]:
    headers = msgspec.json.encode((message.system, message.properties))
    return message.sequence, message.enqueued, message.device_id, message.generation, headers, message.body

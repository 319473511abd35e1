"""A damaged file, read row by row: what is sound in it, message by message, and what its state says should be in it.

A row is taken when its checksum holds and its body is an envelope of this machine; the id is the one in the body. Pages
that nobody can read cost the messages in them. A first page that is bad is replaced by that of a new file of ours: the
tables stand at the same places in each.
"""

from __future__ import annotations

import contextlib
import sqlite3
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from duco_workbench import wire
from duco_workbench.errors import DataError
from duco_workbench.model import MessageId
from duco_workbench.sequences import each

from .rows import RECORD, Row, unpack
from .state import State, from_row

MOST = 1_000_000  # numbers that are asked for one by one when only the pages around them can be read


class Saved(NamedTuple):
    """A message that is as it was stored, and its id."""

    row: Row
    message_id: MessageId


class Damaged:
    """The file, until ``close``. Nothing it does raises for what is in the file.

    Args:
        first_page: of a new file.
        highest: number that was given, as far as is known.
    """

    def __init__(self, path: Path, chassis_id: str, first_page: bytes, highest: int) -> None:
        self._path, self._chassis_id, self._highest = path, chassis_id, highest
        self._db = self._opened(first_page)
        self.state = self._read_state()

    def close(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            self._db.close()

    def messages(self) -> Iterator[Saved]:
        """The sound ones, in order."""
        numbers = each(self.state.waiting) if self.state else self._numbers()
        for number in numbers:
            if saved := self._message(number):
                yield saved

    def _opened(self, first_page: bytes) -> sqlite3.Connection:
        db = _connect(self._path)
        if not _asked(db, "SELECT 1 FROM sqlite_schema WHERE name = 'message'"):
            db.close()
            with contextlib.suppress(OSError), self._path.open("r+b") as file:
                file.write(first_page[:28] + bytes(4) + first_page[32:])  # but the size is the file's own
            db = _connect(self._path)
        return db

    def _read_state(self) -> State | None:
        found = _asked(self._db, "SELECT text, crc FROM state")
        state = from_row(found[0]["text"], found[0]["crc"]) if found else None
        return state if state and state.chassis_id == self._chassis_id else None

    def _numbers(self) -> list[int]:
        """Those that are found from the one end, from the other, and whatever may be between."""
        up, is_whole = self._walk("ASC")
        if is_whole:
            return up
        down, _ = self._walk("DESC")
        end = down[-1] if down else self._highest + 1
        begin = up[-1] + 1 if up else max(end - MOST, 1)
        return sorted({*up, *range(begin, min(end, begin + MOST)), *down})

    def _walk(self, way: str) -> tuple[list[int], bool]:
        """The numbers up to a page that cannot be read, and whether there was none."""
        found: list[int] = []
        try:
            for (number,) in self._db.execute(f"SELECT rowid FROM message NOT INDEXED ORDER BY rowid {way}"):
                found.append(number)
        except sqlite3.Error:
            return found, False
        return found, True

    def _message(self, number: int) -> Saved | None:
        found = _asked(self._db, f"SELECT * FROM message NOT INDEXED WHERE rowid = {number}")
        if not found:
            return None
        values = dict(found[0])
        row = Row(*(values.get(name) for name in Row._fields))._replace(number=number)  # type: ignore[arg-type]
        try:
            message_id = MessageId.parse(wire.read_head(unpack(row.body)).message_id) if row.is_sound else None
        except (DataError, ValueError, TypeError, zlib.error):
            return None
        return Saved(row, message_id) if message_id and self._is_known(row, message_id) else None

    def _is_known(self, row: Row, message_id: MessageId) -> bool:
        """It is of this machine, and can be dated."""
        if message_id.chassis_id != self._chassis_id or (row.lane == RECORD and row.crc is None):
            return False  # in the file's first version, that lane was what is set aside
        if self.state is None:  # without a checksum it is of the file's first version, which had but one epoch
            return row.boot is None and (row.crc is not None or row.number == message_id.seq)
        return self.state.id_of(row.number) == message_id and (row.boot is None or row.boot in self.state.shifts())


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    db.row_factory = sqlite3.Row
    for pragma in ("locking_mode = EXCLUSIVE", "writable_schema = ON", "cell_size_check = ON", "mmap_size = 0"):
        with contextlib.suppress(sqlite3.Error):
            db.execute(f"PRAGMA {pragma}")
    return db


def _asked(db: sqlite3.Connection, query: str) -> list[sqlite3.Row]:
    """Nothing when it cannot be answered."""
    try:
        return db.execute(query).fetchall()
    except (sqlite3.Error, OverflowError):
        return []

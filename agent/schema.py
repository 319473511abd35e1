"""The tables of the queue's file, its one row of state, and how a file of the first version becomes one of this."""

from __future__ import annotations

import sqlite3

import msgspec

from duco_workbench.sequences import runs_of

from .rows import RECORD
from .state import Boot, State, from_row, to_row
from .storage import QueueCorrupt

VERSION = 2

_TABLES = (
    """CREATE TABLE message (
        number INTEGER PRIMARY KEY, lane INTEGER NOT NULL, size INTEGER NOT NULL, ts INTEGER NOT NULL,
        msg_type TEXT NOT NULL, boot INTEGER, batch INTEGER, crc INTEGER, body BLOB NOT NULL)""",
    "CREATE INDEX realtime ON message (number) WHERE lane = 1",
)
_STATE = "CREATE TABLE state (one INTEGER PRIMARY KEY CHECK (one = 1), text TEXT NOT NULL, crc INTEGER NOT NULL)"
_ASIDE = "CREATE TABLE aside (number INTEGER PRIMARY KEY, msg_type TEXT NOT NULL, body BLOB NOT NULL)"


def begin(db: sqlite3.Connection, state: State) -> None:
    """An empty file becomes a queue."""
    for statement in (_STATE, _ASIDE, *_TABLES):
        db.execute(statement)
    write_state(db, state)
    db.execute(f"PRAGMA user_version = {VERSION}")


def read_state(db: sqlite3.Connection) -> State:
    """Raises: QueueCorrupt."""
    row = db.execute("SELECT text, crc FROM state").fetchone()
    state = from_row(*row) if row else None
    if state is None:
        raise QueueCorrupt("it has no state")
    return state


def write_state(db: sqlite3.Connection, state: State) -> None:
    db.execute("INSERT OR REPLACE INTO state VALUES (1, ?, ?)", to_row(state))


def migrate(db: sqlite3.Connection) -> None:
    """From the first version, whose messages were numbered by seq and whose state was in columns; no message is copied.

    Raises: QueueCorrupt.
    """
    row = db.execute("SELECT chassis_id, epoch, seq, acknowledged, newest, drops FROM state").fetchone()
    if row is None:
        raise QueueCorrupt("it has no state")
    chassis_id, epoch, seq, acknowledged, newest, drops = row
    boots = db.execute("SELECT number, id, base, shift, coalesce(source, '') FROM boot ORDER BY number").fetchall()
    db.execute(_ASIDE)
    db.execute(f"INSERT INTO aside SELECT seq, msg_type, body FROM message WHERE lane = {RECORD}")
    db.execute(f"DELETE FROM message WHERE lane = {RECORD}")
    db.execute("ALTER TABLE message RENAME COLUMN seq TO number")
    for column in ("batch", "crc"):
        db.execute(f"ALTER TABLE message ADD COLUMN {column} INTEGER")
    for table in ("state", "boot"):
        db.execute(f"DROP TABLE {table}")
    db.execute(_STATE)
    state = State(
        chassis_id,
        [(epoch, 0)],
        seq,
        runs_of(number for (number,) in db.execute("SELECT number FROM message")),
        acknowledged,
        newest,
        msgspec.json.decode(drops, type=dict[str, int]),
        boots=[Boot(*boot) for boot in boots],
    )
    write_state(db, state)
    db.execute(f"PRAGMA user_version = {VERSION}")

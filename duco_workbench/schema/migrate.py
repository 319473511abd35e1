"""Brings a ClickHouse database to the newest schema. Safe to run anywhere, any time, by several at once."""

from __future__ import annotations

import re
import time
from functools import cache
from importlib.resources import files
from typing import Any

from clickhouse_connect.driver.exceptions import DatabaseError

from ..errors import ConfigError

_VERSIONS = """
CREATE TABLE IF NOT EXISTS schema_version
(version UInt32, name String, applied_at DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC'))
ENGINE = ReplacingMergeTree ORDER BY version
"""
_DATABASE_NAME = re.compile(r"[A-Za-z_]\w*\Z")
_ATTEMPTS = 5


@cache
def scripts() -> tuple[tuple[int, str, tuple[str, ...]], ...]:
    """Number, name and statements of each file, in order. A statement ends with a semicolon at the end of a line."""
    folder = files(__package__) / "sql"
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return tuple((int(name[:4]), name, _statements((folder / name).read_text())) for name in names)


def _statements(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in re.split(r";\s*(?:\n|\Z)", text) if part.strip())


LATEST: int = len(scripts())


def migrate(client: Any) -> int:
    """Apply what ``client.database`` (a clickhouse_connect client's) does not have yet; its version afterwards.

    Every statement does nothing, or the same again, where it was run before: of two starters at once each may run any.
    What still collides inside the server is tried again.

    Raises: ConfigError when the database is newer than this program, or its name is none.
    """
    database = client.database or ""
    if not _DATABASE_NAME.match(database) or database == "default":
        raise ConfigError(f"the store's database is {database!r}; its address must end in one, as in /duco, of its own")
    for attempt in range(_ATTEMPTS):
        try:
            return _apply(client, database)
        except DatabaseError:
            if attempt == _ATTEMPTS - 1:
                raise
            time.sleep(0.1 * (attempt + 1))
    raise AssertionError("unreachable")


def _apply(client: Any, database: str) -> int:
    client.command(f"CREATE DATABASE IF NOT EXISTS {database} ENGINE = Atomic", use_database=False)
    client.command(_VERSIONS)
    applied = _version(client)
    if applied > LATEST:
        raise ConfigError(
            f"the database {database} has schema {applied}, this program knows {LATEST}: use the newer program"
        )
    for version, name, statements in scripts()[applied:]:
        if version <= _version(client):
            continue  # somebody else has done it meanwhile
        for statement in statements:
            client.command(statement)
        client.command(f"INSERT INTO schema_version (version, name) VALUES ({version}, '{name}')")
    return LATEST


def _version(client: Any) -> int:
    return int(client.command("SELECT max(version) FROM schema_version"))

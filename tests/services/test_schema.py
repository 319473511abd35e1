"""The numbered schema is applied once, whoever starts it how often."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Iterator

import pytest

from duco_workbench.errors import ConfigError
from duco_workbench.local.store.process import StoreProcess, running
from duco_workbench.schema import LATEST, migrate
from duco_workbench.sinks.clickhouse import connect

migration = importlib.import_module("duco_workbench.schema.migrate")
VIEWS = {"samples", "latest", "raw_messages", "dtcs_view", "events_view", "texts_view", "dead_letters_view"}
TABLES = {
    "raw_data_cache_store",
    "ce_technology",
    "dtcs",
    "events",
    "texts",
    "dead_letters",
    "parsed_messages",
    "schema_version",
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreProcess]:
    with running(tmp_path_factory.mktemp("store")) as process:
        yield process


def url(store: StoreProcess, database: str) -> str:
    return f"http://127.0.0.1:{store.port}/{database}"


def test_a_database_of_its_own_with_every_table_and_view(store: StoreProcess) -> None:
    client = connect(url(store, "fresh"))
    assert migrate(client) == LATEST == 6
    rows = client.query("SELECT name, engine FROM system.tables WHERE database = 'fresh'").result_rows
    assert {name for name, engine in rows if engine == "View"} == VIEWS
    assert {name for name, engine in rows if engine != "View"} == TABLES
    engine = client.command("SELECT engine FROM system.databases WHERE name = 'fresh'")
    assert engine == "Atomic"


def test_again_it_changes_nothing(store: StoreProcess) -> None:
    client = connect(url(store, "again"))
    migrate(client)
    before = client.query("SELECT * FROM schema_version ORDER BY version").result_rows
    assert migrate(client) == LATEST
    assert client.query("SELECT * FROM schema_version ORDER BY version").result_rows == before
    assert [row[0] for row in before] == list(range(1, LATEST + 1))


def test_many_starters_at_once(store: StoreProcess) -> None:
    versions: list[object] = []

    def start() -> None:
        try:
            versions.append(migrate(connect(url(store, "crowded"))))
        except Exception as error:
            versions.append(error)

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert versions == [LATEST] * 6
    applied = connect(url(store, "crowded")).query("SELECT version FROM schema_version FINAL ORDER BY version")
    assert [row[0] for row in applied.result_rows] == list(range(1, LATEST + 1))


def test_only_what_is_missing_is_applied(store: StoreProcess) -> None:
    client = connect(url(store, "older"))
    migrate(client)
    client.command("DROP TABLE dead_letters")
    client.command("DROP VIEW dead_letters_view")
    client.command("DELETE FROM schema_version WHERE version >= 4")
    migrate(client)
    assert client.command("SELECT count() FROM dead_letters_view") == 0


def test_what_a_store_of_before_holds_is_taken_for_parsed_but_for_its_dead_letters(
    store: StoreProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = connect(url(store, "before"))
    with monkeypatch.context() as patched:
        patched.setattr(migration, "scripts", lambda scripts=migration.scripts: scripts()[:4])
        patched.setattr(migration, "LATEST", 4)
        migrate(client)
    ids = ["m:1:7:1", "m:1:7:2", "m:1:7:x", "m:1:7:03", "m:1:8", "0:33", "m2:7:1"]
    for message_id in ids:
        client.command(f"INSERT INTO raw_data_cache_store (chassis_id, message_id) VALUES ('m:1', '{message_id}')")
    for reason in ("one", "two"):
        client.command(f"INSERT INTO dead_letters (chassis_id, letter, reason) VALUES ('m:1', 'm:1:7:2', '{reason}')")
    assert migrate(client) == LATEST
    parsed = client.query("SELECT chassis_id, epoch, seq FROM parsed_messages ORDER BY ALL").result_rows
    assert parsed == [("m:1", 7, 1)]
    assert client.query("SELECT letter, reason FROM dead_letters_view").result_rows == [("m:1:7:2", "one")]


class Overtaken:
    """A client whose migration stands still before a statement, until another one is done and a message has come."""

    def __init__(self, address: str, statement: str) -> None:
        self.client, self.statement = connect(address), statement
        self.database = self.client.database
        self.later: list[str] = []

    def command(self, sql: str, **named: object) -> object:
        if self.statement and self.statement in sql:
            self.statement = ""
            migrate(self.client)
            self.client.command("INSERT INTO raw_data_cache_store (chassis_id, message_id) VALUES ('m1', 'm1:7:1')")
        self.later += [] if self.statement else [sql]
        return self.client.command(sql, **named)


@pytest.mark.parametrize("statement", ["CREATE TABLE IF NOT EXISTS dead_letters", "INSERT INTO parsed_messages"])
def test_what_comes_after_another_has_migrated_is_not_taken_for_parsed(store: StoreProcess, statement: str) -> None:
    client = Overtaken(url(store, f"overtaken{len(statement)}"), statement)
    assert migrate(client) == LATEST
    assert not client.statement
    assert client.command("SELECT count() FROM raw_data_cache_store") == 1
    assert client.command("SELECT count() FROM parsed_messages") == 0
    assert not [sql for sql in client.later if "OR REPLACE" in sql]  # nobody sees an older view again


def test_a_newer_database_is_left_alone(store: StoreProcess) -> None:
    client = connect(url(store, "newer"))
    migrate(client)
    client.command("INSERT INTO schema_version (version, name) VALUES (99, '0099_future.sql')")
    with pytest.raises(ConfigError, match="use the newer program"):
        migrate(client)


@pytest.mark.parametrize("name", ["default", "no-name"])
def test_a_database_name_that_will_not_do(store: StoreProcess, name: str) -> None:
    with pytest.raises(ConfigError, match="of its own"):
        migrate(connect(url(store, name)))

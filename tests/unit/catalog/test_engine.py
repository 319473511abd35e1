"""Opening a catalog: migrations, sessions that write one at a time, addresses that cannot be used."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, select, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import IntegrityError
from sqlalchemy.schema import CreateIndex, CreateTable

from duco_workbench.catalog.engine import Catalog, next_revision, revision
from duco_workbench.catalog.tables import Base, DeviceRow, TenantRow
from duco_workbench.errors import ConfigError, ServiceError
from duco_workbench.testing import PATIENCE_S


def test_an_empty_file_is_migrated_to_what_the_tables_say(url: str) -> None:
    catalog = Catalog(url)
    with catalog.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
        assert context.get_current_revision() == "0001"
        assert set(inspect(connection).get_table_names()) == {*Base.metadata.tables, "alembic_version"}


def test_opening_again_keeps_everything(url: str) -> None:
    first = Catalog(url)
    with first.writing() as session:
        session.add(TenantRow(name="demo", created=1))
        assert next_revision(session) == 1
    first.close()
    with Catalog(url).reading() as session:
        assert revision(session) == 1
        assert session.get(TenantRow, "demo")


def test_the_file_is_wal_and_keeps_foreign_keys(catalog: Catalog) -> None:
    with catalog.writing() as session:
        assert session.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        session.add(DeviceRow(chassis_id="x", tenant="nobody", name="", kind="", created=0))
        with pytest.raises(IntegrityError):
            session.flush()
        session.rollback()


def test_what_fails_leaves_nothing(catalog: Catalog) -> None:
    with catalog.reading() as session:
        before = revision(session)

    def half_done() -> None:
        with catalog.writing() as session:
            next_revision(session)
            session.add(TenantRow(name="half", created=0))
            session.flush()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        half_done()
    with catalog.reading() as session:
        assert revision(session) == before
        assert session.get(TenantRow, "half") is None


def test_writers_at_once_each_get_their_own_number(catalog: Catalog) -> None:
    def write(i: int) -> int:
        with catalog.writing() as session:
            session.scalars(select(TenantRow)).all()  # a read before the write must not break the lock
            session.add(TenantRow(name=f"t{i}", created=0))
            return next_revision(session)

    with catalog.reading() as session:
        before = revision(session)
    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(write, range(40)))
    assert sorted(numbers) == list(range(before + 1, before + 41))


def test_postgresql_takes_the_tables() -> None:
    """Only that the types compile: a server is not part of these tests."""
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    for table in Base.metadata.sorted_tables:
        assert "CREATE TABLE" in str(CreateTable(table).compile(dialect=dialect))
        for index in table.indexes:
            assert "CREATE INDEX" in str(CreateIndex(index).compile(dialect=dialect))


@pytest.mark.parametrize("url", ["", "nonsense", "nosuch://host/db", "sqlite:////proc/nowhere/catalog.db"])
def test_an_address_that_cannot_be_used(url: str) -> None:
    with pytest.raises(ConfigError):
        Catalog(url)


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "catalog.db").write_bytes(b"not a database " * 200)
    with pytest.raises(ServiceError, match="not a database"):
        Catalog(f"sqlite:///{tmp_path}/catalog.db")


def test_a_locked_file_is_waited_for(url: str, catalog: Catalog) -> None:
    path = url.removeprefix("sqlite:///")
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(lambda: _add(catalog, "late"))
        with pytest.raises(TimeoutError):
            waiting.result(0.3)
        other.execute("COMMIT")
        waiting.result(PATIENCE_S)
    other.close()


def _add(catalog: Catalog, name: str) -> None:
    with catalog.writing() as session:
        session.add(TenantRow(name=name, created=0))

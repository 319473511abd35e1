"""Opening the catalog's database: migrations first, then sessions that only read, or write one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event, make_url, select
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import NoSuchModuleError as NoSuchDriver
from sqlalchemy.orm import Session

from ..errors import ConfigError, ServiceError
from .tables import CounterRow

MIGRATIONS = Path(__file__).parent / "migrations"
BUSY_MS = 15_000  # how long a writer waits for another


class Catalog:
    """The catalog at ``url``: ``sqlite:///path`` or ``postgresql+psycopg://user:password@host/database``.

    Raises: ConfigError where the address cannot be used, ServiceError where the server is away.
    """

    def __init__(self, url: str) -> None:
        self.engine = _engine(url)
        try:
            migrate(self.engine)
        except DBAPIError as error:
            raise ServiceError(f"catalog {_shown(self.engine.url)} cannot be opened: {error.orig}") from None

    @contextmanager
    def reading(self) -> Iterator[Session]:
        with Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """One writer at a time, commit at the end: revisions become visible in the order of their numbers."""
        engine = self.engine.execution_options(writes=True)
        with Session(engine, expire_on_commit=False) as session, session.begin():
            session.execute(select(CounterRow).with_for_update())
            yield session

    def close(self) -> None:
        self.engine.dispose()


def next_revision(session: Session) -> int:
    """The next number of the catalog's clock; needs a writing session."""
    counter = session.scalars(select(CounterRow)).one()
    counter.revision += 1
    session.flush()
    return counter.revision


def revision(session: Session) -> int:
    return session.scalars(select(CounterRow.revision)).one()


def migrate(engine: Engine) -> None:
    """Bring an empty or older catalog to the newest schema."""
    # Imported here: alembic is not needed to read or write an open catalog.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _engine(text: str) -> Engine:
    try:
        url = make_url(text)
        if url.get_backend_name() == "sqlite":
            return _sqlite(url)
        return create_engine(url, pool_pre_ping=True)
    except (ArgumentError, NoSuchDriver, ImportError) as error:
        example = "sqlite:///var/catalog.db"
        raise ConfigError(f"catalog address {text!r} cannot be used ({error}); write it like {example}") from None


def _sqlite(url: URL) -> Engine:
    if url.database and url.database != ":memory:":
        try:
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"no folder for the catalog {url.database}: {error.strerror}") from None
    engine = create_engine(url)
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _prepare(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver's own BEGIN comes too late: see _begin
    for pragma in ("journal_mode = WAL", "foreign_keys = ON", "synchronous = FULL", f"busy_timeout = {BUSY_MS}"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin(connection: Any) -> None:
    """A writer takes the lock before it reads: a reader that turns writer would fail at once instead of waiting."""
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _shown(url: URL) -> str:
    return url.render_as_string(hide_password=True)

"""Databases: texts, each kept once with what it describes, and the immutable revisions that refer to them."""

from __future__ import annotations

import hashlib
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ..errors import ConfigError
from ..parsing.database import FORMATS
from . import overrides
from .contents import from_json, to_json
from .engine import next_revision
from .overrides import Overrides
from .refusals import TooLarge, Unknown, check_name, is_text
from .registry import need_tenant, now
from .tables import DatabaseRow, FileRow
from .types import Contents, DatabaseRevision, Signal

MAX_BYTES = 32 << 20


def check(name: str, text: str, format: str) -> None:
    """Raises: ConfigError, TooLarge."""
    check_name("database name", name)
    if format not in FORMATS:
        raise ConfigError(f"database {name!r}: format {format!r} is unknown; use one of {', '.join(FORMATS)}")
    if not is_text(text):
        raise ConfigError(f"database {name!r} is no text (it holds NUL bytes or broken UTF-8); give the file as text")
    if len(text.encode()) > MAX_BYTES:
        raise TooLarge(f"database {name!r} is larger than {MAX_BYTES >> 20} MB; give the part this machine needs")


def fingerprint(text: str, format: str) -> str:
    return hashlib.sha256(f"{format}\n{text}".encode()).hexdigest()


def is_known(session: Session, sha256: str) -> bool:
    return session.scalars(select(FileRow.sha256).where(FileRow.sha256 == sha256)).first() is not None


def keep_file(session: Session, sha256: str, text: str, described: Contents) -> None:
    """Store a text once; files are never changed or deleted."""
    if not is_known(session, sha256):
        session.add(FileRow(sha256=sha256, text=text, **to_json(described)))
        session.flush()


def publish(
    session: Session, tenant: str, name: str, format: str, sha256: str, wanted: Overrides | None
) -> DatabaseRevision:
    """A new revision, or the newest where it is the same; ``wanted`` None keeps the newest's overrides.

    Raises: Unknown or ConfigError (an override that does not fit the file).
    """
    need_tenant(session, tenant)
    signals = contents(session, sha256).signals
    before = newest(session, tenant, name)
    if wanted is None:
        wanted = overrides.kept(before.overrides if before else {}, signals)
    overrides.check(wanted, signals)
    plain = {key: dict(change) for key, change in wanted.items() if change}
    if before and (before.format, before.sha256, before.overrides) == (format, sha256, plain):
        return describe(session, before)
    return describe(session, _insert(session, tenant, name, format, sha256, plain), changed=True)


def _insert(
    session: Session, tenant: str, name: str, format: str, sha256: str, plain: dict[str, dict[str, Any]]
) -> DatabaseRow:
    row = DatabaseRow(tenant=tenant, name=name, format=format, sha256=sha256, overrides=plain, created=now())
    row.revision = next_revision(session)
    session.add(row)
    session.flush()
    return row


def newest(session: Session, tenant: str, name: str) -> DatabaseRow | None:
    query = select(DatabaseRow).where(DatabaseRow.tenant == tenant, DatabaseRow.name == name)
    return session.scalars(query.order_by(DatabaseRow.revision.desc()).limit(1)).first()


def need(session: Session, tenant: str, name: str, revision: int | None = None) -> DatabaseRow:
    """The newest revision, or the one given. Raises: Unknown."""
    row = newest(session, tenant, name) if revision is None else session.get(DatabaseRow, revision)
    if row is None or (row.tenant, row.name) != (tenant, name):
        need_tenant(session, tenant)
        which = f"database {name!r}" if revision is None else f"revision {revision} of database {name!r}"
        raise Unknown(f"{which} is not in the catalog of {tenant!r}; put it first (PUT /tenants/{tenant}/databases/…)")
    return row


def listed(session: Session, tenant: str) -> list[DatabaseRevision]:
    """The newest revision of each database, by name. Raises: Unknown."""
    need_tenant(session, tenant)
    last = select(func.max(DatabaseRow.revision)).where(DatabaseRow.tenant == tenant).group_by(DatabaseRow.name)
    rows = session.scalars(select(DatabaseRow).where(DatabaseRow.revision.in_(last)).order_by(DatabaseRow.name))
    return [describe(session, row) for row in rows]


def revisions(session: Session, tenant: str, name: str) -> list[DatabaseRevision]:
    """All of them, the newest first. Raises: Unknown."""
    need(session, tenant, name)
    query = select(DatabaseRow).where(DatabaseRow.tenant == tenant, DatabaseRow.name == name)
    return [describe(session, row) for row in session.scalars(query.order_by(DatabaseRow.revision.desc()))]


def text_of(session: Session, row: DatabaseRow) -> str:
    return session.scalars(select(FileRow.text).where(FileRow.sha256 == row.sha256)).one()


def contents(session: Session, sha256: str) -> Contents:
    query = select(FileRow.messages, FileRow.signals, FileRow.skipped).where(FileRow.sha256 == sha256)
    messages, signals, skipped = session.execute(query).one()
    return from_json({"messages": messages, "signals": signals, "skipped": skipped})


def signals_of(session: Session, row: DatabaseRow) -> list[Signal]:
    """With the units and limits a person gave."""
    return overrides.apply(row.overrides, contents(session, row.sha256).signals)


def describe(session: Session, row: DatabaseRow, changed: bool = False) -> DatabaseRevision:
    described = contents(session, row.sha256)
    return DatabaseRevision(
        row.tenant,
        row.name,
        row.revision,
        row.format,
        row.sha256,
        row.overrides,
        row.created,
        described.messages,
        len(described.signals),
        described.skipped,
        changed,
    )

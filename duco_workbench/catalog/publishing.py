"""One change and everything that follows from it, in one transaction: what the meta API calls.

A database that is bound names its signals and proposes charts; a factor that changes publishes every manifest in
force that binds it again, so that processors decode by it at their next look.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy.orm import Session

from . import charts, databases, manifests, variables
from .contents import Reader, read_apart
from .engine import Catalog
from .manifests import Bindings
from .overrides import Overrides
from .refusals import Unknown
from .registry import need_tenant
from .tables import DatabaseRow, ManifestRow
from .types import DatabaseRevision


def put_database(
    catalog: Catalog,
    tenant: str,
    name: str,
    text: str,
    format: str = "dbc",
    overrides: Overrides | None = None,
    read: Reader = read_apart,
) -> DatabaseRevision:
    """Publish a text; nothing happens where text and overrides are those of the newest revision.

    Manifests go on with the revision they bind until they are put again.

    Args:
        overrides: None keeps those of the newest revision, for signals that are still there.
        read: what reads the file.

    Raises: Unknown (tenant), TooLarge, ConfigError (a broken file, an override that does not fit).
    """
    databases.check(name, text, format)
    sha256 = databases.fingerprint(text, format)
    with catalog.reading() as session:
        need_tenant(session, tenant)
        known = databases.is_known(session, sha256)
    described = None if known else read(text, format, name)  # takes seconds: outside any transaction
    with catalog.writing() as session:
        if described:
            databases.keep_file(session, sha256, text, described)
        return databases.publish(session, tenant, name, format, sha256, overrides)


def patch_signal(session: Session, tenant: str, name: str, signal: str, change: Mapping[str, Any]) -> DatabaseRevision:
    """Change a signal's ``scale``, ``offset``, ``unit``, ``minimum``, ``maximum`` or ``validity``.

    Raises: Unknown, ConfigError.
    """
    row = databases.need(session, tenant, name)
    changed = {**row.overrides.get(signal, {}), **change}
    return _supersede(session, row, row, {**row.overrides, signal: changed})


def unpatch_signal(session: Session, tenant: str, name: str, signal: str) -> DatabaseRevision:
    """Back to what the file says of a signal. Raises: Unknown."""
    row = databases.need(session, tenant, name)
    if signal not in row.overrides:
        raise Unknown(f"database {name!r} has no override of {signal!r}; there is nothing to take back")
    return _supersede(session, row, row, {key: change for key, change in row.overrides.items() if key != signal})


def restore_database(session: Session, tenant: str, name: str, revision: int) -> DatabaseRevision:
    """Go back: publish an old revision's text and overrides as the newest. Raises: Unknown."""
    old = databases.need(session, tenant, name, revision)
    return _supersede(session, databases.need(session, tenant, name), old, old.overrides)


def put_manifest(
    session: Session, tenant: str, chassis_id: str, bindings: Bindings, keep: str | None = None, valid_from: int = 0
) -> tuple[ManifestRow, bool]:
    """As :func:`manifests.put`; its databases' signals get variables, the device gets charts."""
    row, is_new = manifests.put(session, tenant, chassis_id, bindings, keep, valid_from)
    if is_new:
        _follow(session, tenant, [row])
    return row, is_new


def _supersede(session: Session, newest: DatabaseRow, file: DatabaseRow, overrides: Overrides) -> DatabaseRevision:
    tenant, name = newest.tenant, newest.name
    published = databases.publish(session, tenant, name, file.format, file.sha256, overrides)
    again = manifests.rebind(session, tenant, name, published.revision)
    _follow(session, tenant, again)
    return replace(published, manifests=tuple(row.revision for row in again))


def _follow(session: Session, tenant: str, rows: Iterable[ManifestRow]) -> None:
    rows = list(rows)
    for database in manifests.bound_databases(session, rows):
        variables.follow(session, tenant, database.name, databases.signals_of(session, database))
    for chassis_id in dict.fromkeys(row.chassis_id for row in rows):
        charts.propose(session, tenant, chassis_id)

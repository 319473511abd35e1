"""Decoder manifests: which databases decode which bus of a device, from which event time on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ..errors import ConfigError
from ..manifests import ANY_DEVICE
from ..model import bus_name
from . import databases
from .engine import next_revision
from .refusals import Unknown, check_name
from .registry import device, need_tenant, now
from .tables import DatabaseRow, ManifestRow

KEEP = ("changes", "all")
LATEST = 2**62  # microseconds; beyond any time a device can state
Bindings = Mapping[str, str | Sequence[str]]  # bus -> database, or several that share the bus


def put(
    session: Session, tenant: str, chassis_id: str, bindings: Bindings, keep: str | None = None, valid_from: int = 0
) -> tuple[ManifestRow, bool]:
    """Bind the newest revision of each database; the manifest and whether it is new.

    One in force for the same device from the same time on is replaced, or stays where nothing differs.
    ``keep`` None is what that one has, else ``changes``. Raises: Unknown, ConfigError.
    """
    need_device(session, tenant, chassis_id)
    if not -LATEST < valid_from < LATEST:
        raise ConfigError(f"valid_from {valid_from} is no time in microseconds since 1970")
    before = next((m for m in in_force(session, tenant, chassis_id) if m.valid_from == valid_from), None)
    keep = keep or (before.keep if before else KEEP[0])
    if keep not in KEEP:
        raise ConfigError(f"keep {keep!r} is none of {', '.join(KEEP)}")
    bound = _resolve(session, tenant, bindings)
    if before and (before.bindings, before.keep) == (bound, keep):
        return before, False
    return _publish(session, tenant, chassis_id, valid_from, keep, bound), True


def rebind(session: Session, tenant: str, name: str, revision: int) -> list[ManifestRow]:
    """Publish again every manifest in force that binds a database, now to this revision of it."""
    published = []
    for row in in_force(session, tenant):
        bound = [{**b, "revision": revision} if b["name"] == name else b for b in row.bindings]
        if bound != row.bindings:
            published.append(_publish(session, tenant, row.chassis_id, row.valid_from, row.keep, bound))
    return published


def need_device(session: Session, tenant: str, chassis_id: str) -> None:
    """A device of the tenant, or ``*``. Raises: Unknown."""
    if chassis_id == ANY_DEVICE:
        need_tenant(session, tenant)
    else:
        device(session, tenant, chassis_id)


def in_force(
    session: Session, tenant: str | None = None, chassis_id: str | None = None, since: int = 0
) -> list[ManifestRow]:
    """The newest of each device and ``valid_from``, by revision, of those after ``since``.

    An older one of the same key is never chosen, so nobody needs it to decode.
    """
    key = (ManifestRow.tenant, ManifestRow.chassis_id, ManifestRow.valid_from)
    last = select(func.max(ManifestRow.revision)).group_by(*key)
    query = select(ManifestRow).where(ManifestRow.revision.in_(last), ManifestRow.revision > since)
    if tenant is not None:
        query = query.where(ManifestRow.tenant == tenant)
    if chassis_id is not None:
        query = query.where(ManifestRow.chassis_id == chassis_id)
    return list(session.scalars(query.order_by(ManifestRow.revision)))


def history(session: Session, tenant: str, chassis_id: str) -> list[ManifestRow]:
    """Every revision, the newest first. Raises: Unknown."""
    need_device(session, tenant, chassis_id)
    query = select(ManifestRow).where(ManifestRow.tenant == tenant, ManifestRow.chassis_id == chassis_id)
    return list(session.scalars(query.order_by(ManifestRow.revision.desc())))


def at(session: Session, tenant: str, chassis_id: str, ts: int) -> ManifestRow:
    """The one that decodes a message of ``ts``: as :func:`duco_workbench.manifests.choose`. Raises: Unknown."""
    need_device(session, tenant, chassis_id)
    rows = [row for row in applying(session, tenant, chassis_id) if row.valid_from <= ts]
    if not rows:
        raise Unknown(f"no decoder manifest applies to {tenant}/{chassis_id} then; put one first (PUT …/manifest)")
    return max(rows, key=lambda row: (row.chassis_id != ANY_DEVICE, row.valid_from, row.revision))


def applying(session: Session, tenant: str, chassis_id: str) -> list[ManifestRow]:
    """Those in force for a device: its own and those for all."""
    return [row for row in in_force(session, tenant) if row.chassis_id in (chassis_id, ANY_DEVICE)]


def bound_databases(session: Session, rows: Sequence[ManifestRow]) -> list[DatabaseRow]:
    """Each revision once, in the order bound."""
    wanted = dict.fromkeys(binding["revision"] for row in rows for binding in row.bindings)
    return [session.get_one(DatabaseRow, revision) for revision in wanted]


def _resolve(session: Session, tenant: str, bindings: Bindings) -> list[dict[str, Any]]:
    bound = []
    for bus, names in bindings.items():
        check_name("bus", bus)
        for name in dict.fromkeys([names] if isinstance(names, str) else names):
            row = databases.need(session, tenant, name)
            bound.append({"bus": bus_name(bus), "name": name, "revision": row.revision})
    return sorted(bound, key=lambda b: b["bus"])  # stable: several of one bus stay in the order given


def _publish(
    session: Session, tenant: str, chassis_id: str, valid_from: int, keep: str, bound: list[dict[str, Any]]
) -> ManifestRow:
    row = ManifestRow(tenant=tenant, chassis_id=chassis_id, valid_from=valid_from, keep=keep, bindings=bound)
    row.revision, row.created = next_revision(session), now()
    session.add(row)
    session.flush()
    return row

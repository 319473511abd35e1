"""Tenants and devices."""

from __future__ import annotations

import time

from sqlalchemy import select
from sqlalchemy.orm import Session

from .engine import next_revision
from .refusals import Conflict, Unknown, check_chassis_id, check_name, check_tenant
from .tables import DeviceRow, TenantRow
from .types import Device


def now() -> int:
    """Microseconds UTC."""
    return time.time_ns() // 1000


def tenants(session: Session) -> list[str]:
    return list(session.scalars(select(TenantRow.name).order_by(TenantRow.name)))


def add_tenant(session: Session, name: str) -> bool:
    """Returns: whether it is new."""
    check_tenant(name)
    if session.get(TenantRow, name):
        return False
    next_revision(session)
    session.add(TenantRow(name=name, created=now()))
    session.flush()
    return True


def need_tenant(session: Session, name: str) -> None:
    """Raises: Unknown."""
    if not session.get(TenantRow, name):
        raise Unknown(f"tenant {name!r} is not in the catalog; add it first (POST /tenants)")


def devices(session: Session, tenant: str | None = None) -> list[Device]:
    """By chassis id; of every tenant where none is given."""
    query = select(DeviceRow).order_by(DeviceRow.chassis_id)
    if tenant is not None:
        need_tenant(session, tenant)
        query = query.where(DeviceRow.tenant == tenant)
    return [_device(row) for row in session.scalars(query)]


def device(session: Session, tenant: str, chassis_id: str) -> Device:
    """Raises: Unknown."""
    return _device(_row(session, tenant, chassis_id))


def add_device(session: Session, tenant: str, chassis_id: str, name: str = "", kind: str = "") -> tuple[Device, bool]:
    """The device and whether it is new; one that is there stays as it is. Raises: Unknown, Conflict, ConfigError."""
    check_chassis_id(chassis_id)
    need_tenant(session, tenant)
    row = session.get(DeviceRow, chassis_id)
    if row is None:
        return _insert(session, tenant, chassis_id, name, kind), True
    if row.tenant != tenant:
        raise Conflict(f"chassis id {chassis_id!r} belongs to another tenant; it is unique per hub, choose another")
    return _device(row), False


def _insert(session: Session, tenant: str, chassis_id: str, name: str, kind: str) -> Device:
    _check_words(name, kind)
    row = DeviceRow(chassis_id=chassis_id, tenant=tenant, name=name, kind=kind, created=now())
    next_revision(session)
    session.add(row)
    session.flush()
    return _device(row)


def edit_device(session: Session, tenant: str, chassis_id: str, name: str | None, kind: str | None) -> Device:
    """None leaves a field as it is. Raises: Unknown, ConfigError."""
    row = _row(session, tenant, chassis_id)
    changed = (row.name if name is None else name, row.kind if kind is None else kind)
    if changed != (row.name, row.kind):
        _check_words(*changed)
        row.name, row.kind = changed
        next_revision(session)
    return _device(row)


def _check_words(name: str, kind: str) -> None:
    for what, text in (("device name", name), ("device kind", kind)):
        if text:
            check_name(what, text)


def _row(session: Session, tenant: str, chassis_id: str) -> DeviceRow:
    need_tenant(session, tenant)
    row = session.get(DeviceRow, chassis_id)
    if row is None or row.tenant != tenant:
        raise Unknown(
            f"device {tenant}/{chassis_id} is not in the catalog; add it first (POST /tenants/{tenant}/devices)"
        )
    return row


def _device(row: DeviceRow) -> Device:
    return Device(row.tenant, row.chassis_id, row.name, row.kind, row.created)

"""Chart groups: proposed for each device as its databases are bound, until a person arranges them."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from ..errors import ConfigError
from ..manifests import ANY_DEVICE
from . import manifests, proposals, variables
from .engine import next_revision
from .refusals import Unknown, check_name
from .tables import ChartGroupRow
from .types import ChartGroup

MOST = 100  # groups and curves a person may put


def of_device(session: Session, tenant: str, chassis_id: str) -> list[ChartGroup]:
    """Its own, else those for all devices (``*``), in the order drawn. Raises: Unknown."""
    manifests.need_device(session, tenant, chassis_id)
    rows = _rows(session, tenant, chassis_id) or _rows(session, tenant, ANY_DEVICE)
    return [ChartGroup(row.name, tuple(row.variables), row.unit) for row in rows]


def put(session: Session, tenant: str, chassis_id: str, groups: Sequence[ChartGroup]) -> list[ChartGroup]:
    """Replace a device's groups; no proposal replaces them from now on. Raises: Unknown, ConfigError."""
    manifests.need_device(session, tenant, chassis_id)
    known = {variable.name: variable.unit for variable in variables.listed(session, tenant)}
    _check(groups, known)
    groups = [ChartGroup(g.name, g.variables, g.unit or _common({known[v] for v in g.variables})) for g in groups]
    if not _same(_rows(session, tenant, chassis_id), groups, proposed=False):
        _replace(session, tenant, chassis_id, groups, proposed=False)
        next_revision(session)
    return groups


def reset(session: Session, tenant: str, chassis_id: str) -> list[ChartGroup]:
    """Back to what is proposed. Raises: Unknown."""
    manifests.need_device(session, tenant, chassis_id)
    _replace(session, tenant, chassis_id, [], proposed=True)
    propose(session, tenant, chassis_id)
    next_revision(session)
    return of_device(session, tenant, chassis_id)


def propose(session: Session, tenant: str, chassis_id: str) -> None:
    """The variables of a device changed: propose anew, unless a person has arranged its charts."""
    rows = _rows(session, tenant, chassis_id)
    if all(row.proposed for row in rows):
        groups = proposals.propose(variables.of_device(session, tenant, chassis_id))
        if not _same(rows, groups, proposed=True):
            _replace(session, tenant, chassis_id, groups, proposed=True)


def _check(groups: Sequence[ChartGroup], known: dict[str, str]) -> None:
    if not 0 < len(groups) <= MOST or any(len(g.variables) > MOST for g in groups):
        raise ConfigError(f"give 1 to {MOST} groups of at most {MOST} variables, or DELETE them for those proposed")
    if len({g.name for g in groups}) < len(groups):
        raise ConfigError("two chart groups have one name; name them apart")
    for group in groups:
        check_name("chart group", group.name.replace("/", ""))
        if group.unit:
            check_name("unit", group.unit.replace("/", ""))
        for name in group.variables:
            if name not in known:
                raise Unknown(f"chart group {group.name!r}: variable {name!r} is not in the catalog")


def _common(units: set[str]) -> str:
    return units.pop() if len(units) == 1 else ""


def _same(rows: Sequence[ChartGroupRow], groups: Sequence[ChartGroup], proposed: bool) -> bool:
    stored = [(row.name, row.unit, row.variables, row.proposed) for row in rows]
    return stored == [(g.name, g.unit, list(g.variables), proposed) for g in groups]


def _rows(session: Session, tenant: str, chassis_id: str) -> list[ChartGroupRow]:
    query = select(ChartGroupRow).where(ChartGroupRow.tenant == tenant, ChartGroupRow.chassis_id == chassis_id)
    return list(session.scalars(query.order_by(ChartGroupRow.position)))


def _replace(session: Session, tenant: str, chassis_id: str, groups: Sequence[ChartGroup], proposed: bool) -> None:
    session.execute(delete(ChartGroupRow).where(ChartGroupRow.tenant == tenant, ChartGroupRow.chassis_id == chassis_id))
    for position, group in enumerate(groups):
        row = ChartGroupRow(tenant=tenant, chassis_id=chassis_id, position=position, proposed=proposed)
        row.name, row.unit, row.variables = group.name, group.unit, list(group.variables)
        session.add(row)
    session.flush()

"""Variables: the friendly names of series. Filled from databases as they are bound, edited by people."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from ..errors import ConfigError
from ..model import Variable
from . import databases, manifests, naming
from .engine import next_revision
from .refusals import Conflict, Unknown, check_name
from .registry import need_tenant
from .tables import ChartGroupRow, VariableRow
from .types import Signal
from .units import normalise

KINDS = ("gauge", "additive", "increasing", "state")
_FACTS = ("unit", "kind", "spn", "description", "minimum", "maximum")


def listed(session: Session, tenant: str) -> list[Variable]:
    """All of a tenant, by name. Raises: Unknown."""
    need_tenant(session, tenant)
    return [_variable(row) for row in _rows(session, tenant)]


def of_device(session: Session, tenant: str, chassis_id: str) -> list[Variable]:
    """Those of the signals of its databases, in the databases' order, then those of no database. Raises: Unknown."""
    manifests.need_device(session, tenant, chassis_id)
    bound = manifests.bound_databases(session, manifests.applying(session, tenant, chassis_id))
    order: dict[str, int] = {}
    for row in bound:
        for signal in databases.contents(session, row.sha256).signals:
            order.setdefault(signal.key, len(order))
    rows = [row for row in _rows(session, tenant) if row.signal in order or not row.database]
    return [_variable(row) for row in sorted(rows, key=lambda row: order.get(row.signal, len(order)))]


def follow(session: Session, tenant: str, database: str, signals: Iterable[Signal]) -> None:
    """A database was bound: name the signals that have no name, refresh the facts of those it named.

    A name in use never changes, and nothing changes of a variable that a person edited.
    """
    found = {signal.key: signal for signal in signals}
    rows = _rows(session, tenant)
    named = {row.signal for row in rows}
    for row in rows:
        if row.database == database and not row.edited and row.signal in found:
            _refresh(row, found[row.signal])
    new = [signal for key, signal in found.items() if key not in named]
    for variable in naming.propose(new, {row.name for row in rows}):
        session.add(_row(VariableRow(tenant=tenant, database=database, edited=False), variable))
    session.flush()


def put(session: Session, tenant: str, name: str, variable: Variable) -> Variable:
    """Add or replace the variable ``name``; where ``variable.name`` differs, rename it, in charts too.

    Raises: Unknown (tenant), Conflict (the new name is taken), ConfigError.
    """
    need_tenant(session, tenant)
    variable = replace(variable, unit=normalise(variable.unit))
    _check(variable)
    row = _find(session, tenant, name)
    if variable.name != name and _find(session, tenant, variable.name):
        raise Conflict(f"variable {variable.name!r} exists already; choose another name")
    if row and _variable(row) == variable:
        return variable
    row = row or _add(session, tenant, variable)
    _row(row, variable).edited = True
    _in_charts(session, tenant, name, variable.name)
    next_revision(session)
    return variable


def remove(session: Session, tenant: str, name: str) -> None:
    """Also from charts; the next binding of its database names the signal anew. Raises: Unknown."""
    row = _find(session, tenant, name)
    if row is None:
        need_tenant(session, tenant)
        raise Unknown(f"variable {name!r} is not in the catalog of {tenant!r}")
    session.delete(row)
    _in_charts(session, tenant, name, None)
    next_revision(session)


def _check(variable: Variable) -> None:
    check_name("variable", variable.name.replace("/", ""))
    if not all(variable.signal.rpartition(".")) or len(variable.signal) > 500:
        raise ConfigError(f"signal {variable.signal!r}: write Message.Signal as the database has it")
    if variable.kind not in KINDS:
        raise ConfigError(f"kind {variable.kind!r} is none of {', '.join(KINDS)}")
    for what, text in (("source", variable.source), ("unit", variable.unit.replace("/", ""))):
        if text:
            check_name(what, text)
    if any(not math.isfinite(limit) for limit in (variable.minimum, variable.maximum) if limit is not None):
        raise ConfigError(f"variable {variable.name!r}: its limits are no finite numbers")


def _rows(session: Session, tenant: str) -> list[VariableRow]:
    return list(session.scalars(select(VariableRow).where(VariableRow.tenant == tenant).order_by(VariableRow.name)))


def _find(session: Session, tenant: str, name: str) -> VariableRow | None:
    query = select(VariableRow).where(VariableRow.tenant == tenant, VariableRow.name == name)
    return session.scalars(query).first()


def _add(session: Session, tenant: str, variable: Variable) -> VariableRow:
    """A second name of a signal belongs to the database of the first."""
    query = select(VariableRow.database).where(VariableRow.tenant == tenant, VariableRow.signal == variable.signal)
    row = VariableRow(tenant=tenant, database=session.scalars(query).first() or "", edited=True)
    session.add(_row(row, variable))
    return row


def _refresh(row: VariableRow, signal: Signal) -> None:
    (facts,) = naming.propose([signal], ())
    for field in _FACTS:
        setattr(row, field, getattr(facts, field))
    row.choices = {str(value): label for value, label in facts.choices.items()}


def _in_charts(session: Session, tenant: str, name: str, new: str | None) -> None:
    if name == new:
        return
    for group in session.scalars(select(ChartGroupRow).where(ChartGroupRow.tenant == tenant)):
        if name in group.variables:
            group.variables = [new if v == name else v for v in group.variables if new or v != name]  # type: ignore[misc]


def _row(row: VariableRow, variable: Variable) -> VariableRow:
    for field, value in asdict(variable).items():
        setattr(row, field, value)
    row.aliases = list(variable.aliases)
    row.choices = {str(value): label for value, label in variable.choices.items()}
    return row


def _variable(row: VariableRow) -> Variable:
    return Variable(
        row.name,
        row.signal,
        row.source,
        row.unit,
        row.kind,
        row.spn,
        row.description,
        tuple(row.aliases),
        row.minimum,
        row.maximum,
        {int(value): label for value, label in row.choices.items()},
    )

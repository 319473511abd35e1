"""What the catalog stores. Types and defaults are those SQLite and PostgreSQL share; times are microseconds UTC.

One row, ``counter``, is the catalog's clock: every change takes its next number, and a database or manifest revision
is the number its change took. Revisions are never edited or deleted; going back publishes a new one.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, Boolean, Float, ForeignKey, Index, Integer, MetaData, String, Text
from sqlalchemy import UniqueConstraint as Unique
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

Json = dict[str, Any]


class Base(DeclarativeBase):
    metadata = MetaData(  # named, so that a later migration can alter them on either engine
        naming_convention={
            "pk": "pk_%(table_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        }
    )
    type_annotation_map = {Json: JSON, list[str]: JSON, list[Json]: JSON, str: String(200)}  # noqa: RUF012


class CounterRow(Base):
    __tablename__ = "counter"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    revision: Mapped[int] = mapped_column(BigInteger)


class TenantRow(Base):
    __tablename__ = "tenants"

    name: Mapped[str] = mapped_column(primary_key=True)
    created: Mapped[int] = mapped_column(BigInteger)


class DeviceRow(Base):
    __tablename__ = "devices"

    chassis_id: Mapped[str] = mapped_column(primary_key=True)  # unique per hub, whatever the tenant
    tenant: Mapped[str] = mapped_column(ForeignKey("tenants.name"), index=True)
    name: Mapped[str]
    kind: Mapped[str]
    created: Mapped[int] = mapped_column(BigInteger)


class FileRow(Base):
    """A database file's text and what it describes, kept once however many revisions change a factor of it."""

    __tablename__ = "database_files"

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)  # of the format and the text
    text: Mapped[str] = mapped_column(Text)
    messages: Mapped[int] = mapped_column(Integer)
    signals: Mapped[list[Json]]
    skipped: Mapped[list[str]]


class DatabaseRow(Base):
    """One revision of one database. Immutable."""

    __tablename__ = "databases"
    __table_args__ = (Index("ix_databases_tenant_name", "tenant", "name"),)

    revision: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    tenant: Mapped[str] = mapped_column(ForeignKey("tenants.name"))
    name: Mapped[str]
    format: Mapped[str] = mapped_column(String(16))
    sha256: Mapped[str] = mapped_column(ForeignKey("database_files.sha256"))
    overrides: Mapped[Json]
    created: Mapped[int] = mapped_column(BigInteger)


class ManifestRow(Base):
    """One revision of one device's decoder manifest, or of all devices' (``*``). Immutable."""

    __tablename__ = "manifests"
    __table_args__ = (Index("ix_manifests_tenant_chassis_id", "tenant", "chassis_id"),)

    revision: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    tenant: Mapped[str] = mapped_column(ForeignKey("tenants.name"))
    chassis_id: Mapped[str]
    valid_from: Mapped[int] = mapped_column(BigInteger)
    keep: Mapped[str] = mapped_column(String(16))
    bindings: Mapped[list[Json]]  # [{"bus", "name", "revision"}]
    created: Mapped[int] = mapped_column(BigInteger)


class VariableRow(Base):
    __tablename__ = "variables"
    __table_args__ = (Unique("tenant", "name"), Index("ix_variables_tenant_signal", "tenant", "signal"))

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    tenant: Mapped[str] = mapped_column(ForeignKey("tenants.name"))
    name: Mapped[str]
    signal: Mapped[str] = mapped_column(String(500))
    source: Mapped[str]
    unit: Mapped[str]
    kind: Mapped[str] = mapped_column(String(16))
    spn: Mapped[int | None] = mapped_column(Integer)
    description: Mapped[str] = mapped_column(Text)
    aliases: Mapped[list[str]]
    minimum: Mapped[float | None] = mapped_column(Float)
    maximum: Mapped[float | None] = mapped_column(Float)
    choices: Mapped[Json]
    database: Mapped[str]  # whose signal it names; "" for one of no database, such as Position.lat
    edited: Mapped[bool] = mapped_column(Boolean)  # by a person: no database changes it any more


class ChartGroupRow(Base):
    __tablename__ = "chart_groups"
    __table_args__ = (Unique("tenant", "chassis_id", "name"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    tenant: Mapped[str] = mapped_column(ForeignKey("tenants.name"))
    chassis_id: Mapped[str]  # or "*"
    position: Mapped[int] = mapped_column(Integer)
    name: Mapped[str]
    unit: Mapped[str]
    variables: Mapped[list[str]]
    proposed: Mapped[bool] = mapped_column(Boolean)  # by us, so replaced by the next proposal; never what a person put

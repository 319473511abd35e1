"""Bodies of the meta API that are no type of the catalog's own; all times are microseconds UTC."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ..catalog.tables import ManifestRow


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")  # a misspelt field is said, not ignored


class Revision(BaseModel):
    """Rises with every change of the catalog."""

    revision: int


class NewTenant(_Body):
    name: str


class Tenant(BaseModel):
    name: str


class NewDevice(_Body):
    chassis_id: str
    name: str = ""
    kind: str = ""


class DeviceEdit(_Body):
    """What is left out stays."""

    name: str | None = None
    kind: str | None = None


class NewDatabase(_Body):
    """``overrides`` left out: those of the newest revision stay."""

    text: str = Field(description="the database file's text, at most 32 MB")
    format: str = "dbc"
    overrides: dict[str, dict[str, Any]] | None = None


class SignalEdit(_Body):
    """Only the fields given are changed."""

    scale: float | None = None
    offset: float | None = None
    unit: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    validity: Literal["none", "j1939"] | None = Field(None, description="the rule of special raw values")


class NewManifest(_Body):
    bindings: dict[str, str | list[str]] = Field(
        description='bus -> database, or several; "*" for every other bus', examples=[{"can0": "j1939", "*": "gps"}]
    )
    valid_from: int = Field(0, description="first event time it decodes")
    keep: Literal["changes", "all"] | None = Field(None, description="left out: as it is, else changes")


class Binding(BaseModel):
    """The text is at ``/tenants/{tenant}/databases/{name}/revisions/{revision}/text``; equal sha256, equal text."""

    bus: str
    name: str
    revision: int
    format: str = "dbc"
    sha256: str = ""
    overrides: dict[str, dict[str, Any]] = {}


class Manifest(BaseModel):
    revision: int
    tenant: str
    chassis_id: str
    valid_from: int
    keep: str
    created: int
    bindings: list[Binding]
    changed: bool = Field(False, description="whether this call published it")

    @classmethod
    def of(cls, row: ManifestRow, bindings: list[Binding], changed: bool = False) -> Manifest:
        return cls(
            revision=row.revision,
            tenant=row.tenant,
            chassis_id=row.chassis_id,
            valid_from=row.valid_from,
            keep=row.keep,
            created=row.created,
            bindings=bindings,
            changed=changed,
        )


class Manifests(BaseModel):
    """Those in force; ``revision`` is the catalog's when they were read."""

    revision: int
    manifests: list[Manifest]


ChassisIdOrAll = Annotated[str, Field(description="a device, or * for all of the tenant")]

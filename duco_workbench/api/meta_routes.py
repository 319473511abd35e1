"""The meta API's paths, in the order of its documentation. Each opens one session and calls the catalog once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import PlainTextResponse
from sqlalchemy.orm import Session

from ..catalog import charts, databases, manifests, publishing, registry, variables
from ..catalog.engine import Catalog, revision
from ..catalog.tables import DatabaseRow, ManifestRow
from ..catalog.types import ChartGroup, DatabaseRevision, Device, Signal
from ..model import Variable
from . import meta_schemas as schemas


def _catalog(request: Request) -> Catalog:
    catalog: Catalog = request.app.state.catalog
    return catalog


Store = Annotated[Catalog, Depends(_catalog)]
ChassisId = Annotated[str, Path(description="a device's id; for manifests and charts also * (all of the tenant)")]
SignalName = Annotated[str, Path(description="Message.Signal")]

service = APIRouter(tags=["service"])
registered = APIRouter(tags=["tenants and devices"])
files = APIRouter(prefix="/tenants/{tenant}/databases", tags=["databases"])
decoding = APIRouter(tags=["decoder manifests"])
shown = APIRouter(tags=["variables and charts"])
ROUTERS = (service, registered, files, decoding, shown)


@service.get("/revision", summary="The catalog's revision: cheap, for whoever follows it")
def get_revision(store: Store) -> schemas.Revision:
    with store.reading() as session:
        return schemas.Revision(revision=revision(session))


@registered.get("/tenants", summary="All tenants")
def get_tenants(store: Store) -> list[schemas.Tenant]:
    with store.reading() as session:
        return [schemas.Tenant(name=name) for name in registry.tenants(session)]


@registered.post("/tenants", summary="Add a tenant; one that is there stays (200)", status_code=201)
def post_tenant(body: schemas.NewTenant, store: Store, response: Response) -> schemas.Tenant:
    with store.writing() as session:
        if not registry.add_tenant(session, body.name):
            response.status_code = 200
    return schemas.Tenant(name=body.name)


@registered.get("/devices", summary="Devices of every tenant")
def get_all_devices(store: Store) -> list[Device]:
    with store.reading() as session:
        return registry.devices(session)


@registered.get("/tenants/{tenant}/devices", summary="Devices of a tenant")
def get_devices(tenant: str, store: Store) -> list[Device]:
    with store.reading() as session:
        return registry.devices(session, tenant)


@registered.post("/tenants/{tenant}/devices", summary="Add a device; one that is there stays (200)", status_code=201)
def post_device(tenant: str, body: schemas.NewDevice, store: Store, response: Response) -> Device:
    with store.writing() as session:
        device, is_new = registry.add_device(session, tenant, body.chassis_id, body.name, body.kind)
    response.status_code = 201 if is_new else 200
    return device


@registered.get("/tenants/{tenant}/devices/{chassis_id}", summary="One device")
def get_device(tenant: str, chassis_id: ChassisId, store: Store) -> Device:
    with store.reading() as session:
        return registry.device(session, tenant, chassis_id)


@registered.put("/tenants/{tenant}/devices/{chassis_id}", summary="Change a device's name or kind")
def put_device(tenant: str, chassis_id: ChassisId, body: schemas.DeviceEdit, store: Store) -> Device:
    with store.writing() as session:
        return registry.edit_device(session, tenant, chassis_id, body.name, body.kind)


@files.get("", summary="The newest revision of each database")
def get_databases(tenant: str, store: Store) -> list[DatabaseRevision]:
    with store.reading() as session:
        return databases.listed(session, tenant)


@files.put("/{name}", summary="Publish a database file; the same content changes nothing")
def put_database(tenant: str, name: str, body: schemas.NewDatabase, store: Store) -> DatabaseRevision:
    return publishing.put_database(store, tenant, name, body.text, body.format, body.overrides)


@files.get("/{name}", summary="Its newest revision")
def get_database(tenant: str, name: str, store: Store) -> DatabaseRevision:
    with store.reading() as session:
        return databases.describe(session, databases.need(session, tenant, name))


@files.get("/{name}/signals", summary="Its signals, with the units and limits a person gave")
def get_signals(tenant: str, name: str, store: Store) -> list[Signal]:
    with store.reading() as session:
        return databases.signals_of(session, databases.need(session, tenant, name))


@files.patch("/{name}/signals/{signal:path}", summary="Change a factor; manifests that bind it are published again")
def patch_signal(
    tenant: str, name: str, signal: SignalName, body: schemas.SignalEdit, store: Store
) -> DatabaseRevision:
    with store.writing() as session:
        change = body.model_dump(exclude_none=True)
        return publishing.patch_signal(session, tenant, name, signal, change)


@files.delete("/{name}/signals/{signal:path}", summary="Take back what was changed of a signal")
def unpatch_signal(tenant: str, name: str, signal: SignalName, store: Store) -> DatabaseRevision:
    with store.writing() as session:
        return publishing.unpatch_signal(session, tenant, name, signal)


@files.get("/{name}/revisions", summary="All its revisions, the newest first")
def get_database_revisions(tenant: str, name: str, store: Store) -> list[DatabaseRevision]:
    with store.reading() as session:
        return databases.revisions(session, tenant, name)


@files.get("/{name}/revisions/{number}", summary="One revision")
def get_database_revision(tenant: str, name: str, number: int, store: Store) -> DatabaseRevision:
    with store.reading() as session:
        return databases.describe(session, databases.need(session, tenant, name, number))


@files.get("/{name}/revisions/{number}/text", summary="Its text; never changes", response_class=PlainTextResponse)
def get_text(tenant: str, name: str, number: int, store: Store) -> PlainTextResponse:
    with store.reading() as session:
        return PlainTextResponse(databases.text_of(session, databases.need(session, tenant, name, number)))


@files.post("/{name}/revisions/{number}/restore", summary="Go back: publish an old revision as the newest")
def restore(tenant: str, name: str, number: int, store: Store) -> DatabaseRevision:
    with store.writing() as session:
        return publishing.restore_database(session, tenant, name, number)


@decoding.get("/manifests", summary="Every manifest in force, texts by reference: for processors")
def get_manifests(
    store: Store,
    since: Annotated[int, Query(description="only those published after this revision")] = 0,
    tenant: str | None = None,
) -> schemas.Manifests:
    with store.reading() as session:
        now = revision(session)
        rows = manifests.in_force(session, tenant, since=since)
        return schemas.Manifests(revision=now, manifests=_shown(session, rows))


@decoding.get("/tenants/{tenant}/devices/{chassis_id}/manifest", summary="The one in force now, or at an event time")
def get_manifest(tenant: str, chassis_id: ChassisId, store: Store, ts: int | None = None) -> schemas.Manifest:
    with store.reading() as session:
        at = time.time_ns() // 1000 if ts is None else ts
        return _shown(session, [manifests.at(session, tenant, chassis_id, at)])[0]


@decoding.put("/tenants/{tenant}/devices/{chassis_id}/manifest", summary="Bind databases to buses")
def put_manifest(tenant: str, chassis_id: ChassisId, body: schemas.NewManifest, store: Store) -> schemas.Manifest:
    with store.writing() as session:
        row, is_new = publishing.put_manifest(session, tenant, chassis_id, body.bindings, body.keep, body.valid_from)
        (manifest,) = _shown(session, [row])
    return manifest.model_copy(update={"changed": is_new})


@decoding.get("/tenants/{tenant}/devices/{chassis_id}/manifests", summary="All its revisions, the newest first")
def get_device_manifests(tenant: str, chassis_id: ChassisId, store: Store) -> list[schemas.Manifest]:
    with store.reading() as session:
        return _shown(session, manifests.history(session, tenant, chassis_id))


def _shown(session: Session, rows: Sequence[ManifestRow]) -> list[schemas.Manifest]:
    """With their databases looked up, each once."""
    bound = {row.revision: row for row in manifests.bound_databases(session, rows)}
    return [schemas.Manifest.of(row, [_binding(b["bus"], bound[b["revision"]]) for b in row.bindings]) for row in rows]


def _binding(bus: str, row: DatabaseRow) -> schemas.Binding:
    return schemas.Binding(
        bus=bus,
        name=row.name,
        revision=row.revision,
        format=row.format,
        sha256=row.sha256,
        overrides=row.overrides,
    )


@shown.get("/tenants/{tenant}/variables", summary="All variables of a tenant")
def get_variables(tenant: str, store: Store) -> list[Variable]:
    with store.reading() as session:
        return variables.listed(session, tenant)


@shown.get("/tenants/{tenant}/devices/{chassis_id}/variables", summary="Those of the databases a device is decoded by")
def get_device_variables(tenant: str, chassis_id: ChassisId, store: Store) -> list[Variable]:
    with store.reading() as session:
        return variables.of_device(session, tenant, chassis_id)


@shown.put("/tenants/{tenant}/variables/{name:path}", summary="Add, replace or (another name in the body) rename one")
def put_variable(tenant: str, name: str, body: Variable, store: Store) -> Variable:
    with store.writing() as session:
        return variables.put(session, tenant, name, body)


@shown.delete("/tenants/{tenant}/variables/{name:path}", summary="Remove one, from charts too", status_code=204)
def delete_variable(tenant: str, name: str, store: Store) -> None:
    with store.writing() as session:
        variables.remove(session, tenant, name)


@shown.get("/tenants/{tenant}/devices/{chassis_id}/chart-groups", summary="What a page draws, in order")
def get_charts(tenant: str, chassis_id: ChassisId, store: Store) -> list[ChartGroup]:
    with store.reading() as session:
        return charts.of_device(session, tenant, chassis_id)


@shown.put("/tenants/{tenant}/devices/{chassis_id}/chart-groups", summary="Arrange them")
def put_charts(tenant: str, chassis_id: ChassisId, body: list[ChartGroup], store: Store) -> list[ChartGroup]:
    with store.writing() as session:
        return charts.put(session, tenant, chassis_id, body)


@shown.delete("/tenants/{tenant}/devices/{chassis_id}/chart-groups", summary="Back to those proposed")
def reset_charts(tenant: str, chassis_id: ChassisId, store: Store) -> list[ChartGroup]:
    with store.writing() as session:
        return charts.reset(session, tenant, chassis_id)

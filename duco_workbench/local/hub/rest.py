"""The service side over REST: what azure-iot-hub and any HTTP client ask of an IoT Hub, in its words and codes.

https://learn.microsoft.com/rest/api/iothub/service
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Depends, FastAPI, Header, Request, Response
from fastapi.responses import JSONResponse

from ...errors import ServiceError
from . import views
from .refusals import Refusal, bad_argument
from .rest_duco import ours
from .rest_request import Hub, IfMatch, Services, authorized, body_of, match, throttled

METHOD_S = 30  # response time-out when none is asked for
PAGE, MAX_PAGE, MAX_DEVICES = 100, 1000, 1000
ALL_DEVICES = "select * from devices"


def create_app(services: Services) -> FastAPI:
    app = FastAPI(title="local IoT Hub", openapi_url=None)
    app.state.services = services
    app.include_router(hub)
    app.include_router(ours)
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(ServiceError, _failed)
    return app


async def _refused(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Refusal)
    return JSONResponse(error.body(), error.status, {"iothub-errorcode": error.code})


async def _failed(request: Request, error: Exception) -> JSONResponse:
    return await _refused(request, Refusal(503, "ServiceUnavailable", str(error)))


hub = APIRouter(dependencies=[Depends(authorized), Depends(throttled)])


# -- identities


class _Key(msgspec.Struct, rename="camel"):
    primary_key: str | None = None
    secondary_key: str | None = None


class _Authentication(msgspec.Struct, rename="camel"):
    type: str | None = None
    symmetric_key: _Key | None = None


class _Identity(msgspec.Struct, rename="camel"):
    device_id: str | None = None
    status: Literal["enabled", "disabled"] | None = None
    authentication: _Authentication | None = None


@hub.get("/devices")
async def get_devices(hub: Hub, top: int = MAX_DEVICES) -> list[dict[str, Any]]:
    found, _ = views.page(hub.registry, "", min(max(top, 1), MAX_DEVICES))
    return [views.identity(device, hub.devices) for device in found]


@hub.get("/devices/{device_id}")
async def get_device(device_id: str, hub: Hub) -> dict[str, Any]:
    return views.identity(hub.registry.device(device_id), hub.devices)


@hub.put("/devices/{device_id}")
async def put_device(device_id: str, request: Request, hub: Hub, if_match: IfMatch = None) -> dict[str, Any]:
    """Makes a device; with If-Match it changes the one that is there."""
    asked = await body_of(request, _Identity)
    if asked.device_id not in (None, device_id):
        raise bad_argument(f"the body is of device {asked.device_id!r}, the path of {device_id!r}")
    authentication = asked.authentication or _Authentication()
    if authentication.type not in (None, "sas"):
        raise bad_argument(f"authentication {authentication.type!r} is not done here; use sas")
    keys = authentication.symmetric_key or _Key()
    primary, secondary = keys.primary_key or "", keys.secondary_key or ""
    if if_match is None:
        device = await hub.registry.create(device_id, primary, secondary, asked.status != "disabled")
        return views.identity(device, hub.devices)
    match(if_match, views.identity_etag(hub.registry.device(device_id)))
    old = hub.registry.device(device_id).keys
    enabled = None if asked.status is None else asked.status == "enabled"
    device = await hub.registry.update(device_id, primary, secondary, enabled)
    if not device.enabled or device.keys != old:
        hub.devices.kick(device_id, "its identity was changed")
    return views.identity(device, hub.devices)


@hub.delete("/devices/{device_id}", status_code=204)
async def delete_device(device_id: str, hub: Hub, if_match: IfMatch = None) -> Response:
    match(if_match, views.identity_etag(hub.registry.device(device_id)))
    await hub.registry.delete(device_id)
    hub.devices.kick(device_id, "it was deleted")
    return Response(status_code=204)


# -- twins


class _Properties(msgspec.Struct):
    desired: dict[str, Any] | None = None


class _Twin(msgspec.Struct):
    tags: dict[str, Any] | None = None
    properties: _Properties | None = None


class _Query(msgspec.Struct):
    query: str


@hub.get("/twins/{device_id}")
async def get_twin(device_id: str, hub: Hub) -> dict[str, Any]:
    return views.twin(hub.registry.device(device_id), hub.devices)


@hub.patch("/twins/{device_id}")
async def patch_twin(device_id: str, request: Request, hub: Hub, if_match: IfMatch = None) -> dict[str, Any]:
    return await _change(device_id, request, hub, if_match, replace=False)


@hub.put("/twins/{device_id}")
async def put_twin(device_id: str, request: Request, hub: Hub, if_match: IfMatch = None) -> dict[str, Any]:
    """Replaces the sections that the body has."""
    return await _change(device_id, request, hub, if_match, replace=True)


async def _change(
    device_id: str, request: Request, hub: Services, if_match: str | None, replace: bool
) -> dict[str, Any]:
    asked = await body_of(request, _Twin)
    device = hub.registry.device(device_id)
    match(if_match, views.twin_etag(device))
    desired = asked.properties.desired if asked.properties else None
    removed: Mapping[str, Any] = dict.fromkeys(device.desired) if replace else {}
    device = await hub.registry.change_twin(device_id, asked.tags, desired, replace)
    if desired is not None:
        hub.devices.notify(device_id, {**removed, **desired}, device.desired_version)
    return views.twin(device, hub.devices)


@hub.post("/devices/query")
async def query(
    request: Request,
    hub: Hub,
    x_ms_max_item_count: Annotated[int, Header()] = PAGE,
    x_ms_continuation: Annotated[str, Header()] = "",
) -> JSONResponse:
    """Twins of all devices, page by page: the one query that is understood here."""
    asked = (await body_of(request, _Query)).query
    if " ".join(asked.lower().split()).rstrip(" ;") != ALL_DEVICES:
        raise bad_argument(f"query {asked[:200]!r}: this hub answers SELECT * FROM devices only")
    try:
        after = base64.b64decode(x_ms_continuation, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise bad_argument("the continuation token is none of this hub") from None
    found, token = views.page(hub.registry, after, min(max(x_ms_max_item_count, 1), MAX_PAGE))
    headers = {"x-ms-item-type": "Twin", **({"x-ms-continuation": token} if token else {})}
    return JSONResponse([views.twin(device, hub.devices) for device in found], headers=headers)


# -- direct methods and statistics


class _Method(msgspec.Struct, rename="camel"):
    method_name: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    payload: Any = None
    response_timeout_in_seconds: Annotated[int, msgspec.Meta(ge=5, le=300)] | None = None
    connect_timeout_in_seconds: Annotated[int, msgspec.Meta(ge=0, le=300)] | None = None


@hub.post("/twins/{device_id}/methods")
async def invoke_method(device_id: str, request: Request, hub: Hub) -> dict[str, Any]:
    asked = await body_of(request, _Method)
    hub.registry.device(device_id)
    answer = await hub.devices.invoke(
        device_id,
        asked.method_name,
        asked.payload,
        asked.response_timeout_in_seconds or METHOD_S,
        asked.connect_timeout_in_seconds or 0,
    )
    return {"status": answer.status, "payload": answer.payload}


@hub.get("/statistics/devices")
async def device_statistics(hub: Hub) -> dict[str, int]:
    return views.registry_statistics(hub.registry)


@hub.get("/statistics/service")
async def service_statistics(hub: Hub) -> dict[str, int]:
    return {"connectedDeviceCount": len(hub.devices)}

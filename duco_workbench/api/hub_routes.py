"""The way back to the machine: twins and direct methods of the IoT hub's devices, through the meta API.

404 for a device the hub does not know, 504 for one that is offline or does not answer in time (the sentence says
which), 503 where the hub is away, throttles, or the settings of this service do not fit it.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Depends, FastAPI, Request

from ..catalog.refusals import Unknown
from ..errors import ServiceError
from ..iothub import devices
from ..iothub.devices import HubDevice
from ..iothub.service import DeviceOffline, HubRefused, HubService, MethodTimeout, UnknownDevice
from . import hub_schemas as schemas

HUB = "ducohub"  # the one hub of an installation, whatever Azure calls it
RESPONSE_S = 30  # a device may take this long to answer a method
STATUS: dict[type[Exception], int] = {
    UnknownDevice: 404,
    HubRefused: 503,  # nothing the caller can mend
    DeviceOffline: 504,
    MethodTimeout: 504,
}
# Calls that wait for devices have threads of their own: however many machines are slow, the catalog answers.
MOST_WAITING = 100

router = APIRouter(prefix="/api/iothubs/{hub}/devices", tags=["twins and direct methods"])


async def _hub(request: Request, hub: str) -> HubService:
    if hub != HUB:
        raise Unknown(f"there is no IoT hub {hub!r}; it is called {HUB}")
    service: HubService | None = request.app.state.hub
    if service is None:
        raise ServiceError("this meta API has no IoT hub: set DUCO_HUB and start it again")
    return service


Hub = Annotated[HubService, Depends(_hub)]


def mount(app: FastAPI, service: HubService | None) -> None:
    """Add the paths; without a service they answer 503."""
    app.state.hub = service
    app.state.waiting_for_devices = CapacityLimiter(MOST_WAITING)
    app.include_router(router)


@router.get("", summary="Every device of the hub: tenant, connected, last seen")
def get_devices(hub: Hub) -> list[HubDevice]:
    return devices.listed(hub)


@router.post("/{chassis_id}/methods", summary="Call a direct method and wait for the device's answer")
async def post_method(chassis_id: str, body: schemas.MethodCall, hub: Hub, request: Request) -> schemas.MethodAnswer:
    payload = body.model_dump(mode="json", by_alias=True)["payload"]
    call = partial(hub.invoke, chassis_id, body.method_name, payload, response_s=RESPONSE_S)
    status, answer = await to_thread.run_sync(call, limiter=request.app.state.waiting_for_devices)
    return schemas.MethodAnswer(status=status, payload=answer)


@router.get("/{chassis_id}/twin", summary="The device twin, as IoT Hub writes it")
def get_twin(chassis_id: str, hub: Hub) -> dict[str, Any]:
    return hub.twin(chassis_id)


@router.patch("/{chassis_id}/twin", summary="Merge desired properties and tags into the device twin")
def patch_twin(chassis_id: str, body: schemas.TwinEdit, hub: Hub) -> dict[str, Any]:
    desired = body.properties.desired if body.properties else None
    return hub.patch_twin(chassis_id, desired=desired, tags=body.tags)

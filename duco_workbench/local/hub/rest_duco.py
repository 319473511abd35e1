"""What the real hub does not have, under ``/duco``: what it holds per device, and the switches for faults."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import APIRouter, Depends, Request, Response

from . import views
from .faults import EVERY
from .rest_request import Hub, authorized, body_of

ours = APIRouter(prefix="/duco", dependencies=[Depends(authorized)])


class _Fault(msgspec.Struct, forbid_unknown_fields=True):
    fault: str
    device: str = EVERY
    count: int = 1
    seconds: float = 0.0


@ours.get("/status")
async def get_status(hub: Hub) -> dict[str, Any]:
    """See :func:`views.status`."""
    return views.status(hub.registry, hub.devices, hub.journal)


@ours.get("/faults")
async def get_faults(hub: Hub) -> list[dict[str, Any]]:
    return hub.faults.active()


@ours.post("/faults", status_code=204)
async def post_fault(request: Request, hub: Hub) -> Response:
    """``{"fault": "black_hole", "device": "truck1", "seconds": 10}``; see :class:`faults.Faults`."""
    asked = await body_of(request, _Fault)
    hub.faults.switch(asked.fault, asked.device, asked.count, asked.seconds)
    return Response(status_code=204)


@ours.delete("/faults", status_code=204)
async def delete_faults(hub: Hub) -> Response:
    hub.faults.clear()
    return Response(status_code=204)

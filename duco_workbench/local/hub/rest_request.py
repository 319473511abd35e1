"""What every REST route needs of a request: the hub's parts, the right to ask, a body that can be read."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Annotated, TypeVar

import msgspec
from fastapi import Depends, Header, Request

from ...iothub.sas import check_token, token_fields
from .devices import Devices
from .faults import EVERY, Faults
from .identity import EVENTS_POLICY, REST_POLICY, Identity
from .journal import Journal
from .refusals import Refusal, bad_argument
from .registry import Registry

T = TypeVar("T")

MAX_BODY = 256 << 10  # bytes; a method's payload may have 128 KiB, a twin less


@dataclass(frozen=True, slots=True)
class Services:
    """What the routes work on."""

    identity: Identity
    registry: Registry
    devices: Devices
    journal: Journal
    faults: Faults


def services_of(request: Request) -> Services:
    found: Services = request.app.state.services
    return found


Hub = Annotated[Services, Depends(services_of)]
IfMatch = Annotated[str | None, Header()]


def authorized(request: Request, hub: Hub, authorization: Annotated[str, Header()] = "") -> None:
    """A token of one of the hub's policies for the host that was asked. Raises: Refusal."""
    key = base64.b64decode(hub.identity.key)
    wrong = check_token(authorization, request.headers.get("host", "") + request.url.path, key)
    if wrong is None and token_fields(authorization).get("skn") not in (REST_POLICY, EVENTS_POLICY):
        wrong = f"its policy is none of {REST_POLICY}, {EVENTS_POLICY}"
    if wrong:
        raise Refusal(401, "IotHubUnauthorizedAccess", f"Unauthorized: the token is refused, {wrong}")


def throttled(request: Request, hub: Hub) -> None:
    if hub.faults.left("throttle", request.path_params.get("device_id", EVERY)) > 0:
        raise Refusal(429, "ThrottlingException", "Too many requests; try again later")


def match(if_match: str | None, etag: str) -> None:
    """Raises: Refusal when the caller's etag is an older one."""
    if if_match is not None and if_match.strip().strip('"') not in ("*", etag):
        raise Refusal(412, "PreconditionFailed", f"the etag {if_match} is not {etag}: someone else made a change")


async def body_of(request: Request, kind: type[T]) -> T:
    """The request's JSON. Raises: Refusal when it is none, or not of that kind."""
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > MAX_BODY:
            raise Refusal(413, "RequestEntityTooLarge", f"more than {MAX_BODY} bytes")
    try:
        return msgspec.json.decode(content, type=kind)
    except (ValueError, RecursionError) as error:
        raise bad_argument(f"the body cannot be read: {error}") from None

"""Bodies of the paths under ``/api/iothubs``: fields are named as IoT Hub names them."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag
from pydantic.alias_generators import to_camel

REALTIME = "setRealTimeUpload"


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", alias_generator=to_camel)


class RealTimeUpload(_Body):
    action: Literal["start", "stop"]
    reason: str = Field(min_length=1, max_length=200, examples=["user_action"])
    command_id: UUID


class RealTimeUploadCall(_Body):
    method_name: Literal["setRealTimeUpload"]
    payload: RealTimeUpload


class OtherCall(_Body):
    """A method that the agent of the machine may know; its payload is passed on as it is."""

    method_name: str = Field(min_length=1, max_length=100)
    payload: Any = None


def _which(body: Any) -> str:
    name = body.get("methodName") if isinstance(body, dict) else getattr(body, "method_name", None)
    return REALTIME if name == REALTIME else "other"


MethodCall = Annotated[
    Annotated[RealTimeUploadCall, Tag(REALTIME)] | Annotated[OtherCall, Tag("other")], Discriminator(_which)
]


class MethodAnswer(BaseModel):
    """What the device answered; ``status`` is its own (200: done), whatever the HTTP status says of the hub."""

    status: int
    payload: Any = None


class DesiredEdit(_Body):
    desired: dict[str, Any] | None = None


class TwinEdit(_Body):
    """Merged into the twin; null removes a key. In the shape of the twin itself, less what a machine alone writes."""

    tags: dict[str, Any] | None = None
    properties: DesiredEdit | None = None

"""What the hub refuses, with the codes and bodies of the real one.

https://learn.microsoft.com/azure/iot-hub/troubleshoot-error-codes
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

import msgspec

from ...errors import DucoError


class Refusal(DucoError):
    """A request that is answered with an HTTP status and an IoT Hub error.

    Args:
        status: of HTTP.
        code: the error's name, e.g. ``DeviceNotFound``.
        sentence: for a person.
    """

    def __init__(self, status: int, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.code = status, code

    def body(self) -> dict[str, Any]:
        tracking = f"Tracking ID:{uuid.uuid4().hex}-TimeStamp:{datetime.now(UTC):%m/%d/%Y %H:%M:%S}"
        return {"Message": f"ErrorCode:{self.code};{self}", "ExceptionMessage": tracking}


class MethodRefusal(Refusal):
    """A direct method that did not get through; its body is JSON within JSON, as the real one's.

    Args:
        number: the error's number, e.g. 404103.
    """

    def __init__(self, status: int, code: str, number: int, sentence: str, info: dict[str, str] | None = None) -> None:
        super().__init__(status, code, sentence)
        self.number, self.info = number, info or {}

    def body(self) -> dict[str, Any]:
        now = datetime.now(UTC)
        inner = {
            "errorCode": self.number,
            "trackingId": f"{uuid.uuid4().hex}-TimeStamp:{now:%m/%d/%Y %H:%M:%S}",
            "message": str(self),
            "info": self.info,
            "timestampUtc": now.isoformat().replace("+00:00", "Z"),
        }
        return {"Message": msgspec.json.encode(inner).decode(), "ExceptionMessage": ""}


def unknown_device(device_id: str) -> Refusal:
    return Refusal(404, "DeviceNotFound", f"Device {device_id} not registered")


def bad_argument(sentence: str) -> Refusal:
    return Refusal(400, "ArgumentInvalid", sentence)

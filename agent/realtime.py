"""Direct methods: ``setRealTimeUpload`` turns the realtime mode on and off; it ends by itself after three minutes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from duco_workbench.model import SECOND

METHOD = "setRealTimeUpload"
LASTS = 180 * SECOND  # microseconds after the last start; whoever watches says start again in time


class Command(msgspec.Struct, rename="camel"):
    action: Literal["start", "stop"]
    reason: str = ""
    command_id: str = ""


class Realtime:
    """The mode and what may change it. It outlives connections: only a command or its time ends it.

    Args:
        monotonic: microseconds, never set back.
        now: microseconds UTC, for what is told.
    """

    def __init__(self, monotonic: Callable[[], int], now: Callable[[], int]) -> None:
        self._monotonic, self._now = monotonic, now
        self._ends, self._until = 0, 0

    @property
    def is_on(self) -> bool:
        return self._monotonic() < self._ends

    @property
    def until(self) -> int | None:
        """When it ends if nobody says start again (microseconds UTC)."""
        return self._until if self.is_on else None

    def invoke(self, name: str, payload: Any) -> tuple[int, dict[str, Any]]:
        """Obey a direct method; its status and answer."""
        if name != METHOD:
            return 404, {"accepted": False, "error": f"there is no method {name!r}; this agent knows {METHOD}"}
        try:
            command = msgspec.convert(payload, Command)
        except msgspec.ValidationError as error:
            wanted = '{"action": "start" or "stop", "reason": …, "commandId": …}'
            return 400, {"accepted": False, "error": f"{error}; the payload is {wanted}"}
        lasts = LASTS if command.action == "start" else 0
        self._ends, self._until = self._monotonic() + lasts, self._now() + lasts
        return 200, {"accepted": True, "commandId": command.command_id, "on": self.is_on, "until": self.until}

"""The agent's state in the reported properties of its device twin: what is of note soon, mere counters now and then."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from .trouble import LinkLost
from .uplink import Uplink

LOOK_S = 0.5
NOTE_S, COUNTERS_S = 10.0, 60.0  # the least between two reports
_FORBIDDEN = str.maketrans({".": "_", "$": "_", " ": "_"})  # what IoT Hub allows in no key

Properties = dict[str, Any]


class Twin:
    """``run`` until cancelled.

    Args:
        state: what is of note, and what merely counts; top-level keys may be in both.
        constant: what never changes while this process runs.
    """

    def __init__(
        self, uplink: Uplink, state: Callable[[], Awaitable[tuple[Properties, Properties]]], constant: Properties
    ) -> None:
        self._uplink, self._state, self._constant = uplink, state, keys_allowed(constant)
        self._note: Properties | None = None
        self._counters: Properties = {}
        self._sent_at = 0.0
        self._is_fresh = True  # nothing was reported by this process: what is there may be of another one

    async def run(self) -> None:
        while True:
            await self._uplink.connected.wait()
            try:
                await self.look()
            except LinkLost:  # told by the uplink; all is reported again
                self._note = None
            await asyncio.sleep(LOOK_S)

    async def look(self, at_once: bool = False) -> None:
        """Report if there is something to report. Raises: LinkLost."""
        note, counters = await self._state()
        age = time.monotonic() - self._sent_at
        is_first = self._note is None
        is_due = (note != self._note and age >= NOTE_S) or (counters != self._counters and age >= COUNTERS_S)
        if not (is_first or is_due or at_once):
            return
        patch = keys_allowed(merged(self._constant, merged(note, counters)) if is_first else merged(note, counters))
        if self._is_fresh:  # in one patch: a reader finds what was or what is, at no time half of it
            patch = merged(gone(await self._uplink.reported(), patch), patch)
        await self._uplink.report(patch)
        self._is_fresh, self._note, self._counters = False, note, counters
        self._sent_at = time.monotonic()


def gone(old: Properties, new: Properties) -> Properties:
    """The patch that removes what is not in ``new``, in tables that are in both, too."""
    result: Properties = {}
    for key, value in old.items():
        if key not in new:
            result[key] = None
        elif isinstance(value, dict) and isinstance(new[key], dict) and (inner := gone(value, new[key])):
            result[key] = inner
    return result


def merged(one: Properties, other: Properties) -> Properties:
    """Both; where both have a table, the tables merged."""
    result = {**one}
    for key, value in other.items():
        before = result.get(key)
        result[key] = merged(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return result


def keys_allowed(properties: Properties) -> Properties:
    return {
        key.translate(_FORBIDDEN): keys_allowed(value) if isinstance(value, dict) else value
        for key, value in properties.items()
    }

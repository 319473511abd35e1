"""What the parts of the agent hand to each other: a source gives frames, watchers and collectors give drafts.

A draft is a message before it has an id: the queue mints the id when it stores it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import msgspec

from duco_workbench import wire
from duco_workbench.model import FrameBatch

OPENING = "opening"  # a source's state until it is up, or known to be away

_encoder = msgspec.json.Encoder()

Emit = Callable[["Draft"], None]  # returns at once; what is handed over is the agent's from then on


class Draft(NamedTuple):
    """``ts`` in microseconds UTC of the system clock; ``payload``: the struct of ``wire.PAYLOADS[msg_type]``."""

    msg_type: str
    ts: int
    payload: Any


def size_of(draft: Draft) -> int:
    """Bytes its payload takes in an envelope, about."""
    if isinstance(draft.payload, wire.Can):
        return sum(len(block.b64) for block in draft.payload.blocks)
    return len(_encoder.encode(draft.payload))


class FrameWatcher(Protocol):
    """Sees every frame that is read, in order of arrival, and may have something to say about it."""

    def on_frames(self, frames: FrameBatch) -> list[Draft]: ...


class Collector(Protocol):
    """Has its own life beside the buses: gpsd, the machine's application, the agent's own performance."""

    async def run(self, emit: Emit) -> None:
        """Until cancelled. Never raises for a peer that is away: says so in a draft, once, and tries again."""
        ...


class FrameSource(Protocol):
    """One bus, or a log that plays as one or several."""

    name: str  # "can0"
    ended: bool  # a log that is over; a bus never is

    def open(self) -> None:
        """Returns at once; a bus that is away is tried again by itself."""
        ...

    def read(self) -> FrameBatch:
        """Every frame since the last call, times on the system clock. Never blocks, never raises."""
        ...

    def close(self) -> None: ...

    @property
    def dropped(self) -> int:
        """Frames that came and could not be kept, since it was made."""
        ...

    @property
    def state(self) -> str:
        """``"up"``, OPENING, or a sentence that says what is wrong."""
        ...

"""A process says that it is alive, and on what revision of the catalog it works, in a key beside the log."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from . import redis_log

LIFE_S = 10
BEAT_S = 1.0


def pulse_key(name: str) -> str:
    return f"alive:{name}"


@asynccontextmanager
async def beating(name: str, state_url: str, facts: Callable[[], dict[str, Any]] = dict) -> AsyncIterator[None]:
    """While inside, ``alive:{name}`` holds ``{"pid": …, **facts()}`` as JSON and lapses 10 s after the last beat."""
    client = redis_log.connect(state_url)

    async def beat() -> None:
        while True:
            # A server that is away is said by the flow that needs it; the pulse just goes on when it is back.
            with contextlib.suppress(Exception):
                await client.set(pulse_key(name), msgspec.json.encode({"pid": os.getpid(), **facts()}), ex=LIFE_S)
            await asyncio.sleep(BEAT_S)

    task = asyncio.create_task(beat())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(Exception):
            await client.delete(pulse_key(name))
        await client.aclose()


async def read(name: str, state_url: str) -> dict[str, Any] | None:
    """The last beat's facts, or None when the process has not been heard for 10 s. Raises: ServiceError."""
    client = redis_log.connect(state_url)
    try:
        with redis_log.service_errors("what stands beside the log does not answer"):
            beat = await client.get(pulse_key(name))
    finally:
        await client.aclose()
    return msgspec.json.decode(beat) if beat else None

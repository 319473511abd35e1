"""A process says that it is alive, and on what revision of the catalog it works, in a key beside the log.

The hash ``alive:{name}`` has a field for each process of that name: several processors may share a log.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from . import redis_log

LIFE_S = 10
BEAT_S = 1.0

# By the server's clock. A process that was killed takes nothing back: those that live drop its field.
_BEAT = """
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f ', now) .. ARGV[2])
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  if tonumber(string.match(all[i + 1], '^%d+')) < now - 1000 * ARGV[3] then redis.call('HDEL', KEYS[1], all[i]) end
end
redis.call('EXPIRE', KEYS[1], ARGV[3])
"""


def pulse_key(name: str) -> str:
    return f"alive:{name}"


@asynccontextmanager
async def beating(name: str, state_url: str, facts: Callable[[], dict[str, Any]] = dict) -> AsyncIterator[None]:
    """While inside, ``alive:{name}`` holds ``{"pid": …, **facts()}`` as JSON, which lapses 10 s after the last beat."""
    client, me = redis_log.connect(state_url), uuid.uuid4().hex

    async def beat() -> None:
        while True:
            # A server that is away is said by the flow that needs it; the pulse just goes on when it is back.
            with contextlib.suppress(Exception):
                said = msgspec.json.encode({"pid": os.getpid(), **facts()})
                await client.eval(_BEAT, 1, pulse_key(name), me, said, LIFE_S)
            await asyncio.sleep(BEAT_S)

    task = asyncio.create_task(beat())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(Exception):
            async with asyncio.timeout(BEAT_S):  # it lapses anyhow
                await client.hdel(pulse_key(name), me)
        await client.aclose()


async def read_all(name: str, state_url: str) -> list[dict[str, Any]]:
    """The facts of each process of that name heard within 10 s, the last heard first. Raises: ServiceError."""
    client = redis_log.connect(state_url)
    try:
        with redis_log.service_errors("what stands beside the log does not answer"):
            beats = await client.hvals(pulse_key(name))
    finally:
        await client.aclose()
    newest_first = sorted((beat.partition(b" ") for beat in beats), reverse=True)
    return [msgspec.json.decode(said) for _, _, said in newest_first]


async def read(name: str, state_url: str) -> dict[str, Any] | None:
    """One for all of that name, as :func:`for_all` says. Raises: ServiceError."""
    return for_all(await read_all(name, state_url))


def for_all(beats: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Of several, the last heard first, the one that knows the oldest catalog; None for nobody."""
    return min(beats, key=lambda beat: beat.get("revision", 0), default=None)

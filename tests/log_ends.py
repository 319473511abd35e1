"""What tests of the log's ends share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import redis

from duco_workbench import redis_log
from duco_workbench.ports import Delivery


@asynccontextmanager
async def opened(end: Any) -> AsyncIterator[Any]:
    await end.open()
    try:
        yield end
    finally:
        await end.close()


async def written(sink: Any, items: list[Any]) -> None:
    async with opened(sink):
        await sink.write(items)


async def next_delivery(source: Any) -> Delivery[Any]:
    """The next that is not empty."""
    async with asyncio.timeout(30):
        async for delivery in source.deliveries():
            if delivery.items:
                return delivery
    raise AssertionError("the source ended")


async def until(true: Callable[[], Any], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.01)


def held_on_redis(url: str, topic: str) -> int:
    """Entries of the topic that the server has."""
    with redis.Redis.from_url(url) as client:
        return sum(client.xlen(name) for name in redis_log.streams(topic))

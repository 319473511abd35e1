"""Waits until what was written to the log before now can be queried."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from .. import redis_log
from ..topics import PARSED, RAW

READERS = ((RAW.name, "processor"), (PARSED.name, "distributor"))  # in the order a message passes them


async def settled(log_url: str, still: Callable[[float], bool] = lambda share: True) -> bool:
    """True when the processor, and then the distributor, has committed what was there; False when ``still`` says no.

    ``still`` is asked ten times a second, with the share of readers that are done. Raises: ServiceError.
    """
    client = redis_log.connect(log_url)
    try:
        with redis_log.service_errors("the log does not answer"):
            for done, (topic, group) in enumerate(READERS):
                marks = await redis_log.tails(client, topic)
                while not await redis_log.has_passed(client, topic, group, marks):
                    if not still(done / len(READERS)):
                        return False
                    await asyncio.sleep(0.1)
        return True
    finally:
        await client.aclose()

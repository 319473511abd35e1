"""Waits until what was written to the log before now can be queried."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from .log import Gauge, log_gauge
from .log_address import LogAddress
from .topics import PARSED, RAW

READERS = ((RAW.name, "processor"), (PARSED.name, "distributor"))  # in the order a message passes them


async def settled(log: LogAddress, still: Callable[[float], bool] = lambda share: True) -> bool:
    """True when the processor, and then the distributor, has committed what was there; False when ``still`` says no.

    ``still`` is asked ten times a second, with the share of readers that are done. Raises: ServiceError.
    """
    async with log_gauge(log) as gauge:
        return await passed(gauge, still)


async def passed(gauge: Gauge, still: Callable[[float], bool]) -> bool:
    """The same with a gauge that is open."""
    for done, (topic, group) in enumerate(READERS):
        marks = await gauge.tails(topic)
        while not await gauge.has_passed(topic, group, marks):
            if not still(done / len(READERS)):
                return False
            await asyncio.sleep(0.1)
    return True

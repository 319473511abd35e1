"""A machine of this process as a source of raw records: simulated, or a log played again.

It stands where the agent and the hub will: frames are packed into envelopes second by second, first the past at full
speed until bus time has reached the clock, then in step with it, in realtime mode.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

from .. import wire
from ..model import SECOND, Envelope, FrameBatch, Record
from ..packing import Packer
from ..ports import Delivery

LIVE = 5 * SECOND  # bus time this close to the clock is realtime
CHUNK = 30 * SECOND  # of the past in one delivery


def now() -> int:
    """Microseconds since 1970 UTC."""
    return time.time_ns() // 1000


class Bus(Protocol):
    """What has frames: a simulated machine, or a player of a log. Intervals are asked for in order."""

    def frames(self, start: int, end: int) -> FrameBatch: ...


class MachineSource:
    """Frames of ``bus`` from ``start`` on (microseconds), until ``end`` or for ever.

    Nothing is to be committed: after a restart a machine goes on under a new epoch, as a rebooted one would.
    """

    def __init__(
        self,
        bus: Bus,
        tenant: str,
        chassis_id: str,
        start: int,
        end: int | None = None,
        *,
        clock: Callable[[], int] = now,
        on_progress: Callable[[int], None] = lambda ts: None,
    ) -> None:
        self._bus, self._tenant, self._clock, self._on_progress = bus, tenant, clock, on_progress
        self._start, self._end = start // SECOND * SECOND, end
        self._packer = Packer(chassis_id, epoch=clock())

    async def open(self) -> None: ...

    async def deliveries(self) -> AsyncIterator[Delivery[Record]]:
        at = self._start
        while self._end is None or at < self._end:
            until = min(at + CHUNK, self._clock() // SECOND * SECOND, self._end or 1 << 62)
            if until <= at:
                await asyncio.sleep(0.05)
                yield Delivery(())
                continue
            yield Delivery(self._records(at, until))
            self._on_progress(until)
            at = until
            await asyncio.sleep(0)
        yield Delivery([record_of(e, self._tenant) for e in self._packer.flush()])

    def _records(self, start: int, end: int) -> list[Record]:
        clock = self._clock()
        self._packer.realtime = end > clock - LIVE
        envelopes = self._packer.add(self._bus.frames(start, end)) + self._packer.seal(end)
        return [record_of(e, self._tenant, clock if self._packer.realtime else e.ts) for e in envelopes]

    async def commit(self, delivery: Delivery[Any]) -> None: ...

    async def close(self) -> None: ...


def record_of(envelope: Envelope, tenant: str, enqueued: int | None = None) -> Record:
    """The raw record of an envelope of our own making; data of the past is enqueued when it happened."""
    return Record(
        tenant=tenant,
        chassis_id=envelope.chassis_id,
        msg_type=envelope.msg_type,
        message_id=envelope.message_id,
        ts=envelope.ts,
        ts_enqueued=envelope.ts if enqueued is None else enqueued,
        ts_ingested=now(),
        body=wire.encode(envelope),
        v=envelope.v,
    )

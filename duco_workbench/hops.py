"""How far each machine's messages have come, hop by hop: noted beside the log, read by status. Lossy, never waited for.

The hash ``hops:{hop}`` has a field ``["tenant","chassis_id","msg_type"]`` with ``epoch:seq:ts:count``: the newest
message, and how many passed this hop, redelivered ones and ones that became dead letters included. Whatever a machine
calls its messages, it has as many fields as there are msg_types, and one for all others. The newest of an
epoch has the highest seq, for a machine's clock may be set back; of two epochs it has the latest time, for a past that
is written later has the higher epoch.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import astuple, dataclass, replace
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from . import redis_log
from .errors import ServiceError
from .model import MSG_TYPES, MessageId, Record
from .ops.figures import OTHER
from .ports import Delivery, Source

T = TypeVar("T")
log = logging.getLogger(__name__)

HOPS = ("raw", "parsed", "distributed")  # on the raw log; done with by the processor; by the distributor
EVERY_S = 1.0
MOST = 20_000  # machines' msg_types that wait for the next note; more are not noted
LAST_WORD_S = 1.5

# Integers are compared as text (longer is greater), for Lua's numbers lose digits past 2^53.
_NOTE = """
local function greater(a, b)
  if #a ~= #b then return #a > #b end
  return a > b
end
for i = 1, #ARGV, 5 do
  local epoch, seq, ts, count = ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], tonumber(ARGV[i + 4])
  local old = redis.call('HGET', KEYS[1], ARGV[i])
  if old then
    local had = {string.match(old, '^(%d+):(%d+):(%d+):(%d+)$')}
    local stays = greater(had[3], ts) or (had[3] == ts and greater(had[1], epoch))
    if had[1] == epoch then stays = greater(had[2], seq) end
    if stays then epoch, seq, ts = had[1], had[2], had[3] end
    count = count + tonumber(had[4])
  end
  redis.call('HSET', KEYS[1], ARGV[i], table.concat({epoch, seq, ts, string.format('%.0f', count)}, ':'))
end
"""


class Which(NamedTuple):
    tenant: str
    chassis_id: str
    msg_type: str


@dataclass(frozen=True, slots=True)
class Mark:
    """The newest message, its ``ts`` in microseconds UTC, and a running count of all."""

    epoch: int
    seq: int
    ts: int
    count: int

    def and_also(self, other: Mark) -> Mark:
        in_time = (self.ts, self.epoch) > (other.ts, other.epoch)
        is_newer = self.seq > other.seq if self.epoch == other.epoch else in_time
        return replace(self if is_newer else other, count=self.count + other.count)


NO_ONES = Mark(0, 0, 0, 1)  # older than any


def hop_key(hop: str) -> str:
    return f"hops:{hop}"


class HopNotes:
    """Notes of one hop, written at most once a second; while the log is away they gather, up to :data:`MOST`."""

    def __init__(self, state_url: str, hop: str) -> None:
        self._redis: Any = redis_log.connect(state_url)
        self._hop = hop
        self._waiting: dict[Which, Mark] = {}
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        if self._task is None:
            self._closing.clear()
            self._task = asyncio.create_task(self._run())

    def note(self, records: Iterable[Record]) -> None:
        for record in records:
            if record.replay is None:  # a replayed one has passed before
                kind = record.msg_type if record.msg_type in MSG_TYPES else OTHER
                self._add(Which(record.tenant, record.chassis_id, kind), _mark(record))

    def _add(self, which: Which, mark: Mark) -> None:
        known = self._waiting.get(which)
        if known is not None:
            self._waiting[which] = known.and_also(mark)
        elif len(self._waiting) < MOST:
            self._waiting[which] = mark

    async def close(self) -> None:
        """What is noted gets a moment more, the write that is under way, too."""
        task, self._task = self._task, None
        if task is not None:
            self._closing.set()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(task, LAST_WORD_S)
        await self._redis.aclose()

    async def _run(self) -> None:
        is_last = False
        while not is_last:
            with contextlib.suppress(TimeoutError):
                is_last = await asyncio.wait_for(self._closing.wait(), EVERY_S)
            await self._write()

    async def _write(self) -> None:
        marks, self._waiting = self._waiting, {}
        if not marks:
            return
        arguments = [text for which, mark in marks.items() for text in (msgspec.json.encode(which), *astuple(mark))]
        try:
            with redis_log.service_errors(f"noting hop {self._hop}"):
                await self._redis.eval(_NOTE, 1, hop_key(self._hop), *arguments)
        except BaseException as error:
            for which, mark in marks.items():
                self._add(which, mark)
            if not isinstance(error, ServiceError):
                raise
            log.debug("%s", error)  # the flow says that the log is away


def _mark(record: Record) -> Mark:
    """:data:`NO_ONES` for an id that is not the machine's own: such a message has no readable envelope."""
    try:
        chassis_id, epoch, seq = MessageId.parse(record.message_id)
    except ValueError:
        return NO_ONES
    own = chassis_id == record.chassis_id and min(epoch, seq, record.ts) >= 0
    return Mark(epoch, seq, record.ts, 1) if own else NO_ONES


class Noted(Generic[T]):
    """A source whose committed batches are noted; in all else it is the one it wraps."""

    def __init__(self, source: Source[T], notes: HopNotes, record_of: Callable[[T], Record]) -> None:
        self._source, self._notes, self._record_of = source, notes, record_of

    async def open(self) -> None:
        await self._source.open()
        await self._notes.open()

    def deliveries(self) -> AsyncIterator[Delivery[T]]:
        return self._source.deliveries()

    async def commit(self, delivery: Delivery[Any]) -> None:
        await self._source.commit(delivery)
        self._notes.note(map(self._record_of, delivery.items))

    async def close(self) -> None:
        await self._notes.close()
        await self._source.close()


async def read(state_url: str) -> dict[str, dict[Which, Mark]]:
    """What is noted of each of :data:`HOPS`. Raises: ServiceError."""
    client = redis_log.connect(state_url)
    try:
        with redis_log.service_errors("what stands beside the log does not answer"):
            return {hop: _decoded(await client.hgetall(hop_key(hop))) for hop in HOPS}
    finally:
        await client.aclose()


def _decoded(fields: dict[bytes, bytes]) -> dict[Which, Mark]:
    return {
        msgspec.json.decode(which, type=Which): Mark(*(int(number) for number in mark.split(b":")))
        for which, mark in fields.items()
    }

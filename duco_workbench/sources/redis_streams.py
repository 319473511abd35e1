"""Reads one topic of the log for one group: all partitions, each in order, from the offsets the group committed.

One reader per group, held by a lease; what every group has committed is trimmed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import AsyncIterator, Iterable
from typing import Any, Generic, TypeVar

from .. import redis_log
from ..errors import ConfigError, ServiceError
from ..ports import Delivery
from ..topics import Topic
from .portion import Portion

T = TypeVar("T")
log = logging.getLogger(__name__)

LEASE_MS = 6_000  # a killed reader's successor by another name waits at most this long …
LEASE_ASK_S = 0.1  # … and asks this often, for its own start has used up most of that
POLL_MS = 250  # an idle reader gives an empty delivery this often
TRIM_S = 2.0  # longer than readers take to put their groups back where the server has lost them
LAST_WORD_S = 1.0  # what a server that does not answer gets to hear that the lease is free

# What stands there in our own name was left by our predecessor, which was killed, or by a call whose answer was lost.
_TAKE = """
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[2] and (ARGV[1] == '' or string.match(held, '^(.*)/') ~= ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
"""
# All that is done under the lease; without offsets it keeps the lease. One that lapsed is taken again, and a group that
# the server has lost is put back. An offset moves only from where this reader began: when another has held the lease
# meanwhile it may have gone further, and to a server that lost its data ours means nothing. Says what stands.
_HOLD = """
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[1] then return false end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
for i = 4, #ARGV, 3 do
  local stands = redis.call('HGET', KEYS[2], ARGV[i]) or '0'
  if stands == ARGV[i + 1] then redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 2]) end
end
return {redis.call('SADD', KEYS[3], ARGV[3]), redis.call('HGETALL', KEYS[2])}
"""
_RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


class RedisSource(Generic[T]):
    """At least once: what was not committed is delivered again after a restart.

    ``commit``, and ``deliveries`` when it begins, raise ConfigError when another reader has the lease: the process ends
    rather than compete.
    ``instance`` as in :class:`LogAddress`.
    """

    def __init__(self, url: str, topic: Topic[T], group: str, instance: str = "") -> None:
        self._redis: Any = redis_log.connect(url)
        self._topic, self._group = topic, group
        self._instance, self._token = instance, f"{instance}/{uuid.uuid4().hex}"
        self._lease = redis_log.lease_key(topic.name, group)
        self._offsets: dict[str, str] = {}
        self._keeper: asyncio.Task[None] | None = None
        self._trimmed = 0.0

    async def open(self) -> None:
        """Takes the lease. Raises: ServiceError when another reader holds it or the log is away."""
        with redis_log.service_errors("the log does not answer"):
            await self._take_lease()
            await self._hold()
        self._keeper = asyncio.create_task(self._keep_lease())

    async def _take_lease(self) -> None:
        lapsed = time.monotonic() + LEASE_MS / 1000 + 0.5  # by then a killed reader's lease has
        while not await self._redis.eval(_TAKE, 1, self._lease, self._instance, self._token, LEASE_MS):
            if time.monotonic() > lapsed:
                raise ServiceError(
                    f"another reader of {self._topic.name} is running as group {self._group!r}; "
                    "on Redis Streams a group has one reader: stop the other, or run Kafka for more"
                )
            await asyncio.sleep(LEASE_ASK_S)

    async def _hold(self, *moves: str) -> None:
        """``moves``: stream, from, to, and so on. Afterwards this reader stands where its group does."""
        stands = await self._held(*moves)
        if stands is None:
            raise ConfigError(f"group {self._group!r} of {self._topic.name} has another reader now: this one stops")
        self._offsets = {name: stands.get(name.encode(), b"0").decode() for name in redis_log.streams(self._topic.name)}

    async def _held(self, *moves: str) -> dict[bytes, bytes] | None:
        """The group's offsets; None when another holds the lease."""
        name = self._topic.name
        keys = self._lease, redis_log.offsets_key(name, self._group), redis_log.groups_key(name)
        held = await self._redis.eval(_HOLD, 3, *keys, self._token, LEASE_MS, self._group, *moves)
        if held is None:
            return None
        is_new, pairs = held
        if is_new:  # so others may be missing whose readers have not put them back yet
            self._trimmed = time.monotonic()
        return dict(zip(pairs[::2], pairs[1::2], strict=True))

    async def _keep_lease(self) -> None:
        """Where the group stands is left to who reads: a batch may be in hand that began elsewhere."""
        while True:
            await asyncio.sleep(LEASE_MS / 6000)
            with contextlib.suppress(ServiceError), redis_log.service_errors("keeping the lease"):
                await self._held()

    async def deliveries(self) -> AsyncIterator[Delivery[T]]:
        """From where the group stands. An empty delivery means that nothing was new. Raises: ServiceError."""
        reading = f"reading the log's topic {self._topic.name}"
        with redis_log.service_errors(reading):
            await self._hold()  # the server may have been away, and be another one now
        while True:
            with redis_log.service_errors(reading):
                portion = await self._portion()
            yield portion.delivery()

    async def _portion(self) -> Portion[T]:
        """Waits for the first entries only."""
        portion, wait = Portion(self._topic), POLL_MS
        while not portion.is_full and (found := await self._entries({**self._offsets, **portion.position}, wait)):
            for stream, entries in found:
                for entry_id, fields in entries:
                    body = fields.pop(b"body")
                    headers = {name.decode(): text.decode() for name, text in fields.items()}
                    portion.add(stream.decode(), entry_id.decode(), headers, body)
            wait = 0
        return portion

    async def _entries(self, after: dict[str, str], wait_ms: int) -> Iterable[tuple[bytes, Any]]:
        """The next few of each partition."""
        reply = await self._redis.xread(after, count=self._topic.round, block=wait_ms or None)
        return (reply.items() if isinstance(reply, dict) else reply) or ()

    async def commit(self, delivery: Delivery[Any]) -> None:
        with redis_log.service_errors(f"committing {self._topic.name} for {self._group}"):
            moves = [text for name, to in delivery.position.items() for text in (name, self._offsets[name], to)]
            await self._hold(*moves)
            if time.monotonic() > self._trimmed + TRIM_S:
                await self._trim()

    async def _trim(self) -> None:
        """Drops from each partition what every group has committed."""
        self._trimmed = time.monotonic()
        groups = await self._redis.smembers(redis_log.groups_key(self._topic.name))
        stored = [await self._redis.hgetall(redis_log.offsets_key(self._topic.name, g.decode())) for g in groups]
        pipe = self._redis.pipeline(transaction=False)
        for stream in self._offsets:
            slowest = min(
                (redis_log.parse_id(offsets.get(stream.encode(), b"0-0").decode()) for offsets in stored),
                default=(0, 0),
            )
            if slowest > (0, 0):
                pipe.xtrim(stream, minid=f"{slowest[0]}-{slowest[1] + 1}", approximate=False)
        await pipe.execute()

    async def close(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
        with contextlib.suppress(ServiceError), redis_log.service_errors("releasing the lease"):
            async with asyncio.timeout(LAST_WORD_S):
                await self._redis.eval(_RELEASE, 1, self._lease, self._token)
        await self._redis.aclose()

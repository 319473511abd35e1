"""The log on Redis Streams, as its two ends see it: names of keys, a connection, errors as ours.

A partition is the stream ``{topic}:{p}``; a group's committed offsets are the hash ``{topic}:offsets:{group}``; its
one reader holds the key ``{topic}:lease:{group}``; ``{topic}:groups`` lists the groups: the slowest decides what is
trimmed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import redis.asyncio
from redis.exceptions import RedisError

from .errors import ConfigError, ServiceError
from .log_address import REDIS
from .topics import PARTITIONS

# A call gets so long, from its first byte to its last: a third of what a process has to drain when it is told to stop.
# Nobody waits on purpose for more than a fraction of a second, and a round of entries is megabytes, at worst 32.
TIMEOUT_S = 3.0

# Counted on the server: the entries themselves are large.
# Counting entries copies them, so those are counted that are few: as a rule what is committed and not yet trimmed.
_COUNT_AFTER = """
local before = #redis.call('XRANGE', KEYS[1], '-', ARGV[1], 'COUNT', 1000)
if before < 1000 then return redis.call('XLEN', KEYS[1]) - before end
return #redis.call('XRANGE', KEYS[1], '(' .. ARGV[1], '+', 'COUNT', 10000)
"""


def stream_key(topic: str, partition: int) -> str:
    return f"{topic}:{partition}"


def streams(topic: str) -> list[str]:
    return [stream_key(topic, p) for p in range(PARTITIONS)]


def offsets_key(topic: str, group: str) -> str:
    return f"{topic}:offsets:{group}"


def lease_key(topic: str, group: str) -> str:
    return f"{topic}:lease:{group}"


def groups_key(topic: str) -> str:
    return f"{topic}:groups"


def connect(url: str) -> Any:
    """A client for the server at ``url``. Raises: ConfigError for an address Redis does not have."""
    if not url.startswith(REDIS):
        raise ConfigError(f"{url!r} is no address of Redis, which starts with redis://; see DUCO_STATE_URL")
    return redis.asyncio.from_url(url, socket_timeout=TIMEOUT_S)


@contextmanager
def service_errors(what: str) -> Iterator[None]:
    """Redis' own errors and broken connections as :class:`ServiceError`, naming what could not be done."""
    try:
        yield
    except (RedisError, OSError) as error:
        raise ServiceError(f"{what}: {str(error) or type(error).__name__}") from error


class Behind(NamedTuple):
    """A group with entries of a topic to read, and whether anybody reads for it."""

    topic: str
    group: str
    entries: int  # at most 10,000 of each partition are counted
    has_reader: bool


async def furthest_behind(client: Any, topic: str) -> Behind | None:
    """None when there is no group, or all have committed everything."""
    found = []
    for name in await client.smembers(groups_key(topic)):
        group = name.decode()
        entries = await _behind(client, topic, group)
        found.append(Behind(topic, group, entries, bool(await client.exists(lease_key(topic, group)))))
    worst = max(found, key=lambda behind: behind.entries, default=None)
    return worst if worst and worst.entries else None


async def _behind(client: Any, topic: str, group: str) -> int:
    offsets = await committed(client, topic, group)
    return sum([await client.eval(_COUNT_AFTER, 1, *pair) for pair in offsets.items()])


async def committed(client: Any, topic: str, group: str) -> dict[str, str]:
    """The last entry's id that the group has committed of each partition, "0-0" for none."""
    offsets = await client.hgetall(offsets_key(topic, group))
    return {name: offsets.get(name.encode(), b"0-0").decode() for name in streams(topic)}


class RedisGauge:
    """How far the groups of a log are. Every method raises ServiceError when it is away."""

    def __init__(self, url: str) -> None:
        self._redis = connect(url)

    async def open(self) -> None: ...

    async def close(self) -> None:
        await self._redis.aclose()

    async def tails(self, topic: str) -> dict[str, str]:
        """The last entry's id of each partition, "0-0" for one that never had any."""
        with service_errors("the log does not answer"):
            return {name: await self._tail(name) for name in streams(topic)}

    async def _tail(self, stream: str) -> str:
        known = await self._redis.exists(stream)
        return (await self._redis.xinfo_stream(stream))["last-generated-id"].decode() if known else "0-0"

    async def has_passed(self, topic: str, group: str, marks: dict[str, str]) -> bool:
        """Has the group committed every entry up to ``marks``?"""
        with service_errors("the log does not answer"):
            offsets = await committed(self._redis, topic, group)
        return all(parse_id(offsets[name]) >= parse_id(mark) for name, mark in marks.items())

    async def lag(self, topic: str, group: str) -> int:
        """Entries of the topic that the group has not committed."""
        with service_errors("the log does not answer"):
            return await _behind(self._redis, topic, group)


def parse_id(text: str) -> tuple[int, int]:
    """A stream entry's id as (milliseconds, number), which order as entries do."""
    ms, _, number = text.partition("-")
    return int(ms), int(number or 0)

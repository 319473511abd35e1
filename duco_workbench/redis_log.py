"""The log on Redis Streams, as its two ends see it: names of keys, a connection, errors as ours.

A partition is the stream ``{topic}:{p}``; a group's committed offsets are the hash ``{topic}:offsets:{group}``; its
one reader holds the key ``{topic}:lease:{group}``; ``{topic}:groups`` lists the groups: the slowest decides what is
trimmed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis.asyncio
from redis.exceptions import RedisError

from .errors import ConfigError, ServiceError
from .topics import PARTITIONS

# Counted on the server: the entries themselves are large.
_COUNT_AFTER = "return #redis.call('XRANGE', KEYS[1], '(' .. ARGV[1], '+', 'COUNT', 10000)"


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
    """A client for the log at ``url``. Raises: ConfigError for an address this log is not."""
    if not url.startswith(("redis://", "rediss://", "unix://")):
        raise ConfigError(f"DUCO_LOG_URL = {url!r}: the log's address starts with redis://")
    return redis.asyncio.from_url(url, socket_timeout=30)


@contextmanager
def service_errors(what: str) -> Iterator[None]:
    """Redis' own errors and broken connections as :class:`ServiceError`, naming what could not be done."""
    try:
        yield
    except (RedisError, OSError) as error:
        raise ServiceError(f"{what}: {error or type(error).__name__}") from error


async def lag(url: str, topic: str, group: str) -> int:
    """Entries of the topic that the group has not committed. Raises: ServiceError."""
    client = connect(url)
    try:
        with service_errors("the log does not answer"):
            offsets = await client.hgetall(offsets_key(topic, group))
            behind = [(name, offsets.get(name.encode(), b"0-0").decode()) for name in streams(topic)]
            return sum([await client.eval(_COUNT_AFTER, 1, name, offset) for name, offset in behind])
    finally:
        await client.aclose()


async def tails(client: Any, topic: str) -> dict[str, str]:
    """The last entry's id of each partition, "0-0" for one that never had any."""
    ids = {}
    for name in streams(topic):
        known = await client.exists(name)
        ids[name] = (await client.xinfo_stream(name))["last-generated-id"].decode() if known else "0-0"
    return ids


async def has_passed(client: Any, topic: str, group: str, marks: dict[str, str]) -> bool:
    """Has the group committed every entry up to ``marks``?"""
    offsets = await client.hgetall(offsets_key(topic, group))
    return all(parse_id(offsets.get(name.encode(), b"0-0").decode()) >= parse_id(mark) for name, mark in marks.items())


def parse_id(text: str) -> tuple[int, int]:
    """A stream entry's id as (milliseconds, number), which order as entries do."""
    ms, _, number = text.partition("-")
    return int(ms), int(number or 0)

"""What a record of each topic of the log is in bytes: (key, headers, body) on any log.

``raw``: the body verbatim with headers. ``parsed``: what some envelopes of one partition became, as an Arrow IPC stream
(:mod:`.parsed_ipc`). ``dead-letters``: as ``raw``, with reason and detail.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Generic, NamedTuple, TypeVar

from .batches import in_parts
from .columns import Parsed
from .model import DeadLetter, Record
from .parsed_ipc import from_ipc, to_ipc
from .record_headers import headers_of, record_of

T = TypeVar("T")
PARTITIONS = 8
MOST_ROWS = 1 << 15  # of a parsed entry, unless one message has more: half a megabyte before it is compressed
ROW = 32  # bytes of a value on its way to the store: its time, number and status, and the codes of its series


@lru_cache(maxsize=65536)
def partition_of(key: str) -> int:
    """Kafka's default partitioner (murmur2, masked positive), so that both logs spread machines alike."""
    return (_murmur2(key.encode()) & 0x7FFF_FFFF) % PARTITIONS


def _murmur2(data: bytes) -> int:
    mask, m = 0xFFFF_FFFF, 0x5BD1_E995
    h = 0x9747_B28C ^ len(data)
    whole = len(data) & ~3
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i : i + 4], "little") * m & mask
        h = h * m & mask ^ ((k ^ k >> 24) * m & mask)
    if whole < len(data):
        h = (h ^ int.from_bytes(data[whole:], "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return h ^ h >> 15


class Entry(NamedTuple):
    """A record as a log carries it. ``key`` (tenant/chassis_id) decides the partition: one machine stays in order."""

    key: str
    headers: Mapping[str, str]
    body: bytes


class Topic(Generic[T]):
    """A name and the two directions of its codec.

    Attributes:
        round: entries that a reader takes at once of a partition, however large: it decodes them before it weighs them.
    """

    name: str
    round = 16

    def encode(self, items: Sequence[T]) -> Iterator[Entry]:
        """The entries of a batch; what one machine has sent stays in order."""
        raise NotImplementedError

    def decode(self, headers: Mapping[str, str], body: bytes) -> Sequence[T]:
        """The items of one entry."""
        raise NotImplementedError

    def weight(self, item: T) -> int:
        """Bytes of memory it takes, roughly."""
        raise NotImplementedError


def _key(record: Record) -> str:
    return f"{record.tenant}/{record.chassis_id}"


class Raw(Topic[Record]):
    name = "raw"

    def encode(self, items: Sequence[Record]) -> Iterator[Entry]:
        return (Entry(_key(item), headers_of(item), item.body) for item in items)

    def decode(self, headers: Mapping[str, str], body: bytes) -> Sequence[Record]:
        return [record_of(headers, body)]

    def weight(self, item: Record) -> int:
        return len(item.body)


class DeadLetters(Topic[DeadLetter]):
    name = "dead-letters"

    def encode(self, items: Sequence[DeadLetter]) -> Iterator[Entry]:
        for item in items:
            headers = {**headers_of(item.record), "reason": item.reason, "detail": item.detail}
            yield Entry(_key(item.record), headers, item.record.body)

    def decode(self, headers: Mapping[str, str], body: bytes) -> Sequence[DeadLetter]:
        return [DeadLetter(record_of(headers, body), headers["reason"], headers["detail"])]

    def weight(self, item: DeadLetter) -> int:
        return len(item.record.body)


class ParsedTopic(Topic[Parsed]):
    """The messages of a batch that go to one partition are one entry: each of its own would cost more to write and to
    read than to decode."""

    name = "parsed"
    round = 1

    def encode(self, items: Sequence[Parsed]) -> Iterator[Entry]:
        of_partition: defaultdict[int, list[Parsed]] = defaultdict(list)
        for item in items:
            of_partition[partition_of(_key(item.record))].append(item)
        for together in of_partition.values():
            for part in in_parts(together, [len(item.samples) for item in together], MOST_ROWS):
                yield Entry(_key(part[0].record), {}, to_ipc(part))

    def decode(self, headers: Mapping[str, str], body: bytes) -> Sequence[Parsed]:
        return from_ipc(body)

    def weight(self, item: Parsed) -> int:
        return len(item.samples) * ROW


RAW, PARSED, DEAD_LETTERS = Raw(), ParsedTopic(), DeadLetters()

"""What a record of each topic of the log is in bytes: (key, headers, body) on any log.

``raw``: the body verbatim with headers. ``parsed``: one envelope's samples and texts as an Arrow IPC stream (zstd),
where it came from in the schema's metadata. ``dead-letters``: as ``raw``, with reason and detail.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Generic, NamedTuple, TypeVar

import msgspec
import pyarrow as pa

from .columns import Event, Parsed, Samples, Text
from .model import DeadLetter, Dtc, Record

T = TypeVar("T")
PARTITIONS = 8


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
    """A name and the two directions of its codec."""

    name: str

    def encode(self, item: T) -> Entry:
        raise NotImplementedError

    def decode(self, headers: Mapping[str, str], body: bytes) -> T:
        raise NotImplementedError


_NUMBERS = ("ts", "ts_enqueued", "ts_ingested", "hub_partition", "hub_sequence", "v")
_TEXTS = ("tenant", "chassis_id", "msg_type", "message_id")


def _headers(record: Record) -> dict[str, str]:
    return {name: str(getattr(record, name)) for name in (*_TEXTS, *_NUMBERS)}


def _record(headers: Mapping[str, str], body: bytes) -> Record:
    numbers = {name: int(headers[name]) for name in _NUMBERS}
    return Record(**{name: headers[name] for name in _TEXTS}, **numbers, body=body)  # type: ignore[arg-type]


class Raw(Topic[Record]):
    name = "raw"

    def encode(self, item: Record) -> Entry:
        return Entry(f"{item.tenant}/{item.chassis_id}", _headers(item), item.body)

    def decode(self, headers: Mapping[str, str], body: bytes) -> Record:
        return _record(headers, body)


class DeadLetters(Topic[DeadLetter]):
    name = "dead-letters"

    def encode(self, item: DeadLetter) -> Entry:
        headers = {**_headers(item.record), "reason": item.reason, "detail": item.detail}
        return Entry(f"{item.record.tenant}/{item.record.chassis_id}", headers, item.record.body)

    def decode(self, headers: Mapping[str, str], body: bytes) -> DeadLetter:
        return DeadLetter(_record(headers, body), headers["reason"], headers["detail"])


class _Origin(msgspec.Struct):
    """The schema metadata of a ``parsed`` record: everything of it that is not a sample."""

    headers: dict[str, str]
    realtime: bool
    logic_version: int
    units: dict[str, str]
    texts: list[Text]
    dtcs: list[Dtc]
    events: list[Event]


class ParsedTopic(Topic[Parsed]):
    name = "parsed"

    def encode(self, item: Parsed) -> Entry:
        return Entry(f"{item.record.tenant}/{item.record.chassis_id}", {}, to_ipc(item))

    def decode(self, headers: Mapping[str, str], body: bytes) -> Parsed:
        return from_ipc(body)


RAW, PARSED, DEAD_LETTERS = Raw(), ParsedTopic(), DeadLetters()

_ORIGIN = b"duco"
# An envelope is small: handing its buffers to a thread pool costs three times their compression.
_WRITE = pa.ipc.IpcWriteOptions(compression="zstd", use_threads=False)
_READ = pa.ipc.IpcReadOptions(use_threads=False)


def to_ipc(item: Parsed) -> bytes:
    """One envelope's samples as an Arrow IPC stream: signal, source, ts, value, status."""
    samples = item.samples
    units = {s: u for s, u in zip(samples.signals, samples.units, strict=True) if u}
    origin = _Origin(
        _headers(item.record),
        item.realtime,
        item.logic_version,
        units,
        list(item.texts),
        list(item.dtcs),
        list(item.events),
    )
    table = samples.to_arrow().replace_schema_metadata({_ORIGIN: msgspec.json.encode(origin)})
    out = pa.BufferOutputStream()
    with pa.ipc.new_stream(out, table.schema, options=_WRITE) as writer:
        writer.write_table(table)
    return bytes(out.getvalue())


def from_ipc(body: bytes) -> Parsed:
    """The inverse of :func:`to_ipc`; the record comes without its body."""
    table = pa.ipc.open_stream(body, options=_READ).read_all()
    origin = msgspec.json.decode(table.schema.metadata[_ORIGIN], type=_Origin)
    bare = Samples.from_arrow(table)
    units = tuple(origin.units.get(signal, "") for signal in bare.signals)
    samples = Samples(bare.signals, bare.sources, units, bare.series, bare.ts, bare.value, bare.status)
    return Parsed(
        _record(origin.headers, b""),
        origin.realtime,
        origin.logic_version,
        samples,
        tuple(origin.texts),
        tuple(origin.dtcs),
        tuple(origin.events),
    )

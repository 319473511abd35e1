"""Bytes <-> :class:`~duco_workbench.model.Envelope` (JSON, UTF-8), and CAN blocks <-> :class:`FrameBatch`.

The forms are fixed by golden files in ``tests/data/wire``. Readers ignore unknown fields; whatever cannot be
read raises :class:`DataError` with the reason code its dead letter carries.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from typing import Annotated, Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from .errors import DataError
from .model import ERROR, MSG_TYPES, REMOTE, Envelope, Flag, FrameBatch, Micros

VERSION = 1
MAX_UNPACKED = 16 << 20  # bytes one body may unpack to
MAX_MESSAGE = 200_000  # bytes of one envelope; the hub refuses more than 256 KiB

CLASSIC, FD = "can18+zlib", "canfd+zlib"
CAN18 = np.dtype([("t", "<u4"), ("id", "<u4"), ("dlc", "u1"), ("flags", "u1"), ("data", "u1", 8)])
FD_HEAD = np.dtype([("t", "<u4"), ("id", "<u4"), ("dlc", "u1"), ("flags", "u1")])


class Block(msgspec.Struct, frozen=True):
    """Frames of one bus: ``n`` records, times in microseconds since ``t0`` (microseconds UTC)."""

    ch: str
    t0: Micros
    n: Annotated[int, msgspec.Meta(ge=0)]
    enc: str
    b64: str


class Can(msgspec.Struct, frozen=True):
    blocks: list[Block]


Byte = Annotated[int, msgspec.Meta(ge=0, lt=1 << 8)]


class Code(msgspec.Struct, frozen=True):
    """Bounded as the store's columns are."""

    spn: Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)]
    fmi: Byte
    oc: Byte | None = None
    cm: Byte = 0


class Dtcs(msgspec.Struct, frozen=True):
    source: str
    dtcs: list[Code]
    lamps: dict[str, str] = {}


class Position(msgspec.Struct, frozen=True):
    """Degrees, metres, km/h, degrees from north."""

    lat: float
    lon: float
    alt: float | None = None
    speed: float | None = None
    heading: float | None = None
    fix: int | None = None
    sats: int | None = None


class LogLine(msgspec.Struct, frozen=True):
    level: str
    logger: str
    text: str


class EventBody(msgspec.Struct, frozen=True):
    """Something that happened once; ``data`` is what belongs to it.

    A ``drop`` says which messages of the machine will never come. Of those that had a number, ``data`` is
    ``{"reason", "epoch", "runs": [[first, last], …], "count", "first", "last"}``: seqs of that epoch, both ends
    included, how many they are, and the device times (microseconds UTC) of the oldest and the newest, null when nobody
    knows. ``runs`` is empty when nobody can say which; then a ``text`` says what is known. No seq is told twice, and
    none was confirmed by the hub; one of reason ``corrupt`` may have reached it all the same. Of what was lost before
    it had a number there is neither ``epoch`` nor ``runs``. Reasons: ``queue_full``, ``too_old``, ``too_large``,
    ``corrupt``; without numbers ``disk_full``, ``disk_error``, ``overrun`` (frames, of a ``bus``).
    """

    name: str
    severity: str = "info"
    data: dict[str, Any] = {}


class Client(msgspec.Struct, frozen=True):
    fields: dict[str, float | bool | str]


PAYLOADS: dict[str, type[msgspec.Struct]] = dict(
    zip(MSG_TYPES, (Can, Dtcs, Position, LogLine, EventBody, Client), strict=True)
)


class Head(msgspec.Struct, frozen=True, rename="camel"):
    """What the ingestor needs of an envelope; the payload is skipped, not parsed."""

    msg_type: str
    chassis_id: str
    message_id: str
    ts: Micros
    v: int = VERSION
    realtime: bool = False


_T = TypeVar("_T")
_encoder = msgspec.json.Encoder()
_head = msgspec.json.Decoder(Head)
_envelope = msgspec.json.Decoder(Envelope)


def encode(envelope: Envelope) -> bytes:
    return _encoder.encode(envelope)


def read_head(body: bytes) -> Head:
    """Raises: DataError ``malformed_json`` or ``bad_envelope``."""
    return _read(_head, body)


def decode(body: bytes) -> Envelope:
    """The envelope with its payload as one of the structs above.

    Raises: DataError ``malformed_json``, ``bad_envelope``, ``unknown_version``, ``unknown_msg_type``, ``bad_payload``.
    """
    envelope = _read(_envelope, body)
    if envelope.v != VERSION:
        raise DataError("unknown_version", f"envelope version {envelope.v}; this reader knows {VERSION}")
    if envelope.msg_type not in PAYLOADS:
        raise DataError("unknown_msg_type", f"msgType {envelope.msg_type!r} is none of {', '.join(MSG_TYPES)}")
    try:
        payload = msgspec.convert(envelope.payload, PAYLOADS[envelope.msg_type])
    except msgspec.ValidationError as error:
        raise DataError("bad_payload", f"{envelope.msg_type}: {error}") from None
    return msgspec.structs.replace(envelope, payload=payload)


def _read(decoder: msgspec.json.Decoder[_T], body: bytes) -> _T:
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise DataError("bad_envelope", str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:  # nested beyond reason, the last
        raise DataError("malformed_json", str(error)) from None


def pack_blocks(frames: FrameBatch, level: int = 1) -> list[Block]:
    """One block per bus that has frames, in time order as given."""
    return [_pack(frames.of(name), name, level) for name in frames.channels if name in _present(frames)]


def _present(frames: FrameBatch) -> set[str]:
    return {frames.channels[c] for c in np.unique(frames.channel)}


def _pack(frames: FrameBatch, channel: str, level: int) -> Block:
    t0 = int(frames.ts.min())
    is_fd = bool((frames.flags & Flag.FD).any())
    raw = _fd_bytes(frames, t0) if is_fd else _classic_bytes(frames, t0)
    text = base64.b64encode(zlib.compress(raw, level)).decode()
    return Block(channel, t0, len(frames), FD if is_fd else CLASSIC, text)


def _fill_head(records: NDArray[Any], frames: FrameBatch, t0: int) -> None:
    records["t"] = frames.ts - t0
    records["id"], records["dlc"], records["flags"] = frames.arbitration_id, frames.dlc, frames.flags


def _classic_bytes(frames: FrameBatch, t0: int) -> bytes:
    records = np.zeros(len(frames), CAN18)
    _fill_head(records, frames, t0)
    records["data"] = frames.data[:, :8]
    return records.tobytes()


def _fd_bytes(frames: FrameBatch, t0: int) -> bytes:
    head = np.zeros(len(frames), FD_HEAD)
    _fill_head(head, frames, t0)
    used = np.arange(frames.data.shape[1]) < frames.dlc[:, None]
    return head.tobytes() + frames.data[used].tobytes()


def unpack_blocks(blocks: list[Block]) -> FrameBatch:
    """All frames of a ``vehicle_can`` payload, block after block.

    Raises: DataError ``bad_base64``, ``bad_compression``, ``too_large``, ``unknown_encoding``, ``count_mismatch``,
    ``wrong_dlc``.
    """
    room, raws = MAX_UNPACKED, []
    for block in blocks:
        raws.append(_inflate(block, room))
        room -= len(raws[-1])
    if all(block.enc == CLASSIC for block in blocks):
        return _unpack_classic(blocks, raws)
    return FrameBatch.concat([_unpack(block, raw) for block, raw in zip(blocks, raws, strict=True)])


def _inflate(block: Block, room: int) -> bytes:
    try:
        packed = base64.b64decode(block.b64, validate=True)
    except (binascii.Error, ValueError) as error:
        raise DataError("bad_base64", f"block {block.ch}: {error}") from None
    unpacker = zlib.decompressobj()
    try:
        raw = unpacker.decompress(packed, room + 1)
    except zlib.error as error:
        raise DataError("bad_compression", f"block {block.ch}: {error}") from None
    if len(raw) > room:
        raise DataError("too_large", f"block {block.ch}: the body unpacks to more than {MAX_UNPACKED >> 20} MB")
    if not unpacker.eof:
        raise DataError("bad_compression", f"block {block.ch}: the compressed data ends early")
    return raw


def _unpack(block: Block, raw: bytes) -> FrameBatch:
    if block.enc == CLASSIC:
        return _unpack_classic([block], [raw])
    if block.enc == FD:
        return _unpack_fd(block, raw)
    raise DataError("unknown_encoding", f"block {block.ch}: enc {block.enc!r} is neither {CLASSIC} nor {FD}")


def _count_mismatch(block: Block, size: int) -> DataError:
    return DataError("count_mismatch", f"block {block.ch}: n = {block.n} does not fit its {size} bytes of {block.enc}")


def _unpack_classic(blocks: list[Block], raws: list[bytes]) -> FrameBatch:
    """All at once: on a second of several buses each call of numpy costs as much as its work."""
    for block, raw in zip(blocks, raws, strict=True):
        if len(raw) != block.n * CAN18.itemsize:
            raise _count_mismatch(block, len(raw))
    records = np.frombuffer(b"".join(raws), CAN18)
    return _batch(blocks, records, records["data"], longest=8)


def _unpack_fd(block: Block, raw: bytes) -> FrameBatch:
    split = block.n * FD_HEAD.itemsize
    if block.n < 0 or len(raw) < split:
        raise _count_mismatch(block, len(raw))
    head, body = np.frombuffer(raw[:split], FD_HEAD), np.frombuffer(raw[split:], np.uint8)
    if int(head["dlc"].sum()) != len(body):
        raise _count_mismatch(block, len(raw))
    data = np.zeros((block.n, 64), np.uint8)
    if (head["dlc"] <= 64).all():
        data[np.arange(64) < head["dlc"][:, None]] = body
    return _batch([block], head, data, longest=64)


def _batch(blocks: list[Block], records: NDArray[Any], data: NDArray[np.uint8], longest: int) -> FrameBatch:
    """The records of these blocks, one after the other."""
    filled = [block for block in blocks if block.n] or blocks[:1]
    counts, names = [block.n for block in filled], tuple(dict.fromkeys(block.ch for block in filled))
    dlc, ids, flags = (records[name].copy() for name in ("dlc", "id", "flags"))
    if len(dlc) and int(dlc.max()) > longest:
        block = filled[int(np.searchsorted(np.cumsum(counts), np.argmax(dlc), "right"))]
        raise DataError(
            "wrong_dlc", f"block {block.ch}: a frame of {int(dlc.max())} bytes; {block.enc} holds {longest}"
        )
    if (ids & (REMOTE | ERROR)).any():
        flags[(ids & REMOTE) != 0] |= np.uint8(Flag.REMOTE)
        flags[(ids & ERROR) != 0] |= np.uint8(Flag.ERROR)
    return FrameBatch(
        np.repeat(np.array([block.t0 for block in filled], np.int64), counts) + records["t"],
        ids,
        dlc,
        flags,
        np.ascontiguousarray(data),
        np.repeat(np.array([names.index(block.ch) for block in filled], np.uint8), counts),
        names or ("can0",),
    )

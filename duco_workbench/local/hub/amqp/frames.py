"""Frames of AMQP 1.0 (part 2 of the standard): a header, a performative with its fields, a payload."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

from . import codec
from .codec import NULL, Reader
from .errors import DECODE_ERROR, FRAMING_ERROR, INVALID_FIELD, AmqpError

AMQP_HEADER = b"AMQP\x00\x01\x00\x00"
SASL_HEADER = b"AMQP\x03\x01\x00\x00"
AMQP, SASL = 0, 1  # kinds of frame
HEADER_BYTES = 8
EMPTY = struct.pack(">IBBH", HEADER_BYTES, 2, AMQP, 0)  # a heartbeat
MIN_FRAME_BYTES = 512  # every peer takes frames of this size


class Code(IntEnum):
    """Descriptors of performatives and of what stands in their fields."""

    OPEN = 0x10
    BEGIN = 0x11
    ATTACH = 0x12
    FLOW = 0x13
    TRANSFER = 0x14
    DISPOSITION = 0x15
    DETACH = 0x16
    END = 0x17
    CLOSE = 0x18
    ERROR = 0x1D
    ACCEPTED = 0x24
    SASL_MECHANISMS = 0x40
    SASL_INIT = 0x41
    SASL_OUTCOME = 0x44


# How many fields each has. All are sent, null where there is nothing: the SDK of Azure takes them by position.
_WIDTHS = {
    Code.OPEN: 10,
    Code.BEGIN: 8,
    Code.ATTACH: 14,
    Code.FLOW: 11,
    Code.DISPOSITION: 6,
    Code.DETACH: 3,
    Code.END: 1,
    Code.CLOSE: 1,
    Code.SASL_MECHANISMS: 1,
    Code.SASL_OUTCOME: 2,
}


class Frame(NamedTuple):
    """A frame a peer sent.

    Attributes:
        fields: decoded; absent ones read as None.
        encoded: the same fields as bytes, for those which are echoed.
    """

    channel: int
    code: int
    fields: Sequence[object]
    encoded: Sequence[bytes]
    payload: bytes

    def get(self, index: int) -> object:
        return self.fields[index] if index < len(self.fields) else None

    def raw(self, index: int) -> bytes:
        return self.encoded[index] if index < len(self.encoded) else NULL

    def number(self, index: int, default: int | None = None) -> int:
        """Raises: AmqpError when it is absent and has no default, or is no number."""
        value = self.get(index)
        if value is None and default is not None:
            return default
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise self._invalid(index, "a number")
        return value

    def text(self, index: int) -> str:
        value = self.get(index)
        if not isinstance(value, str):
            raise self._invalid(index, "a text")
        return value

    def flag(self, index: int) -> bool:
        return self.get(index) is True

    def composite(self, index: int) -> list[object]:
        """The fields of a described list, such as a source; [] where it is absent."""
        value = self.get(index)
        if value is None:
            return []
        if isinstance(value, codec.Described) and isinstance(value.value, list):
            return value.value
        raise self._invalid(index, "a described list")

    def _invalid(self, index: int, wanted: str) -> AmqpError:
        return AmqpError(INVALID_FIELD, f"field {index} of performative 0x{self.code:02x} should be {wanted}")


class Header(NamedTuple):
    size: int  # of the whole frame
    offset: int  # of its body, in 4 bytes
    kind: int
    channel: int


def read_header(data: bytes, max_bytes: int) -> Header:
    """Raises: AmqpError (framing-error)."""
    header = Header(*struct.unpack(">IBBH", data))
    if not HEADER_BYTES <= header.offset * 4 <= header.size <= max_bytes or header.kind not in (AMQP, SASL):
        raise AmqpError(FRAMING_ERROR, f"{data.hex()} is no header of a frame of {max_bytes} bytes or less")
    return header


def decode(channel: int, body: bytes) -> Frame:
    """``body``: what follows the header. Raises: AmqpError (decode-error)."""
    reader = Reader(body)
    if reader.take(1) != b"\x00":
        raise AmqpError(DECODE_ERROR, "a frame without a performative")
    code = reader.value()
    if not isinstance(code, int):
        raise AmqpError(DECODE_ERROR, f"{code!r} is no performative")
    items, count = reader.items()
    fields, encoded = [], []
    for _ in range(count):
        start = items.at
        fields.append(items.value())
        encoded.append(body[start : items.at])
    if items:
        raise AmqpError(DECODE_ERROR, f"performative 0x{code:02x} has more bytes than fields")
    return Frame(channel, code, fields, encoded, body[reader.at :])


def encode(code: Code, fields: Sequence[bytes], channel: int = 0, kind: int = AMQP) -> bytes:
    """A whole frame without payload, of encoded fields."""
    padded = [*fields, *[NULL] * (_WIDTHS[code] - len(fields))]
    body = codec.described(code, codec.listed(padded))
    return struct.pack(">IBBH", HEADER_BYTES + len(body), 2, kind, channel) + body


def error(condition: str, description: str) -> bytes:
    return codec.described(Code.ERROR, codec.listed([codec.symbol(condition), codec.string(description), NULL]))


# header · 0x14, a list of 11 in 23 bytes · handle · delivery-id · tag · format 0 · settled · more · 5 nulls
_TRANSFER = struct.Struct(">IBBH 3s3s BI BI 4s cc c 5s")
TRANSFER_BYTES = _TRANSFER.size
# Settled deliveries need no tag of their own, and the SDK remembers each tag it sees: always the same one.
_TAG = b"\xa0\x02\x00\x00"


def transfer(channel: int, handle: int, delivery_id: int, chunk_bytes: int, more: bool) -> bytes:
    """The head of a settled transfer frame that carries ``chunk_bytes``: what is sent most, in one go."""
    return _TRANSFER.pack(
        *(TRANSFER_BYTES + chunk_bytes, 2, AMQP, channel),
        *(b"\x00\x53\x14", b"\xc0\x17\x0b"),
        *(0x70, handle, 0x70, delivery_id, _TAG, b"\x43", codec.TRUE, codec.boolean(more), NULL * 5),
    )

"""The types of AMQP 1.0, to and from bytes (part 1 of the standard).

Encoding has one small function per type, which returns bytes: a caller says what the standard wants where, and keeps
what never changes encoded. Decoding gives Python values: symbols as str, timestamps as int (milliseconds UTC),
decimals as their bytes. Nothing a peer sends makes it recurse, allocate or read beyond what was sent.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from .errors import DECODE_ERROR, AmqpError

MAX_DEPTH = 24

NULL = b"\x40"
TRUE, FALSE = b"\x41", b"\x42"

_UINT, _ULONG, _INT, _LONG, _TIMESTAMP = (struct.Struct(f">B{code}") for code in "IQiqq")
_SIZE_COUNT = struct.Struct(">BII")


class Described(NamedTuple):
    """A value with its descriptor: a number, or the symbol of a filter."""

    descriptor: object
    value: object


# -- encoding


def boolean(value: bool) -> bytes:
    return TRUE if value else FALSE


def ubyte(value: int) -> bytes:
    return bytes((0x50, value))


def ushort(value: int) -> bytes:
    return struct.pack(">BH", 0x60, value)


def uint(value: int) -> bytes:
    if value < 256:
        return bytes((0x52, value)) if value else b"\x43"
    return _UINT.pack(0x70, value)


def ulong(value: int) -> bytes:
    if value < 256:
        return bytes((0x53, value)) if value else b"\x44"
    return _ULONG.pack(0x80, value)


def integer(value: int) -> bytes:
    """``int``, 32 bits with a sign."""
    return struct.pack(">Bb", 0x54, value) if -128 <= value < 128 else _INT.pack(0x71, value)


def long(value: int) -> bytes:
    return struct.pack(">Bb", 0x55, value) if -128 <= value < 128 else _LONG.pack(0x81, value)


def timestamp(milliseconds: int) -> bytes:
    """Milliseconds UTC since 1970."""
    return _TIMESTAMP.pack(0x83, milliseconds)


def uuid(value: UUID) -> bytes:
    return b"\x98" + value.bytes


def binary(value: bytes) -> bytes:
    return binary_header(len(value)) + value


def binary_header(size: int) -> bytes:
    """What goes before ``size`` bytes, for a caller who need not copy them."""
    return _variable(0xA0, size)


def string(value: str) -> bytes:
    data = value.encode()
    return _variable(0xA1, len(data)) + data


def symbol(value: str) -> bytes:
    """Symbols are ASCII: what is not becomes ``?``."""
    data = value.encode("ascii", "replace")
    return _variable(0xA3, len(data)) + data


def _variable(code: int, size: int) -> bytes:
    """Codes of variable width come in pairs: a byte of size, and 0x10 further four."""
    return bytes((code, size)) if size < 256 else _UINT.pack(code + 0x10, size)


def listed(items: Sequence[bytes]) -> bytes:
    return _compound(0xC0, len(items), b"".join(items)) if items else b"\x45"


def mapped(pairs: Sequence[tuple[bytes, bytes]]) -> bytes:
    return _compound(0xC1, 2 * len(pairs), b"".join([part for pair in pairs for part in pair]))


def strings(values: Iterable[str]) -> bytes:
    return _array(0xB1, [value.encode() for value in values])


def symbols(values: Iterable[str]) -> bytes:
    return _array(0xB3, [value.encode("ascii") for value in values])


def _array(element: int, values: Sequence[bytes]) -> bytes:
    body = b"".join([struct.pack(">I", len(value)) + value for value in values])
    return _SIZE_COUNT.pack(0xF0, len(body) + 5, len(values)) + bytes((element,)) + body


def _compound(code: int, count: int, body: bytes) -> bytes:
    if len(body) < 255 and count < 256:
        return bytes((code, len(body) + 1, count)) + body
    return _SIZE_COUNT.pack(code + 0x10, len(body) + 4, count) + body


def described(code: int, value: bytes) -> bytes:
    """``code`` below 256: all descriptors of the standard are."""
    return bytes((0x00, 0x53, code)) + value


def message_id(value: object) -> bytes:
    """The four types a message id may have, as :class:`Reader` gives them; anything else is null."""
    encoders: dict[type, Callable[[Any], bytes]] = {int: ulong, UUID: uuid, bytes: binary, str: string}
    encode = encoders.get(type(value))
    return encode(value) if encode else NULL


# -- decoding

_CONSTANT: dict[int, object] = {0x40: None, 0x41: True, 0x42: False, 0x43: 0, 0x44: 0}
_LAYOUTS = "50B 51b 52B 53B 54b 55b 56? 60H 61h 70I 71i 72f 80Q 81q 82d 83q 74:4s 84:8s 94:16s"  # the last: decimals
_FIXED = {int(word[:2], 16): struct.Struct(">" + word[2:].lstrip(":")) for word in _LAYOUTS.split()}


class Reader:
    """Values out of bytes, one after the other. Every method raises AmqpError (decode-error) for what is no value."""

    def __init__(self, data: bytes, at: int = 0, end: int | None = None) -> None:
        self.data = data
        self.at = at
        self.end = len(data) if end is None else end

    def __bool__(self) -> bool:
        """Whether anything is left."""
        return self.at < self.end

    def take(self, size: int) -> bytes:
        start = self._skip(size)
        return self.data[start : self.at]

    def _skip(self, size: int) -> int:
        """Where the ``size`` bytes began that are passed over."""
        start, self.at = self.at, self.at + size
        if self.at > self.end:
            raise _broken(f"{size} bytes announced at {start}, {self.end - start} sent")
        return start

    def value(self, depth: int = 0) -> object:
        return self._of(self._byte(), depth)

    def items(self) -> tuple[Reader, int]:
        """A list's contents, unread, and how many there are."""
        code = self._byte()
        if code == 0x45:
            return Reader(self.data, self.at, self.at), 0
        if code not in (0xC0, 0xD0):
            raise _broken(f"a list was expected, not type 0x{code:02x}")
        return self._compound(code)

    def _byte(self) -> int:
        return self.take(1)[0]

    def _of(self, code: int, depth: int) -> object:
        if depth > MAX_DEPTH:
            raise _broken("nested too deep")
        if code in _CONSTANT:
            return _CONSTANT[code]
        if layout := _FIXED.get(code):
            return layout.unpack(self.take(layout.size))[0]
        if code == 0x00:
            return Described(self.value(depth + 1), self.value(depth + 1))
        return self._wide(code, depth)

    def _wide(self, code: int, depth: int) -> object:
        family, wide = code & ~0x10, bool(code & 0x10)
        if family in (0xA0, 0xA1, 0xA3):
            data = self.take(self._size(wide))
            return data if family == 0xA0 else _text(data)
        if family in (0xC0, 0xC1, 0xE0):
            return self._many(code, depth)
        if code == 0x45:
            return []
        if code == 0x73:
            return self.take(4).decode("utf-32-be", "replace")
        if code == 0x98:
            return UUID(bytes=self.take(16))
        raise _broken(f"0x{code:02x} is no type")

    def _size(self, wide: bool) -> int:
        return int.from_bytes(self.take(4 if wide else 1))

    def _compound(self, code: int) -> tuple[Reader, int]:
        """The contents of a list, map or array, and how many there are."""
        wide = bool(code & 0x10)
        size = self._size(wide)
        start = self._skip(size)
        inside = Reader(self.data, start, start + size)
        count = inside._size(wide)
        if count > inside.end - inside.at:  # each takes a byte or more: no peer makes us reserve what it did not send
            raise _broken(f"{count} items announced in {size} bytes")
        return inside, count

    def _many(self, code: int, depth: int) -> object:
        inside, count = self._compound(code)
        if code & ~0x10 == 0xE0 and count:
            values = inside._elements(count, depth + 1)
        else:
            values = [inside.value(depth + 1) for _ in range(count)]
        if inside and count:  # an empty array may still name its constructor
            raise _broken(f"{inside.end - inside.at} bytes left over in a list, map or array")
        return values if code & ~0x10 != 0xC1 else _pairs(values)

    def _elements(self, count: int, depth: int) -> list[object]:
        """An array: one constructor for all of its elements."""
        code = self._byte()
        if code != 0x00:
            return [self._of(code, depth) for _ in range(count)]
        descriptor, code = self.value(depth), self._byte()
        return [Described(descriptor, self._of(code, depth)) for _ in range(count)]


def _pairs(values: list[object]) -> dict[object, object]:
    if len(values) % 2:
        raise _broken("a map with a key too many")
    try:
        return dict(zip(values[::2], values[1::2], strict=True))
    except TypeError:
        raise _broken("a map with a list or map for a key") from None


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise _broken("a string that is not UTF-8") from None


def _broken(what: str) -> AmqpError:
    return AmqpError(DECODE_ERROR, what)

"""One message as a row of the queue's file: packed, with a checksum, for flash forgets and SQLite does not notice."""

from __future__ import annotations

import zlib
from typing import Any, NamedTuple

import msgspec

NORMAL, REALTIME, RECORD = 0, 1, 2  # lanes; a record tells of drops: it goes with the normal ones, and is never dropped


class Row(NamedTuple):
    """``batch``: number of the first message that was stored with it; ``boot``: see :class:`agent.state.Boot`."""

    number: int
    lane: int
    size: int
    ts: int
    msg_type: str
    boot: int | None
    batch: int | None
    crc: int | None
    body: bytes

    @property
    def is_sound(self) -> bool:
        """It is as it was written. Rows of the file's first version have no checksum."""
        return self.crc is None or self.crc == checksum(self)


COLUMNS = ", ".join(Row._fields)
INSERT = f"INSERT INTO message ({COLUMNS}) VALUES ({', '.join('?' * len(Row._fields))})"


def checksum(row: Row) -> int:
    head = repr((row.number, row.lane, row.size, row.ts, row.msg_type, row.boot, row.batch))
    return zlib.crc32(row.body, zlib.crc32(head.encode()))


def row_of(number: int, lane: int, ts: int, msg_type: str, boot: int | None, batch: int, body: bytes) -> Row:
    packed = pack(body)
    row = Row(number, lane, len(packed), ts, msg_type, boot, batch, None, packed)
    return row._replace(crc=checksum(row))


def pack(body: bytes) -> bytes:
    """Huffman coding alone: a quarter less on the flash (base64 has 6 bits in 8), at next to no cost."""
    packer = zlib.compressobj(1, zlib.DEFLATED, -15, 9, zlib.Z_HUFFMAN_ONLY)
    return packer.compress(body) + packer.flush()


def unpack(packed: bytes) -> bytes:
    """Raises: zlib.error."""
    return zlib.decompress(packed, -15)


def redate(body: bytes, shift: int, source: str) -> bytes:
    """The envelope ``shift`` microseconds later, its frames too, dated by ``source``."""
    envelope: dict[str, Any] = msgspec.json.decode(body)
    envelope["ts"] = max(envelope["ts"] + shift, 0)
    envelope["clock"]["source"] = source
    for block in envelope["payload"].get("blocks", ()):
        block["t0"] = max(block["t0"] + shift, 0)
    return msgspec.json.encode(envelope)

"""Vector's binary logs (``.blf``), streamed: containers, unpacked one by one, and the objects in them.

::

    LOGG header: sizes, start (a wall-clock time, to the millisecond)
    LOBJ container: 0 not packed or 2 zlib ──► LOBJ object, LOBJ object, LOB│J object, ...   an object may span two

A .blf names no zone: CANoe writes local time, python-can UTC.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np

from ...model import FrameBatch
from .blf_kernel import HEAD, parse_objects
from .files import Source
from .rows import Rows, numbered
from .scan import BAD, SKIP, START, STATE_SIZE, STOP, WIDER
from .times import wall_to_utc

_FILE_HEAD = struct.Struct("<4sL8xQQLL8H")  # LOGG, size of the header, -, file size, -, -, -, start
_OBJECT_HEAD = struct.Struct("<4sHHLL")  # LOBJ, -, -, size, type
_CONTAINER = 10
_CONTAINER_HEAD = struct.Struct("<H6xL4x")  # method, unpacked size
_LARGEST = 1 << 27  # bytes of a container, packed or not; one that says more is damaged


def read_blf(source: Source) -> Iterator[FrameBatch]:
    """Batches of up to 65,536 frames; of a damaged file, what comes before the damage.

    Raises: ValueError at damage; the source's place is the container.
    """
    file, objects = _File(source), _Objects()
    try:
        head = _read_head(file)
        objects.state[START] = _start(source, head.start)
        for content in _contents(file):
            yield from objects.feed(content)
        yield from objects.rows.take()
    except Exception:
        yield from objects.rows.take()
        raise
    source.byte = file.at
    if file.error:
        raise file.error
    if file.is_cut or objects.rest.strip(b"\0"):
        source.warn(f"damaged at {source.place}: read up to there (the last container or object is cut)")
    elif file.at < head.size:
        source.warn(f"damaged at {source.place}: read up to there (its header says {head.size:,} bytes)")


class _File:
    """A stream that gives what there is: fewer bytes than asked for at its end, and where it breaks.

    Attributes:
        at: bytes read.
        is_cut: it ended too early.
        error: why it broke (a cut .gz), if it did.
    """

    def __init__(self, source: Source) -> None:
        self.source, self.at, self.is_cut = source, 0, False
        self.error: Exception | None = None
        self._stream = source.stream()

    def take(self, count: int) -> bytes:
        parts, left = [], count
        while left and self.error is None and (part := self._part(left)):
            parts.append(part)
            left -= len(part)
        self.at += count - left
        self.is_cut |= 0 < left < count
        return b"".join(parts)

    def _part(self, most: int) -> bytes:
        try:
            return self._stream.read1(most)
        except (EOFError, OSError, zlib.error) as error:
            self.error = error
            return b""


class _Head(NamedTuple):
    size: int  # of the file, as it was closed
    start: datetime | None


def _read_head(file: _File) -> _Head:
    content = file.take(_FILE_HEAD.size)
    if len(content) < _FILE_HEAD.size or content[:4] != b"LOGG":
        raise file.error or ValueError("it does not begin with the header of a .blf")
    _, length, size, _, _, _, year, month, _, day, hour, minute, second, millis = _FILE_HEAD.unpack(content)
    file.take(max(min(length, 1 << 16) - _FILE_HEAD.size, 0))
    try:
        return _Head(size, datetime(year, month, day, hour, minute, second, millis * 1000))
    except ValueError:  # zeros: times count from an unknown start
        return _Head(size, None)


def _start(source: Source, wall: datetime | None) -> int:
    """Microseconds UTC of time zero."""
    if wall is None:
        return 0
    if source.zone is None and not source.has_start:
        source.warn(f"its start ({wall:%Y-%m-%d %H:%M:%S}) names no time zone and is taken for UTC; give --tz if not")
    return wall_to_utc(wall, UTC) if source.zone is None else source.utc(wall)


def _contents(file: _File) -> Iterator[bytes]:
    """What containers hold, and objects that stand outside of one."""
    while head := file.take(HEAD):
        file.source.byte = file.at - len(head)
        if len(head) < HEAD:
            return
        signature, _, _, size, kind = _OBJECT_HEAD.unpack(head)
        if signature != b"LOBJ" or not HEAD <= size <= _LARGEST:
            raise ValueError("no container begins there")
        body = file.take(size - HEAD)
        file.is_cut |= len(body) < size - HEAD
        yield _unpacked(body, file) if kind == _CONTAINER else head + body
        if file.is_cut:
            return
        file.take(size % 4)  # padding
        file.is_cut = False  # which the last one may lack


def _unpacked(body: bytes, file: _File) -> bytes:
    """A container's objects; of a cut one, what can be unpacked."""
    if len(body) < _CONTAINER_HEAD.size:
        file.is_cut = True
        return b""
    method, _ = _CONTAINER_HEAD.unpack_from(body)
    packed = body[_CONTAINER_HEAD.size :]
    if method == 0:
        return packed
    if method != 2:
        raise ValueError(f"a container is packed by an unknown method ({method})")
    unpacking = zlib.decompressobj()
    content = unpacking.decompress(packed, _LARGEST)
    if unpacking.unconsumed_tail:
        raise ValueError(f"a container holds more than {_LARGEST:,} bytes")
    file.is_cut |= not unpacking.eof
    return content


class _Objects:
    """Objects into rows; one that spans containers waits for its rest."""

    def __init__(self) -> None:
        self.rows = Rows(numbered(1))
        self.state = np.zeros(STATE_SIZE, np.int64)
        self.rest = b""

    def feed(self, content: bytes) -> Iterator[FrameBatch]:
        """Raises: ValueError at what is no object, or a frame's that is too short for one."""
        text, at, stop = self.rest + content, 0, 0
        buffer = np.frombuffer(text, np.uint8)
        while stop != SKIP:
            at, row = parse_objects(buffer, at, self.rows.count, self.rows.columns, self.state)
            self.rows.count, stop = int(row), self.state[STOP]
            if stop == WIDER:
                self.rows.widen()
            elif stop == BAD:
                raise ValueError("an object of its container cannot be read")
            if self.rows.full:
                yield from self.rows.take()
        self.rest = text[at:]

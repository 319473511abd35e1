"""Compression of the HTTP bodies of the store door, both ways: lz4, zstd, gzip, deflate."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable
from typing import Any, Protocol

import lz4.frame

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

from .errors import EngineError

PREFERENCE = ("lz4", "zstd", "gzip", "deflate")  # cheapest for the processor first: the link is loopback


class _Decompressor(Protocol):
    eof: bool

    def decompress(self, data: bytes, max_length: int = ...) -> bytes: ...


_DECOMPRESSORS: dict[str, Callable[[], Any]] = {
    "lz4": lz4.frame.LZ4FrameDecompressor,
    "zstd": zstd.ZstdDecompressor,
    "gzip": lambda: zlib.decompressobj(wbits=31),
    "deflate": zlib.decompressobj,
}


def decompress(body: bytes, encoding: str, limit: int) -> bytes:
    """The body as it was before ``Content-Encoding``.

    Raises: EngineError when the encoding is unknown, the data damaged, or the result longer than ``limit`` bytes.
    """
    if encoding in ("", "identity"):
        return body
    if encoding not in _DECOMPRESSORS:
        raise EngineError(48, f"Content-Encoding {encoding!r} is none of {', '.join(PREFERENCE)} (NOT_IMPLEMENTED)")
    parts: list[bytes] = []
    try:
        while body:  # a body may be several frames, one after another
            frame: _Decompressor = _DECOMPRESSORS[encoding]()
            parts.append(frame.decompress(body, limit + 1 - sum(map(len, parts))))
            if sum(map(len, parts)) > limit:
                raise EngineError(307, f"the body unpacks to more than {limit >> 20} MB (TOO_MANY_BYTES)")
            if not frame.eof:
                raise EngineError(271, "the compressed body ends early (CANNOT_DECOMPRESS)")
            body = bytes(getattr(frame, "unused_data", b"") or b"")
    except (zlib.error, zstd.ZstdError, RuntimeError, EOFError) as error:
        raise EngineError(271, f"the {encoding} body is damaged: {error} (CANNOT_DECOMPRESS)") from None
    return b"".join(parts)


class Compressor:
    """One response body, compressed as it streams; every chunk can be read as soon as it arrives."""

    def __init__(self, encoding: str) -> None:
        self.encoding = encoding
        self._begun = False
        if encoding == "lz4":
            self._lz4 = lz4.frame.LZ4FrameCompressor(auto_flush=True)
        elif encoding == "zstd":
            self._zstd = zstd.ZstdCompressor(level=1)
        else:
            self._zlib = zlib.compressobj(1, wbits=31 if encoding == "gzip" else 15)

    def add(self, chunk: bytes) -> bytes:
        if self.encoding == "lz4":
            head = b"" if self._begun else self._lz4.begin()
            self._begun = True
            return bytes(head + self._lz4.compress(chunk))
        if self.encoding == "zstd":
            return self._zstd.compress(chunk, zstd.ZstdCompressor.FLUSH_BLOCK)
        return self._zlib.compress(chunk) + self._zlib.flush(zlib.Z_SYNC_FLUSH)

    def end(self) -> bytes:
        if self.encoding == "lz4":
            head = b"" if self._begun else self._lz4.begin()
            return bytes(head + self._lz4.flush())
        return self._zstd.flush() if self.encoding == "zstd" else self._zlib.flush()


def choose(accept_encoding: str) -> str:
    """What of ``Accept-Encoding`` the door answers with, "" for none."""
    accepted = {part.partition(";")[0].strip() for part in accept_encoding.lower().split(",")}
    return next((name for name in PREFERENCE if name in accepted), "")

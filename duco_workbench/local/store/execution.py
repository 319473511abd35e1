"""One request on one connection, from its settings to its last chunk. All of it blocks; server.py gives threads."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from tempfile import NamedTemporaryFile
from typing import Any

from .engine import Engine
from .errors import EngineError
from .requests import Insert, Query, Request

# Formats without a head and foot: the engine's chunks, one after another, are a whole result.
CHUNKED = frozenset({"Native", "TabSeparated", "TSV", "CSV", "RowBinary", "JSONEachRow", "ArrowStream"})
MATERIALIZED_CHUNK = 1 << 20  # bytes handed on at a time of a result that could not be streamed
_ARROW_END = b"\xff\xff\xff\xff\x00\x00\x00\x00"


class Execution:
    """``start``, then ``chunk`` until None, then ``close`` in any case; each from one thread at a time."""

    def __init__(self, engine: Engine, request: Request, comment: str) -> None:
        self._engine = engine
        self._request = replace(request, settings={**request.settings, "log_comment": comment})
        self._cleanup = ExitStack()
        self._chunks: Iterator[bytes] = iter(())
        self.summary: dict[str, str] = {}
        self.has_result = False

    def start(self) -> bytes | None:
        """Runs up to the first chunk, so that most errors come before an answer begins.

        Raises: EngineError.
        """
        connection = self._cleanup.enter_context(self._engine.connection(self._request))
        body = self._request.body
        try:
            if isinstance(body, Insert):
                self._insert(connection, body)
                return None
            self._chunks = self._query(connection, body)
            return next(self._chunks, None)
        except Exception as error:
            raise EngineError.of(error) from None

    def chunk(self) -> bytes | None:
        try:
            return next(self._chunks, None)
        except Exception as error:
            raise EngineError.of(error) from None

    def close(self) -> None:
        closing = getattr(self._chunks, "close", None)
        if closing:
            closing()  # ends a stream that was not read to its end
        self._cleanup.close()

    def _insert(self, connection: Any, insert: Insert) -> None:
        """As from a file: the engine's own stream of inserted bytes ends well even when a part could not be written."""
        with _as_file(insert.data) as path:
            source = f"FROM INFILE '{path}' {insert.settings} FORMAT {insert.format}"
            result = connection.query(f"{insert.statement} {source}", "TSV")
        self.summary = _summary(result.rows_written(), result.bytes_written(), result.elapsed())

    def _query(self, connection: Any, query: Query) -> Iterator[bytes]:
        if query.is_select and query.format in CHUNKED:
            self.has_result = True
            yield from self._stream(connection, query)
        else:
            yield from self._whole(connection, query)

    def _stream(self, connection: Any, query: Query) -> Iterator[bytes]:
        stream = connection.send_query(query.statement, query.format, params=dict(self._request.parameters))
        try:
            chunks = (chunk.bytes() for chunk in stream)
            if query.format != "ArrowStream":
                yield from chunks
                return
            first = next(chunks, None)
            if first is not None:
                yield from _one_arrow_stream(first, chunks)
                return
        finally:
            stream.close()
        yield from self._whole(connection, query)  # of no rows: only a whole result has the schema

    def _whole(self, connection: Any, query: Query) -> Iterator[bytes]:
        result = connection.query(query.statement, query.format, params=dict(self._request.parameters))
        body = result.bytes() or b""
        self.has_result = query.is_select or bool(body)
        self.summary = _summary(result.rows_written(), result.bytes_written(), result.elapsed())
        for at in range(0, len(body), MATERIALIZED_CHUNK):
            yield body[at : at + MATERIALIZED_CHUNK]


@contextmanager
def _as_file(data: bytes) -> Iterator[str]:
    """A path the engine can read the bytes from; in memory where the system has such files."""
    with os.fdopen(os.memfd_create("insert"), "wb") if sys.platform == "linux" else NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        yield f"/proc/self/fd/{file.fileno()}" if sys.platform == "linux" else str(file.name)


def _one_arrow_stream(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    """Each chunk is an Arrow stream of its own (schema, dictionaries, rows, end): one schema and one end remain."""
    head = 8 + int.from_bytes(first[4:8], "little")
    yield first.removesuffix(_ARROW_END)
    for chunk in rest:
        yield chunk[head:].removesuffix(_ARROW_END)
    yield _ARROW_END


def _summary(rows: int, size: int, seconds: float) -> dict[str, str]:
    return {"written_rows": str(rows), "written_bytes": str(size), "elapsed_ns": str(int(seconds * 1e9))}


def safe_comment(text: str) -> str:
    """A query id as it can stand in SQL."""
    return re.sub(r"[^\w-]", "_", text)[:100]

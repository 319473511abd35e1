"""ClickHouse: raw archive, samples (with texts, codes, events) and dead letters. The right-hand end of the drawing.

A ``write`` returns when the server has the rows on its disk. Writing a batch again changes no answer: every table
replaces by key. Only clickhouse_connect is loaded here, neither pandas nor polars.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any
from urllib.parse import unquote, urlsplit

import clickhouse_connect
import lz4.frame
import pyarrow as pa
from clickhouse_connect.driver.exceptions import ClickHouseError, OperationalError
from clickhouse_connect.driver.httputil import get_pool_manager
from urllib3.exceptions import HTTPError

from ..batches import in_parts
from ..columns import Parsed
from ..errors import ConfigError, DataError, ServiceError
from ..model import DeadLetter, Record
from . import native
from .clickhouse_rows import (
    by_partitions,
    dead_letter_rows,
    dtc_rows,
    event_rows,
    message_rows,
    raw_rows,
    sample_rows,
    text_rows,
)

logging.getLogger("clickhouse_connect").setLevel(logging.ERROR)  # its warnings come again as our errors

LOOPBACK = ("127.0.0.1", "localhost", "::1")
TIMEOUT_S = 120  # for one statement
# Of one insert. The store takes some 200 bytes of memory a row of samples while it writes them; the fewer rows, the
# more often they are merged.
MAX_BODIES = 8 << 20  # bytes
MAX_ROWS = 1 << 18

# What ClickHouse says when the rows, and not the server, are the trouble: cannot parse, convert, compare, hold.
_DATA_CODES = frozenset({6, 26, 27, 33, 38, 41, 53, 69, 70, 72, 117, 131, 321, 349, 407, 467, 691})
# Rows of one key are not looked for among those of an insert, which took half of its time: reading does that anyway.
_AS_THEY_ARE = {"optimize_on_insert": 0}
_ERRNO = re.compile(r"\[Errno -?\d+\] ([\w ]+)")
_NO_SCHEMA = frozenset({60, 81})


def connect(url: str, **settings: Any) -> Any:
    """A clickhouse_connect client of ``http://[user:password@]host:port/database``; not for two threads at once.

    The database need not exist yet. ``settings`` go with every statement.

    Raises: ConfigError when the address is none; ServiceError when nothing answers there.
    """
    parts = urlsplit(url)
    database = parts.path.strip("/")
    if parts.scheme not in ("http", "https") or not parts.hostname or not database or "/" in database:
        raise ConfigError(f"the store's address {url!r} is not of the form http://host:8123/database")
    local = parts.hostname in LOOPBACK
    with reported(url):
        client = clickhouse_connect.get_client(
            interface=parts.scheme,
            host=parts.hostname,
            port=parts.port or (8443 if parts.scheme == "https" else 8123),
            username=unquote(parts.username or "") or None,
            password=unquote(parts.password or ""),
            compress=not local,
            pool_mgr=_direct() if local else None,
            tz_mode="aware",
            autogenerate_session_id=False,
            connect_timeout=5,
            send_receive_timeout=TIMEOUT_S,
            settings={"async_insert": 0, **settings},
        )
    client.database = database
    return client


@cache
def _direct() -> Any:
    """Connections to this computer, past any proxy the environment names."""
    return get_pool_manager()


@contextmanager
def reported(url: str, what: str = "") -> Iterator[None]:
    """The driver's errors as ours: ServiceError, or DataError ``store_refused`` when the data is to blame."""
    place = f"the store at {_without_password(url)}" + (f", {what}" if what else "")
    try:
        yield
    except ClickHouseError as error:
        code = getattr(error, "code", None)
        if code in _DATA_CODES:
            raise DataError(
                "store_refused", f"{place} refuses the data itself, which no retry mends: {said(error)}"
            ) from None
        if code in _NO_SCHEMA:
            raise ServiceError(f"{place}: the schema is not there (yet); migrate it: {said(error)}") from None
        verb = "does not answer" if code is None and isinstance(error, OperationalError) else "failed"
        raise ServiceError(f"{place} {verb}: {said(error)}") from None
    except (HTTPError, OSError) as error:
        raise ServiceError(f"{place} does not answer: {error}") from None


def said(error: Exception) -> str:
    """The driver's text without the address, and without all that a parser would have accepted instead.

    Of a connection that is not made, what the system says of it: the rest is how often libraries tried.
    """
    if "Max retries exceeded" in str(error) and (found := _ERRNO.search(str(error))):
        return found[1]
    return str(error).partition(" (for url ")[0].partition(" Expected one of: ")[0][:600]


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    return url.replace(f":{parts.password}@", "@") if parts.password else url


class StoreClient:
    """Clients of one address, one for each call under way: threads may share this."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._idle: deque[Any] = deque()

    @contextmanager
    def lend(self) -> Iterator[Any]:
        client = self._idle.pop() if self._idle else connect(self.url)
        yield client
        self._idle.append(client)  # not after an error

    def ping(self) -> None:
        """Raises: ServiceError."""
        with reported(self.url), self.lend() as client:
            client.command("SELECT 1", use_database=False)

    def insert(self, table: str, rows: pa.Table, time_column: str | None = None) -> None:
        """Insert and wait until it is durable. ``time_column`` is the one whose month makes the partition.

        Raises: ServiceError, or DataError ``store_refused``.
        """
        if not rows.num_rows:
            return
        with reported(self.url, f"table {table}"), self.lend() as client:
            for part in by_partitions(rows, time_column) if time_column else (rows,):
                for begin in range(0, part.num_rows, MAX_ROWS):  # one message may have more
                    _send(client, table, part.slice(begin, MAX_ROWS))

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()


def _send(client: Any, table: str, rows: pa.Table) -> None:
    if not native.holds(rows.schema):
        client.insert_arrow(table, rows, settings=_AS_THEY_ARE)
        return
    block, packing = native.block(rows), None
    if client.write_compression:  # a store elsewhere
        block, packing = lz4.frame.compress(block), "lz4"
    client.raw_insert(table, rows.column_names, block, _AS_THEY_ARE, "Native", packing)


class _Table:
    """What the sinks below share: ``open`` finds out that the store is there, ``close`` lets go of it."""

    def __init__(self, url: str) -> None:
        self._store = StoreClient(url)

    async def open(self) -> None:
        """Raises: ServiceError when nothing answers; ConfigError when the address is none."""
        await asyncio.to_thread(self._store.ping)

    async def close(self) -> None:
        await asyncio.to_thread(self._store.close)


class RawArchive(_Table):
    """``raw_data_cache_store``: every message, before it is judged."""

    async def write(self, batch: Sequence[Record]) -> None:
        await asyncio.to_thread(self._write, batch)

    def _write(self, batch: Sequence[Record]) -> None:
        for part in in_parts(batch, [len(record.body) for record in batch], MAX_BODIES):
            self._store.insert("raw_data_cache_store", raw_rows(part), "ts_enqueued")


class SampleTable(_Table):
    """``ce_technology`` and, where a message has them, ``texts``, ``dtcs`` and ``events``; then ``parsed_messages``,
    which say that all this is there.
    """

    async def write(self, batch: Sequence[Parsed]) -> None:
        await asyncio.to_thread(self._write, batch)

    def _write(self, batch: Sequence[Parsed]) -> None:
        for part in in_parts(batch, [len(parsed.samples) for parsed in batch], MAX_ROWS):
            self._store.insert("ce_technology", sample_rows(part), "ts")
        for table, rows in (("texts", text_rows), ("dtcs", dtc_rows), ("events", event_rows)):
            if any(getattr(parsed, table) for parsed in batch):
                self._store.insert(table, rows(batch), "ts")
        self._store.insert("parsed_messages", message_rows(batch))


class DeadLetterTable(_Table):
    """``dead_letters``: what could not be used, and why; and which of that was good when it was replayed."""

    async def write(self, batch: Sequence[DeadLetter]) -> None:
        await asyncio.to_thread(self._write, batch)

    def _write(self, batch: Sequence[DeadLetter]) -> None:
        for part in in_parts(batch, [len(letter.record.body) for letter in batch], MAX_BODIES):
            self._store.insert("dead_letters", dead_letter_rows(part))

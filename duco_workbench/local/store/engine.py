"""The chDB engine: opened once in this process, lent as connections. What USE and SET do stays in a connection."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import ConfigError
from .errors import EngineError
from .requests import Request

# Sized for a laptop that runs other things too. An acknowledged insert is on the disk, not in the page cache; a disk
# that is nearly full takes none, for the engine does not notice when it is only half through a part. A merge holds
# granules of each of its parts, and messages are large: a quarter of a megabyte each is enough, and two merges at once.
# Ten parts become one: with five, as is usual, a busy store has half as much again to merge, and a quiet one as many
# parts. Those are removed one after the other: a hundred threads at once would keep 20 MB for good.
_CONFIG = """<clickhouse>
    <max_server_memory_usage_to_ram_ratio>0.4</max_server_memory_usage_to_ram_ratio>
    <mark_cache_size>67108864</mark_cache_size>
    <primary_index_cache_size>67108864</primary_index_cache_size>
    <query_condition_cache_size>16777216</query_condition_cache_size>
    <compiled_expression_cache_size>16777216</compiled_expression_cache_size>
    <mmap_cache_size>64</mmap_cache_size>
    <max_thread_pool_size>256</max_thread_pool_size>
    <max_thread_pool_free_size>8</max_thread_pool_free_size>
    <background_pool_size>2</background_pool_size>
    <background_merges_mutations_concurrency_ratio>1</background_merges_mutations_concurrency_ratio>
    <merge_tree>
        <index_granularity_bytes>262144</index_granularity_bytes>
        <merge_max_block_size_bytes>1048576</merge_max_block_size_bytes>
        <max_compress_block_size>262144</max_compress_block_size>
        <fsync_after_insert>1</fsync_after_insert>
        <fsync_part_directory>1</fsync_part_directory>
        <min_free_disk_bytes_to_perform_insert>67108864</min_free_disk_bytes_to_perform_insert>
        <concurrent_part_removal_threshold>100000</concurrent_part_removal_threshold>
        <merge_selector_base>10</merge_selector_base>
    </merge_tree>
</clickhouse>
"""


@dataclass
class _Held:
    """A client's session: its connection, and until when it lives unused."""

    connection: Any
    expires: float = 0.0
    busy: threading.Lock = field(default_factory=threading.Lock)


class Engine:
    """Opens ``folder`` (made if it is not there): ``data`` in it is the engine's, ``engine.xml`` its configuration.

    The process works in ``folder`` from then on: chDB takes its path as a URL, and a relative one has nothing in it
    that would have to be escaped.

    Raises: ConfigError when another process has the folder open, or it cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        os.environ["TZ"] = "UTC"  # before chDB is loaded: the zone of columns and functions that name none
        import chdb

        try:
            folder.mkdir(parents=True, exist_ok=True)
            os.chdir(folder)
            Path("engine.xml").write_text(_CONFIG)
        except OSError as error:
            raise ConfigError(f"the store cannot keep its data in {folder}: {error.strerror}") from None
        self._open: Callable[[str], Any] = chdb.connect
        try:
            self._root = self._open("data?config-file=engine.xml")  # keeps the engine alive
        except RuntimeError as error:
            raise ConfigError(
                f"the store in {folder} does not open: another process has it, or it is damaged ({error})"
            ) from None
        self.timezone, self.version = self._ask("SELECT timezone(), version()").split("\t")
        self._sessions: dict[str, _Held] = {}
        self._lock = threading.Lock()

    def _ask(self, sql: str) -> str:
        return str(self._root.query(sql, "TSV").bytes().decode().strip())

    def trouble(self) -> str | None:
        """What the engine says when it is asked anything; None when it answers."""
        connection = self._open("data")  # of its own: whoever asks is on another thread
        try:
            connection.query("SELECT 1", "TSV")
            return None
        except RuntimeError as error:
            return f"the engine does not answer: {error}"
        finally:
            connection.close()

    @contextmanager
    def connection(self, request: Request) -> Iterator[Any]:
        """A connection made ready for the request: its own, or its session's, which is put back as it was.

        Raises: EngineError for a setting or database the engine does not know, or a session that is busy.
        """
        if request.session_id and not request.readonly:
            with self._session(request) as connection, _lent(connection, request):
                yield connection
        else:  # a connection once read-only stays so; nothing read-only can change a session
            connection = self._open("data")
            try:
                _prepare(connection, request)
                yield connection
            finally:
                connection.close()

    @contextmanager
    def _session(self, request: Request) -> Iterator[Any]:
        with self._lock:
            self._expire()
            held = self._sessions.get(request.session_id) or _Held(self._open("data"))
            self._sessions[request.session_id] = held
            if not held.busy.acquire(blocking=False):
                raise EngineError(373, f"Session {request.session_id} is locked by a concurrent client. "
                                       "(SESSION_IS_LOCKED)")  # fmt: skip
        try:
            yield held.connection
        finally:
            held.expires = time.monotonic() + request.session_timeout
            held.busy.release()

    def _expire(self) -> None:
        now = time.monotonic()
        for name in [n for n, held in self._sessions.items() if held.expires < now and not held.busy.locked()]:
            self._sessions.pop(name).connection.close()

    def cancel(self, comment: str = "") -> None:
        """Stop the statement that runs under this ``log_comment``, or all."""
        which = f"Settings['log_comment'] = '{comment}'" if comment else "query NOT LIKE 'KILL QUERY%'"
        self._ask(f"KILL QUERY WHERE {which} ASYNC")

    def close(self) -> None:
        """Every connection; with the last one the engine writes what it holds and lets go of its files."""
        for held in self._sessions.values():
            held.connection.close()
        self._sessions.clear()
        self._root.close()


def _prepare(connection: Any, request: Request) -> None:
    try:
        if request.database:
            connection.query(f"USE {_quoted(request.database, '`')}", "TSV")
        _set(connection, request.settings)
        if request.readonly:
            connection.query(f"SET readonly = {request.readonly}", "TSV")
    except Exception as error:
        raise EngineError.of(error) from None


@contextmanager
def _lent(connection: Any, request: Request) -> Iterator[None]:
    """Over HTTP the settings and database of a request are the request's alone; only SET and USE last in a session."""
    names = list(request.settings)
    try:
        columns = ["currentDatabase()", *(f"toString(getSetting({_quoted(name)}))" for name in names)]
        row = connection.query(f"SELECT {', '.join(columns)}", "JSONCompactEachRow").bytes()
    except Exception as error:
        raise EngineError.of(error) from None
    database, *values = json.loads(row)
    before = dict(zip(names, values, strict=True))
    try:
        _prepare(connection, request)
        yield
    finally:
        _set(connection, before)
        if request.database and request.database != database:
            connection.query(f"USE {_quoted(database, '`')}", "TSV")


def _set(connection: Any, settings: Mapping[str, str]) -> None:
    if settings:
        pairs = ", ".join(f"{name} = {_quoted(value)}" for name, value in settings.items())
        connection.query(f"SET {pairs}", "TSV")


def _quoted(text: str, mark: str = "'") -> str:
    return mark + text.replace("\\", "\\\\").replace(mark, "\\" + mark) + mark

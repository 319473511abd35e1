"""One reader of the live server per process: a thread that tails every stream somebody watches.

Each entry is decoded once and put into the bounded queue of each subscription. The reader remembers its place in every
stream, so that a broken connection (it reconnects with backoff) leaves no gap.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Self

import msgspec
import redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from ..errors import ServiceError
from ..model import MSG_TYPES
from ..sinks.live import stream_key
from ..sinks.lossy import check_url
from ..sinks.snapshot import Latest, snapshot_key
from .entries import Entry, decode

log = logging.getLogger(__name__)

CLIENT_NAME = "duco-live-reader"  # in the server's CLIENT LIST
BLOCK_MS = 250  # a stream first watched while the reader waits is read after this long at the latest
AT_A_TIME = 200  # entries of one stream in one reading
WAITING = 1500  # entries a subscription holds: two minutes at 10 Hz and more
BACKLOG_S = 120  # how far back a stream is read that was first watched while the server was away
TIMEOUT_S, FIRST_PAUSE_S, LAST_PAUSE_S = 5.0, 0.2, 5.0


@dataclass(frozen=True, order=True, slots=True)
class Machine:
    tenant: str
    chassis_id: str


class Subscription:
    """Entries of one machine as they come. When nobody takes them the oldest go, counted in ``dropped``."""

    def __init__(self, reader: LiveReader, streams: Sequence[str], size: int) -> None:
        self._reader = reader
        self._queue: deque[Entry] = deque(maxlen=size)
        self._ready = threading.Condition()
        self.streams = tuple(streams)
        self.dropped = 0

    def put(self, entry: Entry) -> None:
        with self._ready:
            self.dropped += len(self._queue) == self._queue.maxlen
            self._queue.append(entry)
            self._ready.notify_all()

    def take(self) -> list[Entry]:
        """All that waits, in the order it came; never blocks."""
        with self._ready:
            entries = list(self._queue)
            self._queue.clear()
        return entries

    def wait(self, seconds: float) -> list[Entry]:
        """As ``take``, but waits up to ``seconds`` for the first."""
        with self._ready:
            self._ready.wait_for(lambda: bool(self._queue), seconds)
        return self.take()

    def close(self) -> None:
        self._reader.unsubscribe(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(slots=True)
class _Tail:
    """One watched stream: the id read last, and who watches."""

    position: str
    watchers: list[Subscription] = field(default_factory=list)


class LiveReader:
    """Threads may share it; ``connected`` and ``trouble`` say how its connection is. Raises: ConfigError (address)."""

    def __init__(self, live_url: str) -> None:
        self._redis: Any = redis.Redis.from_url(
            check_url(live_url),
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            client_name=CLIENT_NAME,
            retry=Retry(NoBackoff(), 1),  # a connection may have died in the pool; else say at once that it is away
        )
        self._tails: dict[str, _Tail] = {}
        self._lock = threading.Lock()
        self._changed = threading.Event()
        self._thread: threading.Thread | None = None
        self._closed = False
        self.connected = True
        self.trouble = ""

    def subscribe(
        self, tenant: str, chassis_id: str, msg_types: Iterable[str] = MSG_TYPES, size: int = WAITING
    ) -> Subscription:
        """From now on. Whoever wants the past too reads :meth:`window` afterwards and drops entries it saw twice."""
        subscription = Subscription(self, [stream_key(tenant, chassis_id, m) for m in msg_types], size)
        start = self._start()
        with self._lock:
            for stream in subscription.streams:
                self._tails.setdefault(stream, _Tail(start)).watchers.append(subscription)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="live-reader", daemon=True)
                self._thread.start()
        self._changed.set()
        return subscription

    def _start(self) -> str:
        """Where a new tail begins: one second before the server's now. What comes twice is known by its id."""
        try:
            seconds, micros = self._redis.time()
            return f"{seconds * 1000 + micros // 1000 - 1000}-0"
        except (RedisError, OSError):
            return f"{int((time.time() - BACKLOG_S) * 1000)}-0"

    def unsubscribe(self, subscription: Subscription) -> None:
        with self._lock:
            for stream in subscription.streams:
                tail = self._tails.get(stream)
                if tail is None or subscription not in tail.watchers:
                    continue
                tail.watchers.remove(subscription)
                if not tail.watchers:
                    del self._tails[stream]

    def window(
        self, tenant: str, chassis_id: str, seconds: float = 120, msg_types: Iterable[str] = MSG_TYPES
    ) -> list[Entry]:
        """The entries of the last ``seconds`` that the live server holds, oldest first. Raises: ServiceError."""
        with _service_errors("reading the last minutes"):
            now, micros = self._redis.time()
            start = now * 1000 + micros // 1000 - int(seconds * 1000)
            pipe = self._redis.pipeline(transaction=False)
            streams = [stream_key(tenant, chassis_id, m) for m in msg_types]
            for stream in streams:
                pipe.xrange(stream, min=max(start, 0))
            found = pipe.execute()
        entries = [decode(s, i, f) for s, answer in zip(streams, found, strict=True) for i, f in answer]
        return sorted((e for e in entries if e is not None), key=lambda e: e.arrived)

    def snapshot(self, tenant: str, chassis_id: str) -> dict[str, Latest]:
        """The newest reading of every field (``Message.Signal@can0``), however old. Raises: ServiceError."""
        with _service_errors("reading the snapshot"):
            found = self._redis.hgetall(snapshot_key(tenant, chassis_id))
        return {name.decode(): msgspec.json.decode(value, type=Latest) for name, value in found.items()}

    def sending(self) -> set[Machine]:
        """The machines that sent something in the last three minutes. Raises: ServiceError."""
        with _service_errors("listing the machines"):
            names = [key.decode().split("/", 3) for key in self._redis.scan_iter("live-stream/*", count=1000)]
        return {Machine(tenant, consumer.removeprefix("consumer-")) for _, tenant, consumer, _ in names}

    def remembered(self) -> set[Machine]:
        """The machines whose newest values the live server holds, however old. Raises: ServiceError."""
        with _service_errors("listing the machines"):
            names = [key.decode().split("/", 2) for key in self._redis.scan_iter("snapshot/*", count=1000)]
        return {Machine(tenant, chassis_id) for _, tenant, chassis_id in names}

    def reconnect(self) -> None:
        """Drop the connections and make new ones; every tail goes on from its place."""
        self._redis.connection_pool.disconnect(inuse_connections=False)
        self._changed.set()

    def close(self) -> None:
        self._closed = True
        self._changed.set()
        if self._thread is not None:
            self._thread.join(TIMEOUT_S)
        self._redis.close()

    def _run(self) -> None:
        pause = FIRST_PAUSE_S
        while not self._closed:
            try:
                self._follow()
                self._said(True)
                pause = FIRST_PAUSE_S
            except (RedisError, OSError) as error:
                self._said(False, f"the live server does not answer: {error or type(error).__name__}")
                self._changed.clear()
                self._changed.wait(pause * random.uniform(0.5, 1.0))
                pause = min(pause * 2, LAST_PAUSE_S)

    def _follow(self) -> None:
        """One reading of all watched streams."""
        with self._lock:
            positions = {stream: tail.position for stream, tail in self._tails.items()}
        if not positions:
            self._changed.clear()
            self._changed.wait(1.0)
            return
        for name, answer in self._redis.xread(positions, count=AT_A_TIME, block=BLOCK_MS) or ():
            self._hand_out(name.decode(), answer)

    def _hand_out(self, stream: str, answer: Sequence[tuple[bytes, dict[bytes, bytes]]]) -> None:
        for entry_id, fields in answer:
            entry = decode(stream, entry_id, fields)
            with self._lock:
                tail = self._tails.get(stream)
                if tail is None:
                    return
                tail.position = entry_id.decode()
                watchers = list(tail.watchers)
            for watcher in watchers:
                if entry is not None:
                    watcher.put(entry)

    def _said(self, connected: bool, trouble: str = "") -> None:
        if connected != self.connected:
            log.warning("live reader: %s", "connected again" if connected else trouble)
        self.connected, self.trouble = connected, trouble


@lru_cache(maxsize=8)
def shared_reader(live_url: str) -> LiveReader:
    """The one reader of this process for that address: a hundred pages open one connection."""
    return LiveReader(live_url)


@contextmanager
def _service_errors(what: str) -> Iterator[None]:
    try:
        yield
    except (RedisError, OSError) as error:
        raise ServiceError(f"{what}: the live server does not answer: {error or type(error).__name__}") from error

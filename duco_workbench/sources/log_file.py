"""Log files as sources: imported with their own times, or played again as if they happened now."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..model import SECOND, FrameBatch, Record
from ..packing import Packer
from ..parsing.logs import Log, open_log
from ..ports import Delivery
from .own import record_of

SEAL = 10 * SECOND  # as an agent seals in normal mode: a log imported and a log played give the same messages


def content_epoch(path: Path, start: int | None, tz: str | None) -> int:
    """The epoch of an imported file's message ids: the same file, placed in time alike, gives the same ids."""
    digest = hashlib.blake2b(digest_size=6, person=b"duco-import")
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    digest.update(f"{start} {tz} {SEAL}".encode())
    return int.from_bytes(digest.digest(), "big")


class LogFileSource:
    """One file, once, with its original times; enqueued when it happened. Idempotent by content.

    Args:
        start: shifts the first frame to this time (microseconds), for logs that have no date.
        tz: IANA zone of formats that write local time.
    Raises: ConfigError for a file that cannot be read at all.
    """

    def __init__(
        self,
        path: Path,
        tenant: str,
        chassis_id: str,
        *,
        start: int | None = None,
        tz: str | None = None,
        on_progress: Callable[[float], None] = lambda share: None,
    ) -> None:
        self.log = open_log(path, tz=tz, start=start)
        self.frames = 0
        self._tenant, self._on_progress = tenant, on_progress
        self._packer = Packer(chassis_id, content_epoch(path, start, tz), seal=SEAL)

    async def open(self) -> None: ...

    async def deliveries(self) -> AsyncIterator[Delivery[Record]]:
        for chunk in self.log:
            self.frames += len(chunk)
            yield Delivery([record_of(e, self._tenant) for e in self._packer.add(chunk)])
            self._on_progress(self.log.progress())
        yield Delivery([record_of(e, self._tenant) for e in self._packer.flush()])
        self._on_progress(1.0)

    async def commit(self, delivery: Delivery[Any]) -> None: ...

    async def close(self) -> None: ...


class Player:
    """A log as a bus of a simulated machine: re-timed to begin at ``start``, and looped.

    Args:
        start: when its first frame happens (microseconds), or up to :data:`SEAL` before: its times move by a whole
            number of seals, so that it is cut into messages as an import cuts it.
        speed: 2.0 plays twice as fast.
        once: end with the log; otherwise it begins again one second after its last frame.
    """

    def __init__(
        self, path: Path, start: int, *, speed: float = 1.0, once: bool = False, tz: str | None = None
    ) -> None:
        self._path, self._tz = path, tz
        self._next, self._speed, self._once = start, speed, once
        self._chunks = self._play()
        self._left = FrameBatch.empty()

    def _play(self) -> Iterator[FrameBatch]:
        is_first = True
        while True:
            origin: int | None = None
            begin = self._next
            for chunk in self._open():
                chunk = chunk.sorted()
                if origin is None:
                    origin = int(chunk.ts[0])
                    begin -= (begin - origin) % SEAL if is_first else 0
                ts = begin + ((chunk.ts - origin) / self._speed).astype("int64")
                self._next = max(self._next, int(ts[-1]) + SECOND)
                yield FrameBatch(
                    ts, chunk.arbitration_id, chunk.dlc, chunk.flags, chunk.data, chunk.channel, chunk.channels
                )
            if self._once or origin is None:
                return
            is_first = False

    def _open(self) -> Log:
        """With its own times, or from 0 on when it has none or they need a zone that was not given."""
        try:
            return open_log(self._path, tz=self._tz)
        except ConfigError:
            return open_log(self._path, tz=self._tz, start=0)

    def frames(self, start: int, end: int) -> FrameBatch:
        """Frames before ``end`` that were not given yet."""
        parts = [self._left]
        while not len(parts[-1]) or int(parts[-1].ts[-1]) < end:
            chunk = next(self._chunks, None)
            if chunk is None:
                break
            parts.append(chunk)
        ready = FrameBatch.concat(parts)
        due = ready.ts < end
        self._left = ready[~due]
        return ready[due]

"""The queue's SQLite file: opened so that a commit survives a power cut, its errors sorted, set aside when it is bad.

The write-ahead log is long on purpose: pages that are written, sent and freed again within it reach the flash once.

On a disk that is full nothing can be forgotten either: to delete, SQLite writes. So a reserve as large as that log is
kept beside the file, and given up when the disk is full; from then on only what was freed in the file is filled again,
until the disk has room for the reserve. The file itself has a ceiling (``max_page_count``), below which there is always
room to delete: that needs no page that was not there.

Beside the file stand

- ``.epoch``: the epoch, and the highest number given, written after each commit but not synced: a file that knows of
  less was put back, or lost the end of its log,
- ``.damaged``: a file that is bad, until what can be read of it is in the new one; while it is there, the file holds
  nothing but copies out of it,
- ``.corrupt-…``: the latest of those, for a person to look at.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import zlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from duco_workbench.errors import ConfigError

PAGE = 4096
LOG_PAGES = (16 << 20) // PAGE  # of the write-ahead log before it is worked into the file; fewer on a small disk
TIDY_ABOVE = 32 << 20  # bytes of file that are worth giving back to the disk
KEPT_CORRUPT = 2  # damaged files kept to be looked at

_OF_THE_DISK = {
    sqlite3.SQLITE_FULL: "disk_full",
    sqlite3.SQLITE_IOERR: "disk_error",
    sqlite3.SQLITE_CANTOPEN: "disk_error",
    sqlite3.SQLITE_READONLY: "disk_error",
}


class QueueError(Exception):
    """Nothing was changed; ``reason``: ``queue_full`` | ``disk_full`` | ``disk_error``."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class QueueCorrupt(Exception):
    """The file is no sound database any more."""


class Storage:
    """One file, used by one process and one thread at a time.

    Args:
        max_bytes: what the file may grow to.
    """

    def __init__(self, path: Path, max_bytes: int) -> None:
        self.path, self._max_pages = path, max_bytes // PAGE
        self.damaged, self._noted = self._beside("damaged"), self._beside("epoch")
        self._reserve = self._beside("reserve")
        self._db: sqlite3.Connection | None = None
        self._log_pages = LOG_PAGES
        self._is_short = False  # the disk was full, and the reserve is given up

    def open(self) -> None:
        """Raises: ConfigError when another process has it; QueueError; QueueCorrupt."""
        with self.errors():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._finish_setting_aside()
            db = self._db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=2)
            db.execute(f"PRAGMA page_size = {PAGE}")
            db.execute("PRAGMA locking_mode = EXCLUSIVE")  # and no shared memory beside the file
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA secure_delete = OFF")  # else all that is deleted is written over
            self._log_pages = min(LOG_PAGES, self._room() // 4 // PAGE)
            db.execute(f"PRAGMA wal_autocheckpoint = {self._log_pages}")
            db.execute(f"PRAGMA journal_size_limit = {2 * self._log_pages * PAGE}")
            db.execute("PRAGMA cache_size = -2000")
            db.execute(f"PRAGMA max_page_count = {self._max_pages}")
        self._is_short = not self._take_reserve()

    def close(self) -> None:
        if self._db is not None:
            with contextlib.suppress(sqlite3.Error):
                self._db.close()
            self._db = None

    @property
    def is_open(self) -> bool:
        return self._db is not None

    def _beside(self, suffix: str) -> Path:
        return self.path.with_name(f"{self.path.name}.{suffix}")

    # --- a file that is bad

    def set_aside(self) -> None:
        """Close the file; it is the damaged one now. When there is one, this one held but copies, and goes.

        Raises: QueueError.
        """
        self.close()
        with self.errors():
            if self.damaged.exists():
                for suffix in ("", "-wal"):
                    Path(f"{self.path}{suffix}").unlink(missing_ok=True)
            elif self.path.exists():
                self.path.replace(self.damaged)
            self._finish_setting_aside()

    def _finish_setting_aside(self) -> None:
        """The log follows its file, also when that was all there was time for."""
        log, logs_place = Path(f"{self.path}-wal"), Path(f"{self.damaged}-wal")
        if self.damaged.exists() and not self.path.exists() and log.exists():
            log.replace(logs_place)

    def quarantine(self, mark: int) -> Path:
        """The damaged file has given what it had; where it is kept, in place of older ones."""
        aside = self._beside(f"corrupt-{mark}")
        with self.errors():
            known = {path.name.removesuffix("-wal") for path in self.path.parent.glob(f"{self.path.name}.corrupt-*")}
            by_age = sorted(known, key=lambda name: (len(name), name))
            for name in by_age[: max(len(by_age) - KEPT_CORRUPT + 1, 0)]:
                for suffix in ("", "-wal"):
                    self.path.with_name(name + suffix).unlink(missing_ok=True)
            log = Path(f"{self.damaged}-wal")
            if log.exists():
                log.replace(f"{aside}-wal")
            self.damaged.replace(aside)
        return aside

    def first_page(self) -> bytes:
        """Of this file, with all that was written, while it is new: all of it is copied.

        Not read from the file: to close it would end this process's lock on it, as POSIX has it.
        """
        with self.reading() as db:
            return db.serialize()[:PAGE]

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        if self._db is None:
            raise QueueError("disk_error", f"{self.path} is not open")
        with self.errors():
            yield self._db

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it is safe when this ends, or nothing was changed and it raises."""
        with self.reading() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    db.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """What SQLite and the disk say, as ours."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code == sqlite3.SQLITE_BUSY:
                raise ConfigError(f"{self.path}: another agent uses it; stop that one or give another file") from None
            if code == sqlite3.SQLITE_FULL:
                self._give_up_reserve()
            if code in _OF_THE_DISK:
                raise QueueError(_OF_THE_DISK[code], f"{self.path}: {error}") from None
            raise QueueCorrupt(str(error)) from None
        except (zlib.error, msgspec.MsgspecError) as error:
            raise QueueCorrupt(str(error)) from None
        except OSError as error:
            raise QueueError("disk_error", f"{error.filename}: {error.strerror}") from None

    # --- a full disk

    def has_room(self, size: int) -> bool:
        """Whether so many bytes can be stored, and all that is stored be deleted again afterwards."""
        if self._is_short:
            self._is_short = not self._take_reserve()
        if not self._is_short:
            return True
        with self.reading() as db:
            (free,) = db.execute("PRAGMA freelist_count").fetchone()
        return bool(free * PAGE > 2 * size)

    def _take_reserve(self) -> bool:
        wanted = self._log_pages * PAGE * 5 // 4
        with contextlib.suppress(OSError), self._reserve.open("ab") as file:
            missing = wanted - file.tell()
            if shutil.disk_usage(self.path.parent).free > missing:
                file.write(bytes(max(missing, 0)))
                return True
        self._reserve.unlink(missing_ok=True)
        return False

    def _give_up_reserve(self) -> None:
        """The write-ahead log goes into the file, which may grow by as much as that takes."""
        self._is_short = True
        self._reserve.unlink(missing_ok=True)
        if self._db is not None and not self._db.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _room(self) -> int:
        """Bytes the disk has for the file and what belongs to it."""
        ours = self.path.parent.glob(self.path.name + "*")
        return shutil.disk_usage(self.path.parent).free + sum(path.stat().st_size for path in ours)

    # --- what was given

    def begin_epoch(self, now: int, after: int = 0) -> int:
        """One higher than any given before, though the clock be wrong: the last one is kept beside the file.

        The highest number stays noted: who begins a file may have to do it again.
        """
        before, number = self.noted() or (0, 0)
        epoch = max(now, before + 1, after + 1)
        fresh = self._beside("new")
        with self.errors():
            with fresh.open("w") as file:
                file.write(_note(epoch, number))
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._noted)
        return epoch

    def noted(self) -> tuple[int, int] | None:
        """The epoch and the highest number given, zeros when there is no note; None when it is not as it was written.

        A note of the file's first version has the epoch alone.
        """
        if not self._noted.exists():
            return 0, 0
        with contextlib.suppress(OSError, ValueError):
            text = self._noted.read_bytes()[: len(_note(0, 0))].decode("ascii")
            if text.isdigit():
                return int(text), 0
            epoch, number = map(int, text.split()[:2])
            return (epoch, number) if text == _note(epoch, number) else None
        return None

    def note(self, epoch: int, number: int) -> None:
        """In place, not synced: it outlives the process, and need not outlive the system."""
        with contextlib.suppress(OSError), self._noted.open("r+b" if self._noted.exists() else "wb") as file:
            file.write(_note(epoch, number).encode())

    def tidy(self) -> None:
        """Give the disk back what the file had grown to; cheap only when next to nothing is left in it."""
        if self._db is None or self.path.stat().st_size < TIDY_ABOVE:
            return
        with contextlib.suppress(sqlite3.Error):  # it is tried again after the next message
            self._db.execute("VACUUM")
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _note(epoch: int, number: int) -> str:
    text = f"{epoch:020d} {number:020d}"
    return f"{text} {zlib.crc32(text.encode()):08x}\n"

"""The files themselves: which ones are logs, their bytes (unzipped), how far they are read, where they are damaged."""

from __future__ import annotations

import gzip
import os
import tempfile
import zlib
from collections.abc import Iterable
from datetime import UTC, datetime
from io import BufferedIOBase
from pathlib import Path
from typing import IO
from zoneinfo import ZoneInfo

from ...errors import ConfigError
from .times import wall_to_utc

MDF_SUFFIXES = (".mf4", ".mdf", ".dat")
# A .db may be any SQLite file: it is read when named, never picked from a folder.
FOLDER_SUFFIXES = (".asc", ".blf", ".csv", ".log", ".trc", *MDF_SUFFIXES)
CSV_HEADER = b"timestamp,arbitration_id"  # of python-can; other tables that lie in a folder are no logs


def log_suffix(path: Path) -> str:
    """Lower case, without ``.gz``: ``Drive.MF4.gz`` is ``.mf4``."""
    inner = path.with_suffix("") if is_zipped(path) else path
    return inner.suffix.lower()


def is_zipped(path: Path) -> bool:
    return path.suffix.lower() == ".gz"


def find_logs(paths: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """The files named, and the log files in and below the folders named (by suffix; hidden files are skipped).

    A folder's files come sorted by path. A file named twice comes once.

    Raises: ConfigError for a path that does not exist.
    """
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        if not path.exists():
            raise ConfigError(f"{path} does not exist; check the path.")
        found.update(dict.fromkeys(_logs_below(path) if path.is_dir() else [path]))
    return list(found)


def _logs_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and _is_log(path, folder))


def _is_log(path: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    if hidden or log_suffix(path) not in FOLDER_SUFFIXES:
        return False
    return log_suffix(path) != ".csv" or _starts_with(path, CSV_HEADER)


def _starts_with(path: Path, head: bytes) -> bool:
    try:
        with gzip.open(path) if is_zipped(path) else path.open("rb") as stream:
            return stream.read(len(head)) == head
    except (OSError, EOFError):
        return False


class Source:
    """One log file while it is read.

    Attributes:
        path: as given.
        zone: the time zone of local times, or None when unknown.
        has_start: the caller sets the first frame's time, so no zone is needed.
        placed_by: IANA name of the zone that local times in the file were placed by, or None when there were none.
        warnings: sentences that start with the file's name.
        byte, line: where the reader is in the unzipped bytes; 0 where it does not know.
        share: part of the file read (0..1) where bytes do not tell (set by the reader), else None.
    """

    def __init__(self, path: Path, zone: ZoneInfo | None = None, has_start: bool = False) -> None:
        self.path, self.zone, self.has_start = path, zone, has_start
        self.warnings: list[str] = []
        self.placed_by: str | None = None
        self.byte = self.line = 0
        self.share: float | None = None
        self._size = path.stat().st_size
        self._stream: BufferedIOBase | None = None
        self._unzipped: BufferedIOBase | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._read = 0

    def warn(self, text: str) -> None:
        self.warnings.append(f"{self.path.name}: {text}")

    @property
    def place(self) -> str:
        """``"byte 123 (line 9)"``, ``"byte 123"``, or nothing."""
        return f"byte {self.byte:,}{f' (line {self.line:,})' if self.line else ''}" if self.byte else ""

    def utc(self, wall: datetime) -> int:
        """Microseconds UTC of a local time in the file.

        Raises: ConfigError when the zone is needed and not known.
        """
        if self.zone is None and not self.has_start:
            raise ConfigError(
                f"{self.path.name} has local times only ({wall:%Y-%m-%d %H:%M:%S}); "
                "say where it was recorded with --tz, e.g. --tz Europe/Berlin or --tz UTC."
            )
        self.placed_by = self.zone.key if self.zone else None
        return wall_to_utc(wall, self.zone or UTC)

    def stream(self) -> BufferedIOBase:
        """The file's bytes, unzipped."""
        self._stream = self.path.open("rb")
        self._unzipped = gzip.GzipFile(fileobj=self._stream) if is_zipped(self.path) else self._stream
        return self._unzipped

    def folder(self) -> Path:
        """A folder for temporary files, gone when the log is closed."""
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="duco-log-", ignore_cleanup_errors=True)
        return Path(self._folder.name)

    def file(self) -> Path:
        """The file, or an unzipped copy: for readers that need to jump about in it."""
        if not is_zipped(self.path):
            return self.path
        copy = self.folder() / self.path.with_suffix("").name
        with copy.open("wb") as target:
            self._unzip(target)
        self.close_stream()
        return copy

    def _unzip(self, target: IO[bytes]) -> None:
        """All that can be unzipped: a cut .gz may hold frames all the same."""
        stream, done = self.stream(), 0
        try:
            while part := stream.read1(1 << 20):
                done += target.write(part)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            if not done:
                raise
            self.warn(f"damaged at byte {done:,}: unzipped up to there ({error})")

    def progress(self) -> float:
        """Part of the file's bytes that is read (0..1)."""
        if self.share is not None:
            return self.share
        if self._stream is not None and not self._stream.closed:
            self._read = self._stream.tell()
        return min(self._read / max(self._size, 1), 1.0)

    def finish(self) -> None:
        """Everything that can be read has been."""
        self.close()
        self.share = 1.0

    def close_stream(self) -> None:
        self.progress()
        for stream in (self._unzipped, self._stream):
            if stream is not None:
                stream.close()

    def close(self) -> None:
        self.close_stream()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

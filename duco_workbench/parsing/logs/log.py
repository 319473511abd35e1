"""One log file as a stream of frames: chunks in file order, what was wrong with it, how far it is read."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from ...errors import ConfigError
from ...model import FrameBatch
from .files import MDF_SUFFIXES, Source, log_suffix
from .times import YEAR_1990, zone_of

Reader = Callable[[Source], Iterator[FrameBatch]]


def open_log(path: str | os.PathLike[str], *, tz: str | None = None, start: int | None = None) -> Log:
    """Open a CAN log and read its first chunk, so that what a person must mend is said before anything else is done.

    The format follows the suffix: ``.log`` (candump), ``.mf4 .mdf .dat``, ``.asc .blf .trc .csv .db``, and what
    python-can's plugins add; any of them with ``.gz`` behind it.

    Args:
        tz: IANA name of the zone of local times in the file; needed when a format has nothing else (.asc, .trc).
        start: time of the first frame, microseconds UTC; all frames are shifted by as much.

    Raises: ConfigError when the file is missing, unknown, empty or unreadable from its beginning on, when its times
        are local and ``tz`` is not given, or when they are relative and ``start`` is not given.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(
            f"{path} is a folder; name the log files in it." if path.is_dir() else f"{path} does not exist."
        )
    if not os.access(path, os.R_OK):
        raise ConfigError(f"{path} cannot be opened for reading; check its permissions.")
    return Log(Source(path, zone_of(tz), start is not None), _reader_of(path), start)


def read_log(path: str | os.PathLike[str], tz: str | None = None, start: int | None = None) -> FrameBatch:
    """All frames of a log, in file order. Arguments and errors as :func:`open_log`."""
    with open_log(path, tz=tz, start=start) as log:
        return FrameBatch.concat(list(log))


def _reader_of(path: Path) -> Reader:
    """The format's reader; imported here, because numba, python-can and asammdf take seconds and memory."""
    suffix = log_suffix(path)
    if suffix == ".log":
        from .candump import read_candump as reader
    elif suffix == ".asc":
        from .asc import read_asc as reader
    elif suffix == ".blf":
        from .blf import read_blf as reader
    elif suffix == ".trc":
        from .trc import read_trc as reader
    elif suffix == ".csv":
        from .csv_table import read_csv as reader
    elif suffix in MDF_SUFFIXES:
        from .mf4 import read_mf4 as reader
    else:
        from .messages import check_suffix
        from .messages import read_messages as reader

        check_suffix(path, suffix)
    return reader


class Log:
    """An open log; iterate it once for batches of at most 65,536 frames.

    Attributes:
        path: of the file.
        warnings: one sentence for each thing that was wrong; complete when the iteration has ended.
        frames: number of frames read so far.
        span: (earliest, latest) time of the frames read so far, microseconds UTC, or None.
        zone: IANA name of the zone that the file's local times were placed by; None when it has none.
    """

    def __init__(self, source: Source, reader: Reader, start: int | None = None) -> None:
        self.path = source.path
        self.warnings = source.warnings
        self.frames = 0
        self.span: tuple[int, int] | None = None
        self._source, self._start = source, start
        self._batches = self._read(reader)
        try:
            self._first: FrameBatch | None = next(self._batches)
        except BaseException:
            self.close()
            raise

    @property
    def zone(self) -> str | None:
        return self._source.placed_by

    def progress(self) -> float:
        """Part of the file's bytes that is read (0..1)."""
        return self._source.progress()

    def __iter__(self) -> Iterator[FrameBatch]:
        return self

    def __next__(self) -> FrameBatch:
        batch, self._first = self._first, None
        return self._count(next(self._batches) if batch is None else batch)

    def close(self) -> None:
        self._batches.close()
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _count(self, batch: FrameBatch) -> FrameBatch:
        earliest, latest = int(batch.ts.min()), int(batch.ts.max())
        if self.span:
            earliest, latest = min(earliest, self.span[0]), max(latest, self.span[1])
        self.span, self.frames = (earliest, latest), self.frames + len(batch)
        return batch

    def _read(self, reader: Reader) -> Generator[FrameBatch, None, None]:
        shift: int | None = None
        for batch in self._until_damage(reader):
            if shift is None:
                shift = self._shift(int(batch.ts[0]))
            yield dataclasses.replace(batch, ts=batch.ts + shift) if shift else batch
        self._source.finish()

    def _shift(self, first: int) -> int:
        if self._start is not None:
            return self._start - first
        if first < YEAR_1990:
            raise ConfigError(
                f"{self.path.name} has times relative to an unknown start (the first is {first / 1e6:.6f} s); "
                "say when it began with --start, e.g. --start 2024-05-31T08:00:00Z."
            )
        return 0

    def _until_damage(self, reader: Reader) -> Iterator[FrameBatch]:
        """What can be read. A reader of a damaged file may raise anything: past the first frame that is a warning."""
        seen = 0
        try:
            for batch in reader(self._source):
                if len(batch):
                    seen += len(batch)
                    yield batch
        except (ConfigError, MemoryError):
            raise
        except Exception as error:
            if not seen:
                raise ConfigError(f"{self.path} {self._nothing(error)}") from error
            place = self._source.place or f"frame {seen + 1:,}"
            self._source.warn(f"damaged at {place}: read up to there ({_reason(error)})")
        else:
            if not seen:
                raise ConfigError(f"{self.path} {self._nothing(None)}")

    def _nothing(self, error: Exception | None) -> str:
        if not self.path.stat().st_size:
            return "is empty."
        why = [_reason(error)] if error else [text.partition(": ")[2] for text in self.warnings]
        return f"holds no CAN frame that can be read{f' ({why[0]})' if why else ''}; is it a CAN log of that format?"


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__

"""Several logs read as one recording, in order of their first frame."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import ConfigError
from ..model import FrameBatch
from ..parsing.logs import Log, find_logs, open_log


class Recording:
    """The frames of all logs, a chunk at a time: one file is open at once, whatever its length.

    Attributes:
        paths: the logs in order of their first frame.
        warnings: a sentence for each thing that was wrong; complete when the iteration has ended.
        zones: the zone that local times were placed by, of each log that has such; complete as ``warnings`` is.

    Args:
        named: files, and folders of them.
        tz, start: as :func:`~duco_workbench.parsing.open_log` takes them; ``start`` for a single log only.

    Raises: ConfigError when a file is missing or cannot be read from its beginning on.
    """

    def __init__(self, named: Sequence[str | os.PathLike[str]], tz: str | None = None, start: int | None = None):
        paths = find_logs(named)
        if not paths:
            raise ConfigError(f"no CAN log in {', '.join(map(str, named))}; name the files")
        if start is not None and len(paths) > 1:
            raise ConfigError(f"--start says when one log begins, and there are {len(paths)}; decode them one by one")
        self._tz, self._start = tz, start
        self.paths = sorted(paths, key=self._first) if len(paths) > 1 else paths
        self.warnings: list[str] = []
        self.zones: dict[str, str] = {}
        self._sizes = [path.stat().st_size for path in self.paths]
        self._before, self._log = 0, self._open(self.paths[0])  # what a person must mend is said at once

    def __iter__(self) -> Iterator[tuple[Path, FrameBatch]]:
        """Chunks of at most 65,536 frames, each with the log it is from; once."""
        for number, path in enumerate(self.paths):
            if number:
                self._log = self._open(path)
            with self._log:
                for batch in self._log:
                    yield path, batch
            self.warnings += self._log.warnings
            if self._log.zone:
                self.zones[str(path)] = self._log.zone
            self._before += self._sizes[number]

    def progress(self) -> float:
        """Part of all bytes that is read (0..1)."""
        current = self._log.progress() * self._log.path.stat().st_size if self._before < sum(self._sizes) else 0
        return min((self._before + current) / max(sum(self._sizes), 1), 1.0)

    def close(self) -> None:
        self._log.close()

    def _open(self, path: Path) -> Log:
        return open_log(path, tz=self._tz, start=self._start)

    def _first(self, path: Path) -> int:
        with self._open(path) as log:
            return int(next(log).ts.min())

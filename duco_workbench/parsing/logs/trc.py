"""PEAK's traces (``.trc``, versions 1.0 to 2.1), streamed: their header, which says version, columns and start.

The start is local time, so a zone is needed; version 1.0 has none that can be read.
"""

from __future__ import annotations

from collections.abc import Iterator

from ...errors import ConfigError
from ...model import FrameBatch
from .files import Source
from .rows import numbered
from .scan import START
from .text import Lines, read_lines
from .times import peak_start
from .trc_kernel import MOST_COLUMNS, ORDER, parse_trc

# Columns by version; from 2.0 on the header gives them, and these are those of the specification's examples.
VERSIONS = {
    "1.0": "N,O,I,L,D",
    "1.1": "N,O,d,I,L,D",
    "1.2": "N,O,B,d,I,L,D",
    "1.3": "N,O,B,d,I,R,L,D",
    "2.0": "N,O,T,I,d,l,D",
    "2.1": "N,O,T,B,I,d,R,L,D",
}


def read_trc(source: Source) -> Iterator[FrameBatch]:
    """Batches of up to 65,536 frames. Lines that are none are counted, skipped and said once.

    Raises: ConfigError when the version or its columns are unknown, or times are local and the zone is not known.
    """
    return read_lines(_Parser(source))


class _Parser(Lines):
    """Buses are numbered from 1 on, and 1 is ``can1``, as PCAN-View shows them."""

    what = ".trc line"

    def __init__(self, source: Source) -> None:
        super().__init__(source, parse_trc, numbered(0))
        self._set_columns(VERSIONS["1.0"])

    def aside(self, line: str) -> bool:
        name, _, value = line.strip().partition("=")
        if name == ";$FILEVERSION":
            self._set_version(value.strip())
        elif name == ";$COLUMNS":
            self._set_columns(value)
        elif name == ";$STARTTIME" and (wall := peak_start(line)):
            self.state[START] = self.source.utc(wall)
        return True

    def _set_version(self, version: str) -> None:
        if version not in VERSIONS:
            raise ConfigError(
                f"{self.source.path.name} is a trace of version {version[:20]!r}; known are {', '.join(VERSIONS)}: "
                "save it as one of them."
            )
        self._set_columns(VERSIONS[version])

    def _set_columns(self, text: str) -> None:
        letters = [name.strip() for name in text.split(",")]
        missing = [name for name in "OID" if name not in letters]
        if missing or len(letters) >= MOST_COLUMNS or not all(len(name) == 1 for name in letters):
            raise ConfigError(
                f"{self.source.path.name} has columns {text.strip()[:60]!r}; an offset (O), an id (I) and data (D) "
                "are needed: save it with them."
            )
        self.state[ORDER : ORDER + MOST_COLUMNS] = [*map(ord, letters)] + [0] * (MOST_COLUMNS - len(letters))

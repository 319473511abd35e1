"""Vector's ASCII logs (``.asc``), streamed: their header and trigger blocks, which say base and date.

A date is local time, so a zone is needed. Times in the lines count from the date before them, or (``timestamps
relative``) from the event before, of whatever kind.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ...model import FrameBatch
from .asc_kernel import BASE, IS_RELATIVE, LATEST, parse_asc
from .files import Source
from .rows import numbered
from .scan import START
from .text import Lines, read_lines
from .times import vector_date

_DATE = re.compile(r"(date|begin\s+triggerblock)\s+\S+\s", re.IGNORECASE)
_BASE = re.compile(r"base\s+(hex|dec)(\s+timestamps\s+relative)?", re.IGNORECASE)
_KNOWN = re.compile(r"(date|begin|end|no|internal|previous|measurement|log)\b", re.IGNORECASE)


def read_asc(source: Source) -> Iterator[FrameBatch]:
    """Batches of up to 65,536 frames. Lines that are none are counted, skipped and said once.

    Raises: ConfigError when times are local and the zone is not known.
    """
    return read_lines(_Parser(source))


class _Parser(Lines):
    """Buses are numbered from 1 on: 1 is ``can0``."""

    what = ".asc line"

    def __init__(self, source: Source) -> None:
        super().__init__(source, parse_asc, numbered(1))
        self.state[BASE] = 16

    def aside(self, line: str) -> bool:
        line = line.strip()
        if base := _BASE.match(line):
            self._set_base(*base.groups())
        elif _DATE.match(line) and (wall := vector_date(line)):
            self.state[START], self.state[LATEST] = self.source.utc(wall), 0
        return bool(base or _KNOWN.match(line))

    def _set_base(self, base: str, relative: str | None) -> None:
        self.state[BASE] = 16 if base.lower() == "hex" else 10
        self.state[IS_RELATIVE] = relative is not None

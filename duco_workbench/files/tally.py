"""What is counted while a recording is decoded; :mod:`.summary` makes sentences and shares of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..columns import Samples, Text
from ..j1939.transport import OUTCOMES
from ..jit import kernel
from ..model import STATUS_NAMES, Dtc, FrameBatch, Status
from ..parsing import Decoded
from ..survey.census import Bus, Census, Ids


@dataclass(slots=True)
class SeriesCount:
    """Values of one series by status, and the times of the first and the last, microseconds UTC."""

    values: int = 0
    not_available: int = 0
    error: int = 0
    out_of_range: int = 0
    first: int = 0
    last: int = 0


@dataclass(slots=True)
class CodeCount:
    """A trouble code: when it was first and last reported, how often, and what was said last."""

    first: Dtc
    last: Dtc
    count: int = 0


@dataclass(frozen=True, slots=True)
class LogCount:
    """Of one log: its buses and ids."""

    path: Path
    buses: list[Bus]
    ids: Ids


@dataclass(slots=True)
class Tally:
    """Grows with the ids, series and codes there are, not with the frames."""

    logs: list[LogCount] = field(default_factory=list)
    series: dict[tuple[str, str], SeriesCount] = field(default_factory=dict)
    codes: dict[tuple[str, int, int], CodeCount] = field(default_factory=dict)
    texts: dict[tuple[str, str, str], int] = field(default_factory=dict)  # (signal, source, text) -> first seen
    transport: Counter[str] = field(default_factory=Counter)
    _path: Path | None = None
    _census: Census = field(default_factory=Census)

    def add_frames(self, path: Path, frames: FrameBatch) -> None:
        """Frames as they are read; those of one log follow each other."""
        if path != self._path:
            self.end_log()
            self._path, self._census = path, Census()
        self._census.add(frames)

    def end_log(self) -> None:
        """No more frames of this log."""
        if self._path is not None:
            # Payloads are not needed here, and would be most of what many logs leave behind.
            self.logs.append(LogCount(self._path, self._census.buses, self._census.ids().without_payloads()))
            self._path = None

    def add_decoded(self, part: Decoded) -> None:
        for dtc in part.dtcs:
            seen = self.codes.setdefault((dtc.source, dtc.spn, dtc.fmi), CodeCount(dtc, dtc))
            seen.last, seen.count = dtc, seen.count + 1
        self.transport.update({name: part.counts[name] for name in OUTCOMES})

    def add_text(self, text: Text) -> None:
        self.texts.setdefault((text.signal, text.source, text.text), text.ts)

    def add_samples(self, samples: Samples) -> None:
        """Rows in order of series and time, as the decoder gives them."""
        runs, counted = samples.runs, np.zeros((len(samples.signals), len(STATUS_NAMES)), np.int64)
        _count(runs.starts, samples.status, counted)
        columns = (runs.times[runs.at], runs.times[runs.at + runs.counts - 1], counted)
        of_series = zip(samples.signals, samples.sources, *(column.tolist() for column in columns), strict=True)
        for signal, source, first, last, statuses in of_series:
            one = self.series.setdefault((signal, source), SeriesCount(first=first))
            one.values, one.last = one.values + sum(statuses), last
            one.not_available += statuses[Status.NOT_AVAILABLE]
            one.error += statuses[Status.ERROR]
            one.out_of_range += statuses[Status.OUT_OF_RANGE]


@kernel
def _count(starts: Any, status: Any, counted: Any) -> None:
    """Rows of each status, series by series."""
    for number in range(len(starts) - 1):
        for row in range(starts[number], starts[number + 1]):
            counted[number, status[row]] += 1

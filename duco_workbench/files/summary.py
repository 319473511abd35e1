"""What became of a recording, in numbers: for the page and, as JSON, for programs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..j1939 import transport_rows
from ..model import EXTENDED
from ..survey.bindings import Databases, shadowed, short_names
from ..survey.census import hex_of
from ..survey.explain import UNKNOWN, Index, Share, share
from ..survey.reading import Recording
from .selection import Selection
from .tally import LogCount, Tally

MOST_UNKNOWN = 10  # ids that are listed


@dataclass(frozen=True, slots=True)
class LogShare:
    """How much of the data frames of one log, on one bus, each of the bus' databases explains."""

    log: str
    bus: str
    frames: int
    databases: list[Share]


@dataclass(frozen=True, slots=True)
class UnknownId:
    bus: str
    id: str  # hex
    is_extended: bool
    frames: int


@dataclass(frozen=True, slots=True)
class MessageLine:
    """One message of one bus; ``rate`` in Hz over all its senders, ``not_available`` a share (0..1) of the values."""

    message: str
    bus: str
    senders: int
    frames: int
    rate: float
    values: int
    not_available: float


@dataclass(frozen=True, slots=True)
class CodeLine:
    """A trouble code; times in microseconds UTC."""

    source: str
    spn: int
    fmi: int
    count: int
    first: int
    last: int
    lamps: str


@dataclass(frozen=True, slots=True)
class TextLine:
    signal: str
    source: str
    text: str
    first: int


@dataclass(frozen=True, slots=True)
class Summary:
    """``decoded``, ``transport``, ``unknown`` and ``skipped`` (remote and error frames) add up to ``frames``.

    Attributes:
        transport: frames of the transport protocol that no database has a message for; what they carry is decoded.
        values, not_available, error, out_of_range: rows, and how many of them have that status.
        unknown: of ``unknown_ids`` different ids, the most frequent of which are ``most_unknown``.
        transport_sessions: how they ended (:data:`~duco_workbench.j1939.transport.OUTCOMES`).
        skipped_parts: (where, why) of what a database has that cannot be used.
        first, last: of all frames, microseconds UTC.
        output: the file or folder written, or "".
    """

    frames: int
    decoded: int
    transport: int
    unknown: int
    skipped: int
    values: int
    not_available: int
    error: int
    out_of_range: int
    unknown_ids: int
    most_unknown: list[UnknownId]
    logs: list[LogShare]
    messages: list[MessageLine]
    dtcs: list[CodeLine]
    texts: list[TextLine]
    transport_sessions: dict[str, int]
    warnings: list[str]
    zones: dict[str, str]  # of each log with local times, the zone they were placed by
    skipped_parts: list[tuple[str, str]]
    first: int
    last: int
    seconds: float
    output: str = ""


@dataclass(slots=True)
class _Id:
    """One id of one bus over all logs."""

    frames: int = 0
    rate: float = 0.0


class Summing:
    """Makes the summary of a tally.

    Args:
        selection: whether a message is listed that has no selected signal.
    """

    def __init__(self, tally: Tally, databases: Databases, selection: Selection) -> None:
        self._tally, self._databases, self._selection = tally, databases, selection
        self._files = {name: Index(database) for name, database in databases.files.items()}
        self._merged: dict[tuple[str, ...], Index] = {}
        self._seen: defaultdict[tuple[str, int], _Id] = defaultdict(_Id)
        self._unlisted = 0
        self._names = short_names(log.path for log in tally.logs)
        for log in tally.logs:
            self._add(log)

    def summary(self, recording: Recording, seconds: float, output: str) -> Summary:
        buses = [bus for log in self._tally.logs for bus in log.buses]
        frames, skipped = sum(b.frames for b in buses), sum(b.errors + b.remotes for b in buses)
        unknown = self._unknown()
        transport = {key for key in unknown if self._is_transport(*key)}
        in_transport = sum(unknown[key] for key in transport)
        unexplained = {key: count for key, count in unknown.items() if key not in transport}
        not_known = sum(unexplained.values()) + self._unlisted
        series = self._tally.series.values()
        return Summary(
            frames=frames,
            decoded=frames - skipped - in_transport - not_known,
            transport=in_transport,
            unknown=not_known,
            skipped=skipped,
            values=sum(s.values for s in series),
            not_available=sum(s.not_available for s in series),
            error=sum(s.error for s in series),
            out_of_range=sum(s.out_of_range for s in series),
            unknown_ids=len(unexplained),
            most_unknown=_most(unexplained),
            logs=[line for log in self._tally.logs for line in self._shares(log)],
            messages=self._messages(),
            dtcs=self._codes(),
            texts=[TextLine(*key, first) for key, first in self._tally.texts.items()],
            transport_sessions={name: n for name, n in self._tally.transport.items() if n},
            warnings=list(recording.warnings),
            zones=dict(recording.zones),
            skipped_parts=self._skipped_parts(),
            first=min((b.first for b in buses if b.frames), default=0),
            last=max((b.last for b in buses if b.frames), default=0),
            seconds=seconds,
            output=output,
        )

    def _add(self, log: LogCount) -> None:
        ids = log.ids
        self._unlisted += sum(bus.unlisted for bus in log.buses)
        spans = np.maximum(ids.last - ids.first, 1) / 1e6
        rates = np.where(ids.count > 1, (ids.count - 1) / spans, 0.0)
        columns = (ids.bus, ids.arbitration_id, ids.count, rates)
        for bus, number, count, rate in zip(*(column.tolist() for column in columns), strict=True):
            seen = self._seen[log.buses[bus].name, number]
            seen.frames, seen.rate = seen.frames + count, max(seen.rate, rate)

    def _index(self, bus: str) -> Index:
        names = self._databases.of(bus)
        if names not in self._merged:
            self._merged[names] = Index(self._databases.merged(names))
        return self._merged[names]

    def _unknown(self) -> dict[tuple[str, int], int]:
        return {
            (bus, number): seen.frames
            for (bus, number), seen in self._seen.items()
            if self._index(bus).find(number)[1] == UNKNOWN
        }

    def _is_transport(self, bus: str, number: int) -> bool:
        """As the decoder has it: only where some message is J1939's."""
        return self._index(bus).has_j1939 and bool(len(transport_rows(np.array([number], np.uint32))))

    def _shares(self, log: LogCount) -> Iterator[LogShare]:
        for number, bus in enumerate(log.buses):
            ids = log.ids[log.ids.bus == number]
            shares = []
            for name in self._databases.of(bus.name):
                shares.append(share(name, self._files[name].how(ids.arbitration_id), ids.count))
            yield LogShare(self._names[log.path], bus.name, bus.frames, shares)

    def _messages(self) -> list[MessageLine]:
        """Messages with frames or values, in order of bus and name."""
        frames: defaultdict[tuple[str, str], list[_Id]] = defaultdict(list)
        for (bus, number), seen in self._seen.items():
            message, _ = self._index(bus).find(number)
            if message and any(self._selection.has(f"{message.name}.{s.name}") for s in message.signals):
                frames[bus, message.name].append(seen)
        values: defaultdict[tuple[str, str], list[tuple[str, int, int, float]]] = defaultdict(list)
        for (signal, source), s in self._tally.series.items():
            rate = (s.values - 1) / max((s.last - s.first) / 1e6, 1e-6) if s.values > 1 else 0.0
            key = (source.partition(":")[0], signal.partition(".")[0])
            values[key].append((source, s.values, s.not_available, rate))
        return [_line(key, frames[key], values[key]) for key in sorted({*frames, *values})]

    def _codes(self) -> list[CodeLine]:
        return [
            CodeLine(source, spn, fmi, code.count, code.first.ts, code.last.ts, code.last.lamps)
            for (source, spn, fmi), code in sorted(self._tally.codes.items())
        ]

    def _skipped_parts(self) -> list[tuple[str, str]]:
        parts = [note for database in self._databases.files.values() for note in database.skipped]
        sets = {self._databases.of(bus) for bus, _ in self._seen}
        return list(dict.fromkeys([*parts, *(note for names in sets for note in shadowed(self._databases, names))]))


def _line(key: tuple[str, str], ids: Sequence[_Id], series: Sequence[tuple[str, int, int, float]]) -> MessageLine:
    """A message that comes by the transport protocol has no id of its own: its values say how often."""
    best: dict[str, tuple[int, float]] = {}
    for source, count, _, rate in series:
        best[source] = max(best.get(source, (0, 0.0)), (count, rate))
    values = sum(count for _, count, _, _ in series)
    return MessageLine(
        message=key[1],
        bus=key[0],
        senders=max(len(best), len(ids)),
        frames=sum(seen.frames for seen in ids) or sum(count for count, _ in best.values()),
        rate=sum(seen.rate for seen in ids) or sum(rate for _, rate in best.values()),
        values=values,
        not_available=sum(missing for _, _, missing, _ in series) / max(values, 1),
    )


def _most(unknown: dict[tuple[str, int], int]) -> list[UnknownId]:
    most = sorted(unknown.items(), key=lambda item: (-item[1], item[0]))[:MOST_UNKNOWN]
    return [UnknownId(bus, hex_of(number), bool(number & EXTENDED), count) for (bus, number), count in most]

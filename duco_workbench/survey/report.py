"""The survey of a recording, put together: for the page and, as JSON, for programs."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from .. import j1939
from ..model import EXTENDED
from .bindings import Databases
from .census import Bus, Census, Ids, hex_of
from .explain import Index, Proposal, Share, indexes, propose, share
from .guesses import checksums, counters
from .reading import Recording
from .traffic import Traffic

FD_LENGTHS = (*range(9), 12, 16, 20, 24, 32, 48)


@dataclass(frozen=True, slots=True)
class IdLine:
    """One id of one bus.

    Attributes:
        id: hex, three digits or eight.
        name: of its message in the databases given, or "".
        period_ms, jitter_ms: median interval, and half the spread of the middle 80 %; None when seen once.
        moving: bits that ever changed, a group of eight a byte, most significant first; "x" moves, "." does not.
        pgn, priority, source, destination: of extended ids, read as J1939; destination None for a broadcast group.
    """

    bus: str
    id: str
    is_extended: bool
    name: str
    frames: int
    period_ms: float | None
    jitter_ms: float | None
    lengths: list[int]
    moving: str
    counters: list[str]
    checksums: list[str]
    pgn: int | None = None
    priority: int | None = None
    source: int | None = None
    destination: int | None = None


@dataclass(frozen=True, slots=True)
class SenderLine:
    """One J1939 sender; ``name`` is the NAME it claimed (16 hex digits), and what is read from it, or None."""

    bus: str
    address: int
    frames: int
    ids: int
    name: str | None = None
    manufacturer: int | None = None
    function: int | None = None


@dataclass(frozen=True, slots=True)
class LongLine:
    """Messages by the transport protocol; ``lengths`` the shortest and the longest, bytes."""

    bus: str
    pgn: int
    source: int
    destination: int
    count: int
    lengths: tuple[int, int]


@dataclass(frozen=True, slots=True)
class CodeLine:
    source: str
    spn: int
    fmi: int
    reports: int
    first: int
    last: int
    lamps: str


@dataclass(frozen=True, slots=True)
class BusShares:
    """What each database explains of the data frames of a bus, the best first."""

    bus: str
    databases: list[Share]


@dataclass(frozen=True, slots=True)
class Survey:
    """All that was found; times in microseconds UTC. ``options`` is what the proposals are for ``duco decode``."""

    logs: list[str]
    buses: list[Bus]
    ids: list[IdLine]
    senders: list[SenderLine]
    sessions: dict[str, int]
    long_messages: list[LongLine]
    dtcs: list[CodeLine]
    shares: list[BusShares]
    proposals: list[Proposal]
    options: list[str]
    warnings: list[str]
    zones: dict[str, str]  # of each log with local times, the zone they were placed by
    seconds: float


def survey_recording(
    recording: Recording,
    databases: Databases,
    on_progress: Callable[[float, int], None] = lambda share, frames: None,
) -> Survey:
    """Read all of ``recording``, in memory that does not grow with it.

    Args:
        databases: candidates; one that is bound to a bus is a candidate for that bus only.
        on_progress: is told the share of bytes read (0..1) and the frames so far, once a chunk.
    """
    begin, census, traffic = time.perf_counter(), Census(), Traffic()
    for _, batch in recording:
        census.add(batch)
        traffic.add(batch)
        on_progress(recording.progress(), census.frames)
    traffic.end()
    return _Findings(census, traffic, databases).survey(recording, time.perf_counter() - begin)


class _Findings:
    def __init__(self, census: Census, traffic: Traffic, databases: Databases) -> None:
        self.buses, self.ids, self.traffic = census.buses, census.ids(), traffic
        self.databases, self.indexes = databases, indexes(databases.files)
        # numbers of the buses that have frames
        self.used = [number for number, bus in enumerate(self.buses) if bus.frames]

    def survey(self, recording: Recording, seconds: float) -> Survey:
        shares, proposals = [], []
        for number in self.used:
            of_bus, proposal = self.explained(number)
            shares.append(of_bus)
            proposals.append(proposal)
        best = {p.bus: [self.indexes[name] for name, _ in p.databases] for p in proposals}
        return Survey(
            logs=[str(path) for path in recording.paths],
            buses=[self.buses[number] for number in self.used],
            ids=list(self.lines(best)),
            senders=self.senders(),
            sessions=dict(self.traffic.outcomes),
            long_messages=[
                LongLine(*key, seen.count, (seen.shortest, seen.longest))
                for key, seen in sorted(self.traffic.long.items())
            ],
            dtcs=[
                CodeLine(*key, code.reports, code.first, code.last, code.lamps)
                for key, code in sorted(self.traffic.codes.items())
            ],
            shares=shares,
            proposals=proposals,
            options=[f"--dbc {p.bus}={self.databases.paths[name]}" for p in proposals for name, _ in p.databases],
            warnings=recording.warnings,
            zones=recording.zones,
            seconds=seconds,
        )

    def explained(self, number: int) -> tuple[BusShares, Proposal]:
        """The shares of one bus' candidates, and which of them it should be given."""
        bus, ids = self.buses[number], self.ids[self.ids.bus == number]
        how = {name: self.indexes[name].how(ids.arbitration_id) for name in self.databases.of(bus.name)}
        sizes = {name: len(self.databases.files[name].messages) for name in how}
        shares = sorted((share(name, found, ids.count) for name, found in how.items()), key=lambda s: -s.total)
        return BusShares(bus.name, shares), propose(bus.name, how, ids.count, sizes)

    def lines(self, best: dict[str, list[Index]]) -> Iterator[IdLine]:
        for row in range(len(self.ids)):
            bus = self.buses[int(self.ids.bus[row])].name
            number = int(self.ids.arbitration_id[row])
            found = (index.find(number)[0] for index in best[bus])
            yield _line(self.ids, row, bus, number, next((m.name for m in found if m), ""))

    def senders(self) -> list[SenderLine]:
        """Of the buses' extended ids; on a bus that is not J1939 they mean nothing."""
        frames: defaultdict[tuple[str, int], list[int]] = defaultdict(list)
        extended = self.ids[self.ids.arbitration_id & np.uint32(EXTENDED) != 0]
        columns = (extended.bus, j1939.source_address(extended.arbitration_id), extended.count)
        for bus, address, count in zip(*(column.tolist() for column in columns), strict=True):
            frames[self.buses[bus].name, address].append(count)
        lines = []
        for (bus, address), counts in sorted(frames.items()):
            name = self.traffic.names.get((bus, address))
            claimed = (str(name), name.manufacturer_code, name.function) if name else ()
            lines.append(SenderLine(bus, address, sum(counts), len(counts), *claimed))
        return lines


def _line(ids: Ids, row: int, bus: str, number: int, name: str) -> IdLine:
    seen_again = ids.period[row] >= 0
    extended = bool(number & EXTENDED)
    lengths = [n for n in FD_LENGTHS if int(ids.lengths[row]) >> n & 1] + [64] * (int(ids.lengths[row]) >> 63)
    return IdLine(
        bus=bus,
        id=hex_of(number),
        is_extended=extended,
        name=name,
        frames=int(ids.count[row]),
        period_ms=int(ids.period[row]) / 1000 if seen_again else None,
        jitter_ms=int(ids.jitter[row]) / 1000 if seen_again else None,
        lengths=lengths,
        moving=moving_bits(ids, row, max(lengths)),
        counters=counters(ids, row),
        checksums=checksums(ids, row),
        **(_j1939(number) if extended else {}),
    )


def _j1939(number: int) -> dict[str, int | None]:
    is_addressed = (number >> 16) & 0xFF < 240
    return {
        "pgn": j1939.pgn_of(number),
        "priority": number >> 26 & 7,
        "source": number & 0xFF,
        "destination": number >> 8 & 0xFF if is_addressed else None,
    }


def moving_bits(ids: Ids, row: int, length: int) -> str:
    """``"........ xxxxxxxx"``: bytes as they are sent."""
    moved = ids.moved[row].view(np.uint8)[:length]
    bits = np.unpackbits(moved).reshape(-1, 8)
    return " ".join("".join("x" if bit else "." for bit in byte) for byte in bits.tolist())

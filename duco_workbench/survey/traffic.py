"""What J1939 nodes say of themselves: address claims, long messages, active trouble codes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from ..j1939 import DM1
from ..j1939.address_claims import Name, claims
from ..j1939.dm1 import dtcs_of
from ..j1939.transport import Sessions
from ..model import FrameBatch


@dataclass(slots=True)
class LongMessages:
    """Messages of one sender that came by the transport protocol; lengths in bytes."""

    count: int = 0
    shortest: int = 1 << 16
    longest: int = 0


@dataclass(slots=True)
class Code:
    """A trouble code: reports, and times of the first and the last, microseconds UTC."""

    first: int
    last: int = 0
    reports: int = 0
    lamps: str = ""


@dataclass(slots=True)
class Traffic:
    """Add the batches of a recording, then say that it has ended; ``outcomes`` is how its transport sessions did."""

    outcomes: Counter[str] = field(default_factory=Counter)
    long: dict[tuple[str, int, int, int], LongMessages] = field(default_factory=dict)  # bus, PGN, sender, destination
    codes: dict[tuple[str, int, int], Code] = field(default_factory=dict)  # source, SPN, FMI
    names: dict[tuple[str, int], Name] = field(default_factory=dict)  # bus, address: who claimed it last
    _sessions: Sessions = field(default_factory=Sessions)

    def add(self, frames: FrameBatch) -> None:
        messages = [message for _, message in self._sessions.read(frames)]
        for m in messages:
            key = (frames.channels[m.channel], m.pgn, m.source, m.destination)
            seen = self.long.setdefault(key, LongMessages())
            seen.count += 1
            seen.shortest, seen.longest = min(seen.shortest, len(m.data)), max(seen.longest, len(m.data))
        for dtc in dtcs_of(frames, messages, (DM1,)):
            code = self.codes.setdefault((dtc.source, dtc.spn, dtc.fmi), Code(dtc.ts))
            code.last, code.reports, code.lamps = dtc.ts, code.reports + 1, dtc.lamps
        for claim in claims(frames)[0]:
            self.names[claim.bus, claim.address] = claim.name

    def end(self) -> None:
        self._sessions.give_up()
        self.outcomes = self._sessions.counted()

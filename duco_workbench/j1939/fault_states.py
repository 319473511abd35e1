"""What a machine's active trouble codes (DM1) say over time: when each came, when it went, and when nobody knows.

SAE J1939-73: a sender with an active code broadcasts DM1 every second, and once more when a code goes away, so

- a code in a DM1 is **active**;
- a code missing in its sender's next DM1 is **cleared**, at the time of that DM1;
- a code whose sender sends no DM1 at all for longer than :data:`SILENCE` is **stale**, from ``last_seen`` + silence
  on: the sender is off or the bus is cut, and the fault may well be there still. A DM1 without it clears it then, a
  DM1 with it begins a new activity, since nothing says what was in between.

The standard states no time after which a sender counts as silent. Five periods are missed here before one does, as
J1939 commonly allows for cyclic messages; that also leaves room for DM1 sent as a broadcast session (50 to 200 ms a
packet: 20 codes take up to 2.4 s).
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from ..model import SECOND, Dtc, FrameBatch
from . import dm1, ids
from .messages import messages_of
from .transport import LongMessage

SILENCE = 5 * SECOND


class State(enum.StrEnum):
    ACTIVE = "active"
    CLEARED = "cleared"
    STALE = "stale"


class FaultKey(NamedTuple):
    """What makes two reports the same fault: bus (``can0``), sender address, SPN and FMI."""

    bus: str
    sender: int
    spn: int
    fmi: int


@dataclass(frozen=True, slots=True)
class Report:
    """One DM1 as it came, also one that says "no fault".

    Attributes:
        ts: microseconds UTC of its last frame.
        lamps: that are not off, as :func:`.dm1.lamps` writes them.
    """

    ts: int
    bus: str
    sender: int
    codes: tuple[Dtc, ...]
    lamps: str = ""


@dataclass(frozen=True, slots=True)
class Fault:
    """One activity of a fault: from the first DM1 that had it to the last, and what became of it.

    Attributes:
        state: at ``changed``.
        since, last_seen: times of the first and the last DM1 of this activity that had the code (microseconds UTC).
        changed: when it came into this state, or its count changed; a stale one: ``last_seen`` + silence.
        oc: occurrence count as last reported, None where not available.
        cm: its conversion bit: 1 says that its SPN depends on the sender's method.
    """

    key: FaultKey
    state: State
    since: int
    last_seen: int
    changed: int
    oc: int | None
    cm: int
    lamps: str


def reports(
    frames: FrameBatch, long: Iterable[LongMessage], methods: Mapping[str, int] | None = None
) -> tuple[list[Report], int]:
    """Every DM1 of a batch in order of time, and how many were too short to say anything.

    Args:
        long: what :func:`~.transport.reassemble` made of the same batch.
        methods: conversion method by sender, as :mod:`.dm1` has it.
    """
    found, malformed = [], 0
    for m in messages_of(frames, long, (ids.DM1,)):
        if len(m.data) < dm1.SHORTEST:
            malformed += 1
            continue
        bus = frames.channels[m.channel]
        source = ids.source_name(bus, m.source)
        codes = dm1.read(m.ts, source, m.data, (methods or {}).get(source, 3))
        found.append(Report(m.ts, bus, m.source, tuple(codes), dm1.lamps(m.data[:2])))
    return found, malformed


class FaultStates:
    """The faults of any number of senders, kept up to date report by report.

    Args:
        silence: microseconds without a DM1 after which a sender's active faults are stale.
    """

    def __init__(self, silence: int = SILENCE) -> None:
        self.silence = silence
        self.faults: dict[FaultKey, Fault] = {}  # the latest activity of each
        self._heard: dict[tuple[str, int], int] = {}

    def see(self, report: Report) -> list[Fault]:
        """Faults whose state or count this report changes, those first that went stale before it.

        A report older than the sender's last one changes nothing: it says nothing about now.
        """
        sender = report.bus, report.sender
        changes = self.advance(report.ts)
        if report.ts < self._heard.get(sender, report.ts):
            return changes
        self._heard[sender] = report.ts
        seen = {FaultKey(*sender, code.spn, code.fmi): code for code in report.codes}
        known = [fault for key, fault in self.faults.items() if key[:2] == sender and key not in seen]
        gone = [fault for fault in known if fault.state != State.CLEARED]
        changes += [self._keep(replace(f, state=State.CLEARED, changed=report.ts)) for f in gone]
        updates = [self._seen(key, code) for key, code in seen.items()]
        return changes + [fault for fault in updates if fault.changed == report.ts]

    def advance(self, ts: int) -> list[Fault]:
        """Faults that have become stale by ``ts``."""
        silent = [f for f in self.faults.values() if f.state == State.ACTIVE and ts - f.last_seen > self.silence]
        return [self._keep(replace(f, state=State.STALE, changed=f.last_seen + self.silence)) for f in silent]

    def _seen(self, key: FaultKey, code: Dtc) -> Fault:
        before = self.faults.get(key)
        if before is None or before.state != State.ACTIVE:
            return self._keep(Fault(key, State.ACTIVE, code.ts, code.ts, code.ts, code.oc, code.cm, code.lamps))
        changed = before.changed if code.oc == before.oc else code.ts
        return self._keep(replace(before, last_seen=code.ts, changed=changed, oc=code.oc, cm=code.cm, lamps=code.lamps))

    def _keep(self, fault: Fault) -> Fault:
        self.faults[fault.key] = fault
        return fault


def fault_changes(seen: Iterable[Report], until: int, silence: int = SILENCE) -> list[Fault]:
    """Every change of state or count, in order of time.

    Args:
        seen: reports in order of time, of any senders.
        until: end of what was recorded (microseconds UTC): silence is judged up to here.
    """
    states = FaultStates(silence)
    found = [change for report in seen for change in states.see(report)]
    return sorted(found + states.advance(until), key=lambda fault: fault.changed)


def activities(found: Sequence[Fault]) -> list[Fault]:
    """Each activity once, as it ended or as it stands, of the changes given; in order of ``since``."""
    latest = {(fault.key, fault.since): fault for fault in found}
    return sorted(latest.values(), key=lambda fault: (fault.since, fault.key))

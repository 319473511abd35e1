"""Active trouble codes: DM1 of every bus, told when a sender's codes change and now and then while there are some."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from duco_workbench.j1939 import DM1, single_frame_rows, source_name, transport_rows
from duco_workbench.j1939.dm1 import lamps, read
from duco_workbench.j1939.transport import LongMessage, reassemble
from duco_workbench.model import SECOND, Flag, FrameBatch
from duco_workbench.wire import Code, Dtcs

from .drafts import Draft

SHORTEST = 6  # bytes of a DM1: two of lamps, one code; what is shorter does not say that there is none
MOST_OPEN = 1024  # transport frames kept of one conversation; 255 packets and their handshakes fit


class Diagnosis(NamedTuple):
    """One DM1: when its last frame came (microseconds UTC), from whom, and its bytes."""

    ts: int
    source: str
    data: bytes


class DtcWatcher:
    """A FrameWatcher. A draft has the time of the DM1 it was read from, as the decoder gives the same code.

    Args:
        repeat_s: seconds after which a sender's codes are told again although nothing changed.
    """

    def __init__(self, repeat_s: float = 60.0) -> None:
        self._repeat = round(repeat_s * SECOND)
        self._conversations = Conversations()
        self._told: dict[str, tuple[int, Dtcs]] = {}  # by source: when, and what

    def on_frames(self, frames: FrameBatch) -> list[Draft]:
        found = _single(frames) + [
            Diagnosis(m.ts, source_name(bus, m.source), m.data)
            for bus, m in self._conversations.add(frames)
            if m.pgn == DM1
        ]
        whole = (d for d in found if len(d.data) >= SHORTEST)
        drafts = (self._judge(diagnosis) for diagnosis in sorted(whole, key=lambda d: d.ts))
        return [draft for draft in drafts if draft is not None]

    def _judge(self, diagnosis: Diagnosis) -> Draft | None:
        codes = [Code(c.spn, c.fmi, c.oc, c.cm) for c in read(*diagnosis)]
        now = Dtcs(diagnosis.source, codes, _lamps(diagnosis.data))
        at, before = self._told.get(now.source, (0, None))
        is_due = bool(now.dtcs) and abs(diagnosis.ts - at) >= self._repeat
        if before is not None and _state(now) == _state(before) and not is_due:
            return None
        self._told[now.source] = diagnosis.ts, now
        return Draft("vehicle_dtc", diagnosis.ts, now)


def _state(dtcs: Dtcs) -> tuple[frozenset[tuple[int, int, int | None, int]], dict[str, str]]:
    """Codes in any order."""
    return frozenset((c.spn, c.fmi, c.oc, c.cm) for c in dtcs.dtcs), dtcs.lamps


def _lamps(data: bytes) -> dict[str, str]:
    """``{"red-stop": "on"}``: the lamps that are not off."""
    words = (word.partition(":") for word in lamps(data[:2]).split(",") if word)
    return {name: state for name, _, state in words}


def _single(frames: FrameBatch) -> list[Diagnosis]:
    rows = single_frame_rows(frames.arbitration_id, DM1)
    return [
        Diagnosis(
            int(frames.ts[i]),
            source_name(frames.channels[frames.channel[i]], int(frames.arbitration_id[i]) & 0xFF),
            frames.data[i, : frames.dlc[i]].tobytes(),
        )
        for i in rows.tolist()
    ]


class Conversations:
    """Long messages over several batches: the frames of what is not complete wait for the next one.

    A conversation is all transport frames between two addresses of a bus, in both directions, so that a receiver's
    handshakes stay with the sender's data. When both send a long one to each other at the same time, the later one may
    be lost; DM1 is a broadcast, and a broadcast has no other direction.
    """

    def __init__(self) -> None:
        self._open: dict[tuple[str, int, int], FrameBatch] = {}

    def add(self, frames: FrameBatch) -> list[tuple[str, LongMessage]]:
        """The messages that are complete with these frames, and their buses."""
        rows = transport_rows(frames.arbitration_id)
        rows = rows[(frames.flags[rows] & np.uint8(Flag.REMOTE | Flag.ERROR)) == 0]
        ids = frames.arbitration_id[rows]
        sender, receiver = (ids & 0xFF).astype(np.int64), (ids >> 8 & 0xFF).astype(np.int64)
        low, high = np.minimum(sender, receiver), np.maximum(sender, receiver)
        of = frames.channel[rows].astype(np.int64) << 16 | low << 8 | high
        found = []
        for number in np.unique(of).tolist():
            bus = frames.channels[number >> 16]
            found += self._go_on((bus, number >> 8 & 0xFF, number & 0xFF), frames[rows[of == number]])
        return found

    def _go_on(self, key: tuple[str, int, int], new: FrameBatch) -> list[tuple[str, LongMessage]]:
        before = self._open.pop(key, None)
        if before is not None:
            new = FrameBatch.concat([before, new])
        messages, counts = reassemble(new)
        if counts["tp_unfinished"]:
            rest = new[new.ts >= messages[-1].ts] if messages else new  # a message's last frame alone begins nothing
            self._open[key] = rest[-MOST_OPEN:]
        return [(key[0], message) for message in messages]

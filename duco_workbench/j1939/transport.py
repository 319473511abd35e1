"""J1939 transport protocol (SAE J1939-21): messages of 9 to 1785 bytes put together from TP.CM and TP.DT frames.

A session is (bus, sender, destination). It ends when its last byte is there, and its message has the time of that
frame; it is given up on an abort, a packet out of order, a new session in its place, or silence. Nothing is kept
between calls: a machine sends the frames of a session in one envelope (DESIGN §4).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..model import EXTENDED, Flag, FrameBatch
from . import ids

TIMEOUT = 1_250_000  # microseconds between frames of a session: T2 and T3, the longest the standard has
LONGEST = 1785
_BAM, _RTS, _CTS, _END, _ABORT = 32, 16, 17, 19, 255
_PRIORITY = 6  # given to reassembled ids; the standard's default
OUTCOMES = (
    "tp_done",
    "tp_aborted",
    "tp_superseded",
    "tp_timeout",
    "tp_orphan",
    "tp_out_of_sequence",
    "tp_malformed",
    "tp_unfinished",
)


class LongMessage(NamedTuple):
    """One reassembled message.

    Attributes:
        ts: microseconds UTC of its last frame.
        channel: index into the batch's ``channels``.
        pgn, source, destination: of the session; ``destination`` is 255 for a broadcast.
        data: 9 to 1785 bytes.
    """

    ts: int
    channel: int
    pgn: int
    source: int
    destination: int
    data: bytes

    @property
    def arbitration_id(self) -> int:
        """The id it would have had as one frame."""
        number = self.pgn if (self.pgn >> 8) & 0xFF >= 240 else self.pgn & 0x3FF00 | self.destination
        return EXTENDED | _PRIORITY << 26 | number << 8 | self.source


@dataclass(slots=True)
class _Session:
    pgn: int
    size: int
    ts: int
    data: bytearray = field(default_factory=bytearray)
    packet: int = 1  # expected next


Key = tuple[int, int, int]  # channel, sender, destination


def reassemble(frames: FrameBatch, rows: NDArray[np.intp] | None = None) -> tuple[list[LongMessage], Counter[str]]:
    """The long messages of a batch in order of their last frame, and how sessions ended, by :data:`OUTCOMES`.

    Args:
        frames: in order of time on each bus.
        rows: its TP frames, where they are known already.
    """
    if rows is None:
        rows = ids.transport_rows(frames.arbitration_id)
    rows = rows[(frames.flags[rows] & np.uint8(Flag.REMOTE | Flag.ERROR)) == 0]
    reader = _Reader()
    data = frames.data[rows, :8].tobytes()
    columns = (frames.ts[rows], frames.channel[rows], frames.arbitration_id[rows], frames.dlc[rows])
    for i, (ts, channel, number, dlc) in enumerate(zip(*(c.tolist() for c in columns), strict=True)):
        body = data[8 * i : 8 * i + min(dlc, 8)]
        source, destination = number & 0xFF, (number >> 8) & 0xFF
        if (number >> 16) & 0xFF == ids.TP_CM >> 8:
            reader.control(ts, channel, source, destination, body)
        else:
            reader.packet(ts, (channel, source, destination), body)
    reader.counts["tp_unfinished"] += len(reader.sessions)
    return reader.messages, +reader.counts


class _Reader:
    """The open sessions of one batch."""

    def __init__(self) -> None:
        self.sessions: dict[Key, _Session] = {}
        self.messages: list[LongMessage] = []
        self.counts: Counter[str] = Counter()

    def control(self, ts: int, channel: int, source: int, destination: int, body: bytes) -> None:
        """A TP.CM frame."""
        if len(body) < 8:
            self.counts["tp_malformed"] += 1
            return
        pgn = int.from_bytes(body[5:8], "little")
        mine, theirs = (channel, source, destination), (channel, destination, source)
        if body[0] in (_BAM, _RTS):
            self.start(ts, mine, pgn, body)
        elif body[0] == _CTS:
            self.clear_to_send(ts, theirs, body)
        elif body[0] == _ABORT:
            for key in (mine, theirs):
                if key in self.sessions and self.sessions[key].pgn == pgn:
                    self.drop(key, "tp_aborted")

    def start(self, ts: int, key: Key, pgn: int, body: bytes) -> None:
        size, packets = body[1] | body[2] << 8, body[3]
        is_broadcast = key[2] == ids.GLOBAL
        if key in self.sessions:
            self.drop(key, "tp_timeout" if self.is_silent(key, ts) else "tp_superseded")
        if not 9 <= size <= LONGEST or packets != (size + 6) // 7 or is_broadcast != (body[0] == _BAM):
            self.counts["tp_malformed"] += 1
            return
        self.sessions[key] = _Session(pgn & 0x3FFFF, size, ts)

    def clear_to_send(self, ts: int, key: Key, body: bytes) -> None:
        """The receiver's go-ahead: it may ask for packets again, or (count 0) to wait."""
        session = self.sessions.get(key)
        if session is None:
            return
        session.ts = ts
        if body[1] and 1 <= body[2] < session.packet:
            session.packet = body[2]
            del session.data[7 * (body[2] - 1) :]

    def packet(self, ts: int, key: Key, body: bytes) -> None:
        """A TP.DT frame."""
        if key in self.sessions and self.is_silent(key, ts):
            self.drop(key, "tp_timeout")
        session = self.sessions.get(key)
        if session is None:
            self.counts["tp_orphan"] += 1
        elif not body or body[0] != session.packet:
            self.drop(key, "tp_out_of_sequence")
        elif len(body) - 1 < min(7, session.size - len(session.data)):
            self.drop(key, "tp_malformed")
        else:
            session.ts = ts
            session.packet += 1
            session.data += body[1:]
            if len(session.data) >= session.size:
                self.finish(ts, key)

    def finish(self, ts: int, key: Key) -> None:
        session = self.sessions.pop(key)
        self.counts["tp_done"] += 1
        self.messages.append(LongMessage(ts, key[0], session.pgn, key[1], key[2], bytes(session.data[: session.size])))

    def is_silent(self, key: Key, ts: int) -> bool:
        return ts - self.sessions[key].ts > TIMEOUT

    def drop(self, key: Key, why: str) -> None:
        del self.sessions[key]
        self.counts[why] += 1

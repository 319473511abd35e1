"""ISO-TP (ISO 15765-2): messages of any length put together from single, first and consecutive frames.

A session is (bus, arbitration id). It ends when its last byte is there, and its message has the time of that frame; it
is given up on a consecutive frame out of order, a new message in its place, a receiver's overflow, or silence. Flow
control is followed where it was recorded and not needed where not (many loggers see one side). Nothing is kept between
calls.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from ..model import FrameBatch
from .addressing import NO_PAIRS, Pairs, is_functional, reverse, rows_of

TIMEOUT = 1_000_000  # microseconds: N_Bs, N_Cr, between frames of a session or the handshakes of its receiver
_SINGLE, _FIRST, _CONSECUTIVE, _FLOW_CONTROL = range(4)
_WAIT, _OVERFLOW = 1, 2
_CLASSIC = 8  # bytes of a CAN frame
_LONGEST_SHORT = 4095  # longer ones have a 32-bit length
OUTCOMES = (
    "isotp_done",
    "isotp_aborted",
    "isotp_superseded",
    "isotp_timeout",
    "isotp_orphan",
    "isotp_out_of_sequence",
    "isotp_malformed",
    "isotp_unfinished",
)


class IsoTpMessage(NamedTuple):
    """One whole message.

    Attributes:
        ts: microseconds UTC of its last frame.
        channel: index into the batch's ``channels``.
        arbitration_id: of its frames, bit 31 set when it has 29 bits.
        data: 1 byte and more.
    """

    ts: int
    channel: int
    arbitration_id: int
    data: bytes


@dataclass(slots=True)
class _Session:
    size: int
    ts: int
    room: int  # bytes of a full consecutive frame
    data: bytearray = field(default_factory=bytearray)
    number: int = 1  # expected next, modulo 16


Key = tuple[int, int]  # channel, arbitration id


def reassemble(frames: FrameBatch, pairs: Pairs = NO_PAIRS) -> tuple[list[IsoTpMessage], Counter[str]]:
    """The ISO-TP messages of a batch in order of their last frame, and how they ended, by :data:`OUTCOMES`.

    Args:
        frames: in order of time on each bus; CAN FD frames too.
        pairs: 11-bit ids beyond the standard's, request -> answer (:mod:`.addressing`).
    """
    rows = rows_of(frames, pairs)
    columns = (frames.ts, frames.channel, frames.arbitration_id, frames.dlc)
    reader = _Reader(pairs)
    for row, ts, channel, number, dlc in zip(rows.tolist(), *(c[rows].tolist() for c in columns), strict=True):
        reader.frame(ts, (channel, number), frames.data[row, :dlc].tobytes())
    end = int(frames.ts[-1]) if len(frames) else 0
    for session in reader.sessions.values():
        reader.counts["isotp_timeout" if end - session.ts > TIMEOUT else "isotp_unfinished"] += 1
    return reader.messages, +reader.counts


class _Reader:
    """The open sessions of one batch."""

    def __init__(self, pairs: Pairs) -> None:
        self.sessions: dict[Key, _Session] = {}
        self.messages: list[IsoTpMessage] = []
        self.counts: Counter[str] = Counter()
        self._pairs = pairs

    def frame(self, ts: int, key: Key, body: bytes) -> None:
        kind = body[0] >> 4 if body else -1
        if kind == _FLOW_CONTROL:
            self.flow_control(ts, (key[0], reverse(key[1], self._pairs)), body)
            return
        if key in self.sessions and ts - self.sessions[key].ts > TIMEOUT:
            self.drop(key, "isotp_timeout")
        if kind == _CONSECUTIVE:
            self.consecutive(ts, key, body)
        elif kind in (_SINGLE, _FIRST):
            if key in self.sessions:
                self.drop(key, "isotp_superseded")
            (self.single if kind == _SINGLE else self.first)(ts, key, body)
        else:
            self.counts["isotp_malformed"] += 1

    def single(self, ts: int, key: Key, body: bytes) -> None:
        size, start = body[0] & 15, 1
        if len(body) > _CLASSIC:  # CAN FD: the length is in the second byte
            size, start = (0 if size else body[1]), 2
        if 1 <= size <= len(body) - start:
            self.finish(ts, key, body[start : start + size])
        else:
            self.counts["isotp_malformed"] += 1

    def first(self, ts: int, key: Key, body: bytes) -> None:
        size, start = int.from_bytes(body[:2], "big") & 0xFFF, 2
        is_long = len(body) >= _CLASSIC and not size
        if is_long:
            size, start = int.from_bytes(body[2:6], "big"), 6
        least = _LONGEST_SHORT + 1 if is_long else (_CLASSIC if len(body) <= _CLASSIC else len(body) - 1)
        if len(body) < _CLASSIC or size < least or is_functional(key[1]):
            self.counts["isotp_malformed"] += 1
            return
        self.sessions[key] = _Session(size, ts, len(body) - 1, bytearray(body[start:]))

    def consecutive(self, ts: int, key: Key, body: bytes) -> None:
        session = self.sessions.get(key)
        if session is None:
            self.counts["isotp_orphan"] += 1
        elif body[0] & 15 != session.number:
            self.drop(key, "isotp_out_of_sequence")
        elif len(body) - 1 < min(session.room, session.size - len(session.data)):
            self.drop(key, "isotp_malformed")
        else:
            session.ts, session.number = ts, (session.number + 1) & 15
            session.data += body[1:]
            if len(session.data) >= session.size:
                del self.sessions[key]
                self.finish(ts, key, bytes(session.data[: session.size]))

    def flow_control(self, ts: int, key: Key, body: bytes) -> None:
        """The receiver of ``key``'s message lets it go on, keeps it waiting, or refuses it."""
        session = self.sessions.get(key)
        if session is None:
            return  # it answers what was not recorded
        if body[0] & 15 == _OVERFLOW:
            self.drop(key, "isotp_aborted")
        elif body[0] & 15 <= _WAIT:
            session.ts = ts

    def finish(self, ts: int, key: Key, data: bytes) -> None:
        self.counts["isotp_done"] += 1
        self.messages.append(IsoTpMessage(ts, *key, data))

    def drop(self, key: Key, why: str) -> None:
        del self.sessions[key]
        self.counts[why] += 1

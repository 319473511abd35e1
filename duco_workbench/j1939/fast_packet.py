"""NMEA 2000 fast packets: messages of up to 223 bytes put together from frames of one parameter group.

A frame's first byte is a sequence counter (3 bits), which tells messages of a sender apart, and a frame counter (5
bits). Frame 0 has the size and six bytes, every other frame seven. A session is (bus, sender, destination, group,
sequence counter). It ends when its last byte is there; it is given up on a frame out of order, a new message in its
place, or silence. Nothing is kept between calls.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..model import FrameBatch
from .fast_packet_pgns import FAST_PACKET_PGNS
from .messages import messages_of
from .transport import LongMessage

TIMEOUT = 750_000  # microseconds between frames of a message, the standard's longest
LONGEST = 223  # 6 + 31 * 7
_WIDTH = 224
OUTCOMES = (
    "fp_done",
    "fp_superseded",
    "fp_timeout",
    "fp_orphan",
    "fp_out_of_sequence",
    "fp_malformed",
    "fp_unfinished",
)
Key = tuple[int, int, int, int, int]  # channel, sender, destination, group, sequence counter


@dataclass(slots=True)
class _Session:
    size: int
    ts: int
    data: bytearray = field(default_factory=bytearray)
    frame: int = 1  # expected next


def reassemble_fast(
    frames: FrameBatch, pgns: Collection[int] = FAST_PACKET_PGNS
) -> tuple[list[LongMessage], Counter[str]]:
    """The fast packets of a batch in order of their last frame, and how they ended, by :data:`OUTCOMES`.

    Args:
        frames: of NMEA 2000 buses only (``frames.of("can1")``), in order of time on each: on others the same groups
            may be single frames, and would be counted as orphans.
        pgns: which groups are fast packets; no frame says it of itself.

    Returns:
        messages of 1 to 223 bytes, which a decoder takes like those of the transport protocol.
    """
    reader = _Reader()
    for frame in messages_of(frames, (), pgns):
        reader.frame(frame)
    end = int(frames.ts[-1]) if len(frames) else 0
    for session in reader.sessions.values():
        reader.counts["fp_timeout" if end - session.ts > TIMEOUT else "fp_unfinished"] += 1
    return reader.messages, +reader.counts


def as_frames(messages: Sequence[LongMessage], channels: tuple[str, ...]) -> FrameBatch:
    """Fast packets as frames of up to 223 bytes, data of (n, 224), that a decoder takes like any other::

    messages, _ = reassemble_fast(frames)
    samples = Decoder(database).decode(as_frames(messages, frames.channels))
    """
    data = np.frombuffer(b"".join(m.data.ljust(_WIDTH, b"\0") for m in messages), np.uint8).reshape(-1, _WIDTH)
    return FrameBatch(
        np.array([m.ts for m in messages], np.int64),
        np.array([m.arbitration_id for m in messages], np.uint32),
        np.array([len(m.data) for m in messages], np.uint8),
        np.zeros(len(messages), np.uint8),
        data,
        np.array([m.channel for m in messages], np.uint8),
        channels,
    )


class _Reader:
    """The open sessions of one batch."""

    def __init__(self) -> None:
        self.sessions: dict[Key, _Session] = {}
        self.messages: list[LongMessage] = []
        self.counts: Counter[str] = Counter()

    def frame(self, f: LongMessage) -> None:
        if not f.data:
            self.counts["fp_malformed"] += 1
            return
        key = f.channel, f.source, f.destination, f.pgn, f.data[0] >> 5
        session = self.sessions.get(key)
        if session is not None and f.ts - session.ts > TIMEOUT:
            self.drop(key, "fp_timeout")
        if f.data[0] & 31:
            self.go_on(f, key, f.data[0] & 31)
        else:
            self.start(f, key)

    def start(self, f: LongMessage, key: Key) -> None:
        if key in self.sessions:
            self.drop(key, "fp_superseded")
        size = f.data[1] if len(f.data) > 1 else 0
        if not 1 <= size <= LONGEST:
            self.counts["fp_malformed"] += 1
            return
        self.sessions[key] = _Session(size, f.ts)
        self.take(f, key, f.data[2:])

    def go_on(self, f: LongMessage, key: Key, number: int) -> None:
        session = self.sessions.get(key)
        if session is None:
            self.counts["fp_orphan"] += 1
        elif number != session.frame:
            self.drop(key, "fp_out_of_sequence")
        else:
            session.frame += 1
            self.take(f, key, f.data[1:])

    def take(self, f: LongMessage, key: Key, body: bytes) -> None:
        """The bytes of one frame; only the last one of a message may be short of its room."""
        session = self.sessions[key]
        room = 7 if session.data else 6
        if len(body) < min(room, session.size - len(session.data)):
            self.drop(key, "fp_malformed")
            return
        session.ts = f.ts
        session.data += body
        if len(session.data) >= session.size:
            del self.sessions[key]
            self.counts["fp_done"] += 1
            self.messages.append(f._replace(data=bytes(session.data[: session.size])))

    def drop(self, key: Key, why: str) -> None:
        del self.sessions[key]
        self.counts[why] += 1

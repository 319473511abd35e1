"""J1939 transport protocol (SAE J1939-21): messages of 9 to 1785 bytes put together from TP.CM and TP.DT frames.

A session is (bus, sender, destination). It ends when its last byte is there, and its message has the time of that
frame; it is given up on an abort, a packet out of order, a new session in its place, or silence.

:func:`reassemble` keeps nothing between calls: a machine sends the frames of a session in one envelope (DESIGN §4).
:class:`Sessions` does, for who reads a long recording in parts.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..model import EXTENDED, FrameBatch
from . import ids

TIMEOUT = 1_250_000  # microseconds between frames of a session: T2 and T3, the longest the standard has
LONGEST = 1785
MOST_OPEN = 4096  # sessions at once; a machine has a few, a fuzzed bus as many as it likes
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
        machine: index into the batch's ``machines``.
    """

    ts: int
    channel: int
    pgn: int
    source: int
    destination: int
    data: bytes
    machine: int = 0

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


Key = tuple[tuple[str, str], int, int]  # bus (machine, channel), sender, destination


def reassemble(frames: FrameBatch, rows: NDArray[np.intp] | None = None) -> tuple[list[LongMessage], Counter[str]]:
    """The long messages of a batch in order of their last frame, and how sessions ended, by :data:`OUTCOMES`.

    Args:
        frames: in order of time on each bus.
        rows: its TP frames, where they are known already.
    """
    sessions = Sessions()
    messages = [message for _, message in sessions.read(frames, rows)]
    sessions.give_up()
    return messages, sessions.counted()


class Sessions:
    """The open sessions of any number of buses; they stay open from batch to batch."""

    def __init__(self) -> None:
        self._open: dict[Key, _Session] = {}
        self._counts: Counter[str] = Counter()

    def read(self, frames: FrameBatch, rows: NDArray[Any] | None = None) -> list[tuple[int, LongMessage]]:
        """The messages completed in a batch, in order, each with the row that completed it.

        Args:
            frames: in order of time on each bus.
            rows: (n) its TP frames, where they are known already.
        """
        rows = frames.data_rows(ids.transport_rows(frames.arbitration_id) if rows is None else rows)
        found = []
        data = frames.data[rows, :8].tobytes()
        columns = (
            *(c[rows] for c in (frames.ts, frames.channel, frames.arbitration_id, frames.dlc)),
            frames.machine_of(rows),
        )
        for i, (row, ts, channel, number, dlc, machine) in enumerate(
            zip(rows.tolist(), *(c.tolist() for c in columns), strict=True)
        ):
            body = data[8 * i : 8 * i + min(dlc, 8)]
            bus = (frames.machine_name(machine), frames.channels[channel])
            key = (bus, number & 0xFF, (number >> 8) & 0xFF)
            if (number >> 16) & 0xFF == ids.TP_CM >> 8:
                self._control(ts, key, body)
            elif done := self._packet(ts, key, body):
                body = bytes(done.data[: done.size])
                found.append((row, LongMessage(ts, channel, done.pgn, key[1], key[2], body, machine)))
        return found

    def give_up(self) -> None:
        """Forgets the open sessions, and counts them."""
        self._counts["tp_unfinished"] += len(self._open)
        self._open.clear()

    def counted(self) -> Counter[str]:
        """How sessions ended since this was asked last."""
        counts, self._counts = self._counts, Counter()
        return +counts

    def _control(self, ts: int, mine: Key, body: bytes) -> None:
        """A TP.CM frame."""
        if len(body) < 8:
            self._counts["tp_malformed"] += 1
            return
        pgn = int.from_bytes(body[5:8], "little")
        theirs = (mine[0], mine[2], mine[1])
        if body[0] in (_BAM, _RTS):
            self._start(ts, mine, pgn, body)
        elif body[0] == _CTS:
            self._clear_to_send(ts, theirs, body)
        elif body[0] == _ABORT:
            for key in (mine, theirs):
                if key in self._open and self._open[key].pgn == pgn:
                    self._drop(key, "tp_aborted")

    def _start(self, ts: int, key: Key, pgn: int, body: bytes) -> None:
        size, packets = body[1] | body[2] << 8, body[3]
        is_broadcast = key[2] == ids.GLOBAL
        if key in self._open:
            self._drop(key, "tp_timeout" if self._is_silent(key, ts) else "tp_superseded")
        if not 9 <= size <= LONGEST or packets != (size + 6) // 7 or is_broadcast != (body[0] == _BAM):
            self._counts["tp_malformed"] += 1
            return
        if len(self._open) >= MOST_OPEN:
            self._sweep(ts)
        if len(self._open) >= MOST_OPEN:
            self._counts["tp_unfinished"] += 1
        else:
            self._open[key] = _Session(pgn & 0x3FFFF, size, ts)

    def _sweep(self, ts: int) -> None:
        """Drops what has been silent for too long."""
        for key in [key for key in self._open if self._is_silent(key, ts)]:
            self._drop(key, "tp_timeout")

    def _clear_to_send(self, ts: int, key: Key, body: bytes) -> None:
        """The receiver's go-ahead: it may ask for packets again, or (count 0) to wait."""
        session = self._open.get(key)
        if session is None:
            return
        session.ts = ts
        if body[1] and 1 <= body[2] < session.packet:
            session.packet = body[2]
            del session.data[7 * (body[2] - 1) :]

    def _packet(self, ts: int, key: Key, body: bytes) -> _Session | None:
        """A TP.DT frame; the session when this was its last one."""
        if key in self._open and self._is_silent(key, ts):
            self._drop(key, "tp_timeout")
        session = self._open.get(key)
        if session is None:
            self._counts["tp_orphan"] += 1
        elif not body or body[0] != session.packet:
            self._drop(key, "tp_out_of_sequence")
        elif len(body) - 1 < min(7, session.size - len(session.data)):
            self._drop(key, "tp_malformed")
        else:
            session.ts = ts
            session.packet += 1
            session.data += body[1:]
            if len(session.data) >= session.size:
                self._counts["tp_done"] += 1
                return self._open.pop(key)
        return None

    def _is_silent(self, key: Key, ts: int) -> bool:
        return ts - self._open[key].ts > TIMEOUT

    def _drop(self, key: Key, why: str) -> None:
        del self._open[key]
        self._counts[why] += 1

"""Frames -> envelopes: what the agent, the import and the simulated machine do before the hub.

An envelope holds one window of bus time, in blocks per bus. A J1939 transport session is never split: its frames
travel, with their own times, in the envelope in which it ends, aborts, is replaced, or times out. What comes out
depends on the frames and their order only, not on the portions they were handed over in.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import wire
from .errors import ConfigError
from .model import ERROR, EXTENDED, REMOTE, SECOND, Clock, Envelope, Flag, FrameBatch, MessageId

SESSION_TIMEOUT = 1_250_000  # microseconds without a frame (J1939-21: T2, T3)
MAX_SESSION_FRAMES = 1024  # 255 packets and their handshakes, with room; a longer one is noise and may be split
LONGEST_SEAL = 600 * SECOND  # with a session before it, a window still fits the 32-bit times of a block

_TP_CM, _TP_DT = 0xEC, 0xEB  # PDU format of connection management and data transfer
_RTS, _CTS, _END_OF_MESSAGE, _BAM, _ABORT = 16, 17, 19, 32, 255
_BLOCK_TEXT = 200  # bytes of JSON around a block's base64 and its channel's name

Key = tuple[int, int, int]  # bus, sender, receiver of the session's data


@dataclass(slots=True)
class _Session:
    number: int
    pgn: bytes
    packets: int
    latest: int  # microseconds
    is_broadcast: bool
    frames: int = 0


class _Sessions:
    """Which transport session a frame belongs to, frame by frame in order of arrival; 0 is none."""

    def __init__(self) -> None:
        self._open: dict[Key, _Session] = {}
        self._count = 0

    def number_frames(self, frames: FrameBatch, buses: NDArray[np.int64]) -> NDArray[np.int64]:
        """The session of each frame. Only transport frames are looked at one by one."""
        numbers = np.zeros(len(frames), np.int64)
        ids = frames.arbitration_id
        kind = (ids >> 16) & 0x3FF  # PDU format and both data page bits, which are 0
        plain = ids & (EXTENDED | REMOTE | ERROR) == EXTENDED
        rows = np.flatnonzero(plain & ((kind == _TP_CM) | (kind == _TP_DT)) & (frames.dlc > 0))
        data = frames.data[rows, :8].tobytes()
        columns = zip(frames.ts[rows].tolist(), buses[rows].tolist(), ids[rows].tolist(), strict=True)
        for at, (ts, bus, identifier) in enumerate(columns):
            numbers[rows[at]] = self._number(ts, bus, identifier, data[8 * at : 8 * at + 8])
        return numbers

    def open_after(self, now: int) -> list[int]:
        """Ends what has timed out by ``now``; the numbers of the others."""
        for key in [key for key, session in self._open.items() if self._is_late(session, now)]:
            del self._open[key]
        return [session.number for session in self._open.values()]

    def end_all(self) -> None:
        self._open.clear()

    @staticmethod
    def _is_late(session: _Session, now: int) -> bool:
        return abs(now - session.latest) > SESSION_TIMEOUT  # back in time is another recording

    def _number(self, ts: int, bus: int, identifier: int, data: bytes) -> int:
        sender, receiver = identifier & 0xFF, (identifier >> 8) & 0xFF
        if (identifier >> 16) & 0xFF == _TP_DT:
            return self._data(ts, (bus, sender, receiver), data[0])
        if data[0] in (_RTS, _BAM):
            return self._begin(ts, (bus, sender, receiver), data)
        if data[0] in (_CTS, _END_OF_MESSAGE):
            return self._follow(ts, (bus, receiver, sender), ends=data[0] == _END_OF_MESSAGE)
        if data[0] == _ABORT:
            return self._abort(ts, bus, sender, receiver, data[5:])
        return 0

    def _begin(self, ts: int, key: Key, data: bytes) -> int:
        self._count += 1
        self._open[key] = _Session(self._count, data[5:], data[3], ts, data[0] == _BAM, 1)
        return self._count

    def _data(self, ts: int, key: Key, sequence: int) -> int:
        session = self._open.get(key)
        return self._follow(ts, key, ends=bool(session and session.is_broadcast and sequence >= session.packets))

    def _abort(self, ts: int, bus: int, sender: int, receiver: int, pgn: bytes) -> int:
        """Either side may abort; with a session in both directions the PGN tells which."""
        keys = [key for key in ((bus, sender, receiver), (bus, receiver, sender)) if key in self._open]
        keys.sort(key=lambda key: self._open[key].pgn != pgn)
        return self._follow(ts, keys[0], ends=True) if keys else 0

    def _follow(self, ts: int, key: Key, ends: bool) -> int:
        """One more frame of a session, if it is open and in time."""
        session = self._open.get(key)
        if session is None:
            return 0
        if self._is_late(session, ts):
            del self._open[key]
            return 0
        session.latest, session.frames = ts, session.frames + 1
        if ends or session.frames >= MAX_SESSION_FRAMES:
            del self._open[key]
        return session.number


class Packer:
    """Packs the frames of one machine into ``vehicle_can`` envelopes with ids ``chassis_id:epoch:seq``.

    Args:
        first_seq: of the first envelope; each next one has one more.
        seal: microseconds of bus time an envelope holds, windows ``[k * seal, (k + 1) * seal)`` of absolute time.
        realtime, clock: copied into every envelope.
    Raises: ConfigError for a ``seal`` that is not between 1 µs and 10 minutes.
    """

    def __init__(
        self,
        chassis_id: str,
        epoch: int,
        *,
        first_seq: int = 1,
        seal: int = SECOND,
        realtime: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self.next_seq = first_seq
        self.realtime, self.clock = realtime, clock or Clock()
        self._chassis_id, self._epoch, self._seal = chassis_id, epoch, _checked(seal)
        self._buses: dict[str, int] = {}
        self._sessions = _Sessions()
        self._window: int | None = None
        self._parts: list[tuple[FrameBatch, NDArray[np.int64]]] = []  # frames and their sessions, not yet packed

    def add(self, frames: FrameBatch) -> list[Envelope]:
        """The envelopes that are complete with these frames; frames come in order of arrival."""
        envelopes: list[Envelope] = []
        if not len(frames):
            return envelopes
        numbers = [self._buses.setdefault(name, len(self._buses)) for name in frames.channels]
        buses = np.array(numbers, np.int64)[frames.channel]
        windows = frames.ts // self._seal
        cuts = np.flatnonzero(np.diff(windows)) + 1
        for begin, end in zip([0, *cuts.tolist()], [*cuts.tolist(), len(frames)], strict=True):
            if self._leaves(int(windows[begin])):
                envelopes += self._close(int(frames.ts[begin]))
                self._window = int(windows[begin])
            portion = frames[begin:end]
            self._parts.append((portion, self._sessions.number_frames(portion, buses[begin:end])))
        return envelopes

    def seal(self, now: int) -> list[Envelope]:
        """The envelope of the present window if it has ended by ``now`` (microseconds); open sessions stay."""
        if self._window is None or (self._window + 1) * self._seal > now:
            return []
        self._window = None
        return self._close(now)

    def seal_now(self, now: int, seal: int | None = None) -> list[Envelope]:
        """The envelope of the present window as it is at ``now`` (microseconds); open sessions stay.

        Args:
            seal: what a window holds from here on.
        Raises: ConfigError as the constructor.
        """
        self._seal = self._seal if seal is None else _checked(seal)
        self._window = None
        return self._close(now)

    def flush(self) -> list[Envelope]:
        """The envelopes of everything added so far, open sessions included."""
        self._sessions.end_all()
        envelopes = self._pack(*self._take([]))
        self._window = None
        return envelopes

    def _leaves(self, window: int) -> bool:
        """Frames a window late (buses are not in step) stay with the present one; further back is a new beginning."""
        if self._window is None:
            self._window = window
        return window > self._window or window < self._window - 1

    def _close(self, now: int) -> list[Envelope]:
        return self._pack(*self._take(self._sessions.open_after(now)))

    def _take(self, still_open: list[int]) -> tuple[FrameBatch, NDArray[np.int64]]:
        """All frames but those of open sessions, which stay."""
        if not self._parts:
            return FrameBatch.empty(), np.empty(0, np.int64)
        frames = FrameBatch.concat([part for part, _ in self._parts])
        sessions = np.concatenate([numbers for _, numbers in self._parts])
        self._parts = []
        if still_open and (stays := np.isin(sessions, still_open)).any():
            self._parts = [(frames[stays], sessions[stays])]
            frames, sessions = frames[~stays], sessions[~stays]
        return frames, sessions

    def _pack(self, frames: FrameBatch, sessions: NDArray[np.int64]) -> list[Envelope]:
        if not len(frames):
            return []
        order = np.argsort(frames.ts, kind="stable")
        frames, sessions = _by_name(frames[order]), sessions[order]
        head = len(wire.encode(self._envelope(0, []))) + 20  # and the digits of ts
        head += sum(_BLOCK_TEXT + 6 * len(name) for name in frames.channels)
        envelopes = []
        for blocks, ts in _fitting(frames, sessions, wire.MAX_MESSAGE - head):
            envelopes.append(self._envelope(ts, blocks))
            self.next_seq += 1
        return envelopes

    def _envelope(self, ts: int, blocks: list[wire.Block]) -> Envelope:
        return Envelope(
            msg_type="vehicle_can",
            chassis_id=self._chassis_id,
            message_id=str(MessageId(self._chassis_id, self._epoch, self.next_seq)),
            ts=ts,
            realtime=self.realtime,
            clock=self.clock,
            payload=wire.Can(blocks),
        )


def _checked(seal: int) -> int:
    if not 1 <= seal <= LONGEST_SEAL:
        raise ConfigError(f"seal = {seal} µs: an envelope holds between 1 µs and {LONGEST_SEAL // SECOND} s.")
    return seal


def _by_name(frames: FrameBatch) -> FrameBatch:
    """Buses in order of name, those without frames left out: the order of blocks depends on nothing else."""
    present = sorted({frames.channels[code] for code in np.unique(frames.channel).tolist()})
    code = np.array([present.index(name) if name in present else 0 for name in frames.channels], np.uint8)
    return FrameBatch(
        frames.ts,
        frames.arbitration_id,
        frames.dlc,
        frames.flags,
        frames.data,
        code[frames.channel],
        tuple(present),
    )


def _fitting(
    frames: FrameBatch, sessions: NDArray[np.int64], room: int, estimate: int | None = None
) -> Iterator[tuple[list[wire.Block], int]]:
    """Blocks of as few envelopes as surely fit, each with the time of its latest frame.

    Args:
        room: bytes of base64 an envelope may hold.
        estimate: bytes to plan for; what does not compress at all takes its own size, so that is the first plan.
    """
    estimate = room * 99 // 100 if estimate is None else estimate
    for rows in _portions(frames, sessions, estimate):
        portion = frames if len(rows) == len(frames) else frames[rows]
        blocks = wire.pack_blocks(portion)
        if sum(len(block.b64) for block in blocks) < room or estimate == 0:  # at 0 every part is one frame or session
            yield blocks, int(portion.ts[-1])
        else:
            yield from _fitting(portion, sessions[rows], room, estimate // 2)


def _portions(frames: FrameBatch, sessions: NDArray[np.int64], room: int) -> list[NDArray[np.intp]]:
    """Rows of each envelope, in order of time; a session is where its last frame is."""
    is_fd = frames.flags & Flag.FD != 0
    size = np.where(is_fd, 10 + frames.dlc.astype(np.int64), wire.CAN18.itemsize) * 4 / 3
    rows = np.arange(len(frames))
    if size.sum() <= room:
        return [rows]
    place = rows.copy()
    for number in np.unique(sessions[sessions > 0]):
        own = np.flatnonzero(sessions == number)
        place[own] = own[-1]
    order = np.argsort(place, kind="stable")
    ends = np.cumsum(size[order])[np.append(np.diff(place[order]) != 0, True)]  # size up to the end of each unit
    counts = np.flatnonzero(np.append(np.diff(place[order]) != 0, True)) + 1
    cuts, full, at = [], 0.0, 0
    while at < len(ends):
        at = max(int(np.searchsorted(ends, full + room, "right")), at + 1)
        cuts.append(int(counts[at - 1]))
        full = float(ends[at - 1])
    return [np.sort(portion) for portion in np.split(order, cuts[:-1])]

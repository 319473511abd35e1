"""Frames of any interval, from periodic streams that each know what to send at a tick.

Time is cut at whole ticks of 50 ms. A stream samples its machine at the ticks of its period and sends a little later,
in a slot of the tick that is its own, so no two frames of a bus meet. Which frames an interval holds is decided by
their times alone: the frames of adjacent intervals are those of the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ...model import EXTENDED, SECOND, FrameBatch
from . import noise
from .schedule import HOUR
from .state import TICK

JITTER = 256  # microseconds, at most; a power of two
BLOCK, LONG_BLOCK = 60 * SECOND, 600 * SECOND  # what is made at once, for short intervals and for long ones
TP_CM, TP_DT = 0x1CECFF00, 0x1CEBFF00  # J1939-21 to everyone (FF); the sender's address is to be added
BAM = 32

Ticks = NDArray[np.int64]
Payloads = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Stream:
    """One periodic message of one sender, or one page of a multiplexed one.

    Attributes:
        channel: index of the bus; arbitration_id: as SocketCAN writes it.
        period, offset: microseconds, whole ticks; it is due at ``offset`` and every ``period`` after it, from 1970 on.
        slot: microseconds after a tick when it is sent; number: of this stream, for its jitter.
        payloads: (hour, ticks (n)) -> which ticks it sends at (n), and the bytes (m, length) for those m ticks.
        pgn: set where the message is longer than a frame and goes by transport protocol (BAM).
    """

    channel: int
    arbitration_id: int
    period: int
    offset: int
    slot: int
    number: int
    payloads: Callable[[int, Ticks], tuple[NDArray[np.bool_], Payloads]]
    pgn: int | None = None


class Traffic:
    """The buses ``channels`` of a machine; keeps the last two blocks made, for those who ask second by second."""

    def __init__(self, seed: int, channels: tuple[str, ...], streams: Sequence[Stream], longest: int = 8) -> None:
        """``longest``: bytes of the longest message."""
        self._seed, self._channels, self._streams = seed, channels, streams
        self._reach = TICK * (2 + -(-longest // 7)) if longest > 8 else TICK  # from a tick to its last frame
        self._block = lru_cache(2)(self._make)

    def frames(self, start: int, end: int) -> FrameBatch:
        """All frames with start <= ts < end (microseconds), by time."""
        size = LONG_BLOCK if end - start >= LONG_BLOCK else BLOCK
        parts = []
        for first in range(start // size * size, end, size):
            block = self._block(first, size) if size == BLOCK else self._make(first, size)
            low, high = np.searchsorted(block.ts, [start, end])
            parts.append(block[low:high])
        return FrameBatch.concat(parts) if parts else FrameBatch.empty(channels=self._channels)

    def _make(self, first: int, size: int) -> FrameBatch:
        parts = [
            self._send(stream, hour, ticks)
            for stream in self._streams
            for hour, ticks in _ticks(stream, first - self._reach, first + size)
        ]
        frames = FrameBatch.concat(parts).sorted()
        low, high = np.searchsorted(frames.ts, [first, first + size])
        return frames[low:high]

    def _send(self, stream: Stream, hour: int, ticks: Ticks) -> FrameBatch:
        sent, data = stream.payloads(hour, ticks)
        ticks = ticks[sent]
        if stream.pgn is not None:
            return self._transport(stream, ticks, data, stream.pgn)
        ids = np.full(len(ticks), stream.arbitration_id, np.uint32)
        return self._batch(stream, ticks, ids, data, data.shape[1])

    def _transport(self, stream: Stream, ticks: Ticks, data: Payloads, pgn: int) -> FrameBatch:
        """A broadcast announce message and its data frames, one every 50 ms (J1939-21 5.10.2)."""
        count = -(-data.shape[1] // 7)
        sender = stream.arbitration_id & 0xFF
        frames = np.full((len(ticks), 1 + count, 8), 0xFF, np.uint8)
        frames[:, 0] = [BAM, *data.shape[1].to_bytes(2, "little"), count, 0xFF, *pgn.to_bytes(3, "little")]
        frames[:, 1:, 0] = np.arange(1, count + 1)
        padded = np.full((len(ticks), 7 * count), 0xFF, np.uint8)
        padded[:, : data.shape[1]] = data
        frames[:, 1:, 1:] = padded.reshape(-1, count, 7)
        ids = np.array([EXTENDED | TP_CM | sender] + [EXTENDED | TP_DT | sender] * count, np.uint32)
        when = ticks[:, None] + TICK * np.arange(1 + count)
        return self._batch(stream, when.ravel(), np.tile(ids, len(ticks)), frames.reshape(-1, 8), 8)

    def _batch(self, stream: Stream, ticks: Ticks, ids: NDArray[np.uint32], data: Payloads, dlc: int) -> FrameBatch:
        n = len(ticks)
        jitter = noise.bits(noise.key(self._seed, "jitter", stream.number), ticks) % np.uint64(JITTER)
        wide = np.zeros((n, 8), np.uint8)
        wide[:, :dlc] = data
        return FrameBatch(
            ts=ticks + stream.slot + jitter.astype(np.int64),
            arbitration_id=ids,
            dlc=np.full(n, dlc, np.uint8),
            flags=np.zeros(n, np.uint8),
            data=wide,
            channel=np.full(n, stream.channel, np.uint8),
            channels=self._channels,
        )


def _ticks(stream: Stream, low: int, high: int) -> list[tuple[int, Ticks]]:
    """When a stream is due in low <= tick < high, hour by hour."""
    first = -(-(low - stream.offset) // stream.period) * stream.period + stream.offset
    due = np.arange(first, high, stream.period, dtype=np.int64)
    hours = due // HOUR
    return [(int(hour), due[hours == hour]) for hour in np.unique(hours)]


def slots(counts: Sequence[int]) -> list[list[int]]:
    """For each bus with so many streams, when in a tick each sends: microseconds, evenly apart.

    Raises: ValueError when a bus has more streams than fit into a tick.
    """
    if any(count * 2 * JITTER > TICK for count in counts):
        raise ValueError(f"a tick of {TICK} microseconds has no room for {max(counts)} streams")
    return [[TICK * i // count for i in range(count)] for count in counts]

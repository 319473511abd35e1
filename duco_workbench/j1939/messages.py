"""The messages of a few parameter groups picked from a batch: single frames and long messages, in order of time."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..model import ERROR, EXTENDED, REMOTE, FrameBatch
from . import ids
from .transport import LongMessage

_PDU2 = 0xF000  # PDU formats from 240 on have no destination
_KIND = np.uint32(EXTENDED | REMOTE | ERROR)
_NUMBER = np.uint32(0x3FFFF)


def rows_of(frames: FrameBatch, pgns: Collection[int]) -> NDArray[np.intp]:
    """Indices of the data frames that carry one of these groups themselves, for any sender, destination, priority.

    Costs one table look-up a frame, however many groups are asked for.
    """
    number = frames.arbitration_id
    rows = np.flatnonzero(_wanted(frozenset(pgns))[(number >> np.uint32(8)) & _NUMBER])
    return frames.data_rows(rows[number[rows] & _KIND == EXTENDED])


def messages_of(frames: FrameBatch, long: Iterable[LongMessage], pgns: Collection[int]) -> list[LongMessage]:
    """Single frames and long messages of these groups alike, in order of time.

    Args:
        long: what :func:`~.transport.reassemble` made of the same batch.
    """
    rows = rows_of(frames, pgns)
    columns = (
        *(c[rows] for c in (frames.ts, frames.channel, frames.arbitration_id, frames.dlc)),
        frames.machine_of(rows),
    )
    found = [
        _single(ts, channel, number, frames.data[row, :dlc].tobytes(), machine)
        for row, ts, channel, number, dlc, machine in zip(rows.tolist(), *(c.tolist() for c in columns), strict=True)
    ]
    found += [m for m in long if m.pgn in pgns]
    return sorted(found, key=lambda m: m.ts)


def _single(ts: int, channel: int, number: int, data: bytes, machine: int) -> LongMessage:
    pgn = ids.pgn_of(number)
    destination = ids.GLOBAL if pgn & 0xFF00 >= _PDU2 else number >> 8 & 0xFF
    return LongMessage(ts, channel, pgn, number & 0xFF, destination, data, machine)


@lru_cache(maxsize=16)
def _wanted(pgns: frozenset[int]) -> NDArray[np.bool_]:
    """Bool (2**18): whether bits 8 to 25 of an id name one of these groups, whatever the destination."""
    table = np.zeros(1 << 18, bool)
    for pgn in pgns:
        table[pgn if pgn & 0xFF00 >= _PDU2 else slice(pgn & 0x3FF00, (pgn & 0x3FF00) + 256)] = True
    return table

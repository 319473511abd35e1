"""The rows the numpy engine works on: the frames of a batch, and behind them the messages put together from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..j1939.transport import LongMessage
from .checks import Frames
from .plan import Tables
from .vector_ids import NONE, Ids, identify
from .vector_walk import Payloads

_MOST_SHORT = 1 << 16  # numpy sorts numbers of 16 bits by counting them


class Rows(NamedTuple):
    """n frames and c long messages.

    Attributes:
        payloads: of all n + c.
        ids: u of the frames, and one of each long message.
        number: (n + c) which of them a row has.
    """

    payloads: Payloads
    ids: Ids
    number: NDArray[np.int64]


def rows_of(
    t: Tables,
    f: Frames,
    bus: NDArray[np.uint64],
    ids: Ids,
    number: NDArray[np.int64],
    done: Sequence[tuple[int, LongMessage]],
) -> Rows:
    """Frames and the long messages they completed, each with the row that did.

    Args:
        bus: (n) of every frame.
        ids: u of them.
        number: (n) which one every frame has.
    """
    words = f.words.reshape(-1, f.width)
    if not done:
        no_words = np.empty((0, 0), np.uint64)
        return Rows(Payloads(f.ts, f.lengths.astype(np.int64), words, no_words), ids, number)
    long = [message for _, message in done]
    at = np.array([row for row, _ in done])
    theirs = np.array([m.arbitration_id for m in long], np.uint32)
    of_long = identify(t, bus[at], np.zeros(len(at), np.uint8), theirs)
    lengths = np.concatenate([f.lengths, [len(m.data) for m in long]]).astype(np.int64)
    return Rows(
        Payloads(np.concatenate([f.ts, f.ts[at]]), lengths, words, _words([m.data for m in long])),
        Ids(*(np.concatenate(pair) for pair in zip(ids, of_long, strict=True))),
        np.concatenate([number, len(ids.message) + np.arange(len(long))]),
    )


def by_message(rows: Rows) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Every message here and its rows: by stream, those of a stream in order of time, equal times as they came."""
    message, ts = rows.ids.message, rows.payloads.ts
    streams, stream = np.unique(rows.ids.stream, return_inverse=True)
    lanes, lane = np.unique(np.where(message == NONE, NONE, message * len(streams) + stream), return_inverse=True)
    of_row = lane.astype(np.uint16 if len(lanes) <= _MOST_SHORT else np.int64)[rows.number]
    order = np.argsort(of_row, kind="stable")
    ends = np.cumsum(np.bincount(of_row, minlength=len(lanes)))
    _sort_by_time(order, ts, of_row, ends)
    messages = lanes // max(len(streams), 1)
    lasts = np.flatnonzero(np.append(messages[1:] != messages[:-1], len(messages) > 0))
    for number, part in zip(messages[lasts].tolist(), np.split(order, ends[lasts]), strict=False):
        if number != NONE:
            yield number, part


def _sort_by_time(order: NDArray[np.int64], ts: NDArray[np.int64], lane: NDArray[Any], ends: NDArray[np.int64]) -> None:
    """Sorts the lanes that are not in order of time: a long message's, and those of a log put together badly."""
    times, lanes = ts[order], lane[order]
    falls = (times[1:] < times[:-1]) & (lanes[1:] == lanes[:-1])
    for k in np.unique(lanes[1:][falls]).tolist():
        part = order[ends[k - 1] if k else 0 : ends[k]]
        part[:] = part[np.argsort(ts[part], kind="stable")]


def _words(payloads: list[bytes]) -> NDArray[np.uint64]:
    """Payloads (c) as words (c, words of the longest), zero behind their end."""
    width = -(-max(map(len, payloads)) // 8) * 8
    return np.frombuffer(b"".join(p.ljust(width, b"\0") for p in payloads), np.uint64).reshape(-1, width // 8)

"""The plan's tree of codecs, walked with whole columns of frames: what :mod:`.classify` does frame by frame."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .plan import Tables
from .vector_ids import NONE, find
from .vector_values import raw_of, signed


class Payloads(NamedTuple):
    """n frames, and behind them c messages put together from transport sessions.

    Attributes:
        ts, lengths: (n + c) microseconds UTC, bytes.
        frames: (n, words of a frame) their data.
        long: (c, words of the longest) theirs.
    """

    ts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    frames: NDArray[np.uint64]
    long: NDArray[np.uint64]

    def words(self, rows: NDArray[Any], count: int) -> NDArray[np.uint64]:
        """The first words (count, m) of rows (m) that all have so many."""
        n = len(self.frames)
        if not len(self.long) or not len(rows) or rows.max() < n:
            return np.ascontiguousarray(self.frames[rows, :count].T)
        words = np.empty((count, len(rows)), np.uint64)
        is_long = rows >= n
        words[:, is_long] = self.long[rows[is_long] - n, :count].T
        words[:, ~is_long] = self.frames[rows[~is_long], :count].T
        return words


class Node(NamedTuple):
    """Rows of one message that hold the same signals of one codec.

    Attributes:
        message: its index.
        first, held: its first signal, and how many from there on.
        rows: by stream and time.
        fit: entry of the plan that says how many signals are held.
        is_whole: all signals of the codec.
    """

    message: int
    first: int
    held: int
    rows: NDArray[np.int64]
    fit: int
    is_whole: bool


def walk(t: Tables, payloads: Payloads, message: int, rows: NDArray[np.int64]) -> list[Node]:
    """The nodes of a message's rows, a codec before those that hang from it.

    A row of an unknown multiplexer value has no node of that multiplexer; or none at all, where the plan says so.
    """
    unknown: list[NDArray[np.int64]] = []
    nodes = list(_nodes(t, payloads, message, rows, unknown))
    if t.keeps_unknown or not unknown:
        return nodes
    dropped = np.concatenate(unknown)
    kept = [node._replace(rows=node.rows[~np.isin(node.rows, dropped)]) for node in nodes]
    return [node for node in kept if len(node.rows)]


def _nodes(
    t: Tables, payloads: Payloads, message: int, rows: NDArray[np.int64], unknown: list[NDArray[np.int64]]
) -> Iterator[Node]:
    waiting = deque([(int(t.messages[message]["codec"]), rows)])
    while waiting:
        number, rows = waiting.popleft()
        codec = t.codecs[number]
        limit = int(codec["limit"])
        fits = np.minimum(payloads.lengths[rows], limit) + int(codec["fit"])
        for fit in np.flatnonzero(np.bincount(fits - int(codec["fit"]))) + int(codec["fit"]):
            if t.fit[fit]:
                chosen = rows[fits == fit]
                is_whole = fit == codec["fit"] + limit
                yield Node(message, int(codec["first"]), int(t.fit[fit]), chosen, int(fit), bool(is_whole))
        for mux in t.muxes[codec["mux_first"] : codec["mux_end"]]:
            able = rows[t.fit[fits] > mux["position"]]
            waiting.extend(_branches(t, payloads, mux, able, unknown))


def _branches(
    t: Tables, payloads: Payloads, mux: Any, rows: NDArray[np.int64], unknown: list[NDArray[np.int64]]
) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """The codecs that the values of a multiplexer call for, and the rows of these; other rows are ``unknown``."""
    if not len(rows):
        return
    low, high = int(mux["first"]), int(mux["end"])
    selected = _selected(t, payloads, int(mux["selector"]), rows)
    codec = find(t.branch_values[low:high], t.branch_codecs[low:high], selected)
    if (codec == NONE).any():
        unknown.append(rows[codec == NONE])
    for number in np.unique(codec[codec != NONE]).tolist():
        yield number, rows[codec == number]


def _selected(t: Tables, payloads: Payloads, selector: int, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """The values of a multiplexer signal."""
    g = t.signals[selector : selector + 1, np.newaxis]
    words = payloads.words(rows, int(g["word"][0, 0]) + int(g["two_words"][0, 0]) + 1)
    value: NDArray[np.int64] = signed(raw_of(words, g), g)[0]
    scale, offset = float(g["scale"][0, 0]), float(g["offset"][0, 0])
    return value if (scale, offset) == (1.0, 0.0) else (value * scale + offset).astype(np.int64)

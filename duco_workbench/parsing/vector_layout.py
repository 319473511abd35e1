"""Where every row of the numpy engine goes: what :mod:`.layout` does, for all nodes at once.

A *part* is the rows of one node and stream; with one signal it is an *entry*: rows that stand together in the output.
A series is one entry nearly always, and several where its message came at several lengths, or under several
multiplexer values; those are then put in order of time.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..runs import Runs
from .plan import Tables
from .vector_walk import Node

_NO_NUMBERS = np.empty(0, np.int64)


class Parts(NamedTuple):
    """The p parts of a node: first rows there, streams, and where in the batch each appears first."""

    begins: NDArray[np.int64]
    streams: NDArray[np.int64]
    appears: NDArray[np.int64]


class Layout(NamedTuple):
    """Of k series.

    Attributes:
        runs: their rows and times.
        streams, labels: (k) of each.
        places: of each node, (signals, parts): the first row of every entry.
        filled, wanted: rows of series of several entries, as they are filled and in order of time.
    """

    runs: Runs
    streams: NDArray[np.int64]
    labels: NDArray[np.int64]
    places: list[NDArray[np.int64]]
    filled: NDArray[np.int64]
    wanted: NDArray[np.int64]


class _Entries(NamedTuple):
    """e entries, columns (e); :func:`_entries` writes them in this order."""

    stream: NDArray[np.int64]
    label: NDArray[np.int64]
    appears: NDArray[np.int64]  # its part
    rows: NDArray[np.int64]  # how many
    at: NDArray[np.int64]  # its first time, among those of all parts

    def in_order(self, order: NDArray[np.int64]) -> _Entries:
        return _Entries(*(column[order] for column in self))


def parts_of(node: Node, streams: NDArray[np.int64], sooner: int) -> Parts:
    """The parts of a node.

    Args:
        streams: of all rows of the batch.
        sooner: rows before this one are come across before all others: the compiled engine tells the node of a plain
            frame by one look at its id, and walks the tree for the others afterwards.
    """
    of_rows = streams[node.rows]
    begins = np.flatnonzero(np.r_[True, of_rows[1:] != of_rows[:-1]])
    first = np.minimum.reduceat(node.rows, begins)
    return Parts(begins, of_rows[begins], np.where(first < sooner, first, first + len(streams)))


def layout(t: Tables, nodes: list[Node], parts: list[Parts], ts: NDArray[np.int64]) -> Layout:
    """Series in order of their stream's first appearance, then of label; entries of one series in order of appearance.

    Args:
        ts: of all rows of the batch.
    """
    entries = _entries(t, nodes, parts)
    order = _order(entries)
    e = entries.in_order(order)
    begins = np.cumsum(e.rows) - e.rows
    place = np.empty(len(order), np.int64)
    place[order] = begins
    ends = np.cumsum([node.held * len(p.begins) for node, p in zip(nodes, parts, strict=True)])
    places = [
        part.reshape(node.held, -1) for part, node in zip(np.split(place, ends[:-1].astype(int)), nodes, strict=False)
    ]
    heads = np.flatnonzero(_changes(e.stream, e.label))
    starts = np.append(begins[heads], e.rows.sum())
    times = np.concatenate([_NO_NUMBERS, *(ts[node.rows] for node in nodes)])
    runs, filled, wanted = _merged(e, heads, Runs(starts, e.at[heads], times))
    return Layout(runs, e.stream[heads], e.label[heads], places, filled, wanted)


def _entries(t: Tables, nodes: list[Node], parts: list[Parts]) -> _Entries:
    """In order of node, signal and part."""
    blocks, begin = [np.empty((len(_Entries._fields), 0), np.int64)], 0
    for node, p in zip(nodes, parts, strict=True):
        label = t.signals["label"][node.first : node.first + node.held, np.newaxis]
        count = np.diff(p.begins, append=len(node.rows))
        block = np.empty((len(_Entries._fields), node.held, len(p.begins)), np.int64)
        block[0], block[1] = p.streams, label + t.groups[t.messages[node.message]["group"]]["first"]
        block[2], block[3], block[4] = p.appears, count, begin + p.begins
        blocks.append(block.reshape(len(block), -1))
        begin += len(node.rows)
    return _Entries(*np.concatenate(blocks, axis=1))


def _order(e: _Entries) -> NDArray[np.int64]:
    """By stream, label and appearance; entries that one frame calls for stay in the order of the walk."""
    streams, which = np.unique(e.stream, return_inverse=True)
    first = np.full(len(streams), np.iinfo(np.int64).max)
    np.minimum.at(first, which, e.appears)
    return np.lexsort((e.appears, e.label, first[which]))


def _merged(e: _Entries, heads: NDArray[np.int64], runs: Runs) -> tuple[Runs, NDArray[np.int64], NDArray[np.int64]]:
    """The runs, with times of their own for series of several entries; the rows of these as filled, and as wanted."""
    several = np.flatnonzero(np.diff(heads, append=len(e.rows)) > 1)
    if not len(several):
        return runs, _NO_NUMBERS, _NO_NUMBERS
    series = np.repeat(np.arange(len(heads)), np.diff(heads, append=len(e.rows)))
    chosen = np.isin(series, several)
    times = runs.times[_ranges(e.at[chosen], e.rows[chosen])]
    counts = runs.counts[several]
    filled = _ranges(runs.starts[several], counts)
    by_time = np.lexsort((times, np.repeat(several, counts)))
    at = runs.at.copy()
    at[several] = len(runs.times) + np.cumsum(counts) - counts
    return Runs(runs.starts, at, np.concatenate([runs.times, times[by_time]])), filled, filled[by_time]


def _changes(*columns: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Where a row differs from the one before; true for the first one."""
    changed = np.ones(len(columns[0]), bool)
    changed[1:] = np.logical_or.reduce([c[1:] != c[:-1] for c in columns])
    return changed


def _ranges(at: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """``at[i], at[i] + 1, ...``, ``counts[i]`` of them, one after the other."""
    begins = np.cumsum(counts) - counts
    return np.repeat(at - begins, counts) + np.arange(counts.sum())

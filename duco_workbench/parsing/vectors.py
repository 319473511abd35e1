"""The numpy engine: what a :class:`~.decoder.Decoder` runs on where numba is not installed. Same results, slower.

::

    frames ──► vector_ids: message and stream of every id ──► j1939.transport: long messages
                         │                                         │
                         └──► vector_rows: rows of each message ◄──┘
                                    │
                                    └──► vector_walk: nodes, rows that hold the same signals
                                              ├──► vector_layout: where each series goes
                                              └──► vector_values, vector_output: bits to values, a node at a time

It takes the place of :mod:`.compiled`, and learns nothing of a bus.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import j1939
from ..columns import Samples
from ..j1939.transport import OUTCOMES, LongMessage, Sessions
from ..model import FrameBatch
from . import vector_ids
from .checks import Frames, bad_bus, bad_length, columns_of
from .engine import Explained
from .plan import Plan
from .vector_ids import NONE, Ids
from .vector_layout import Layout, layout, parts_of
from .vector_output import Writer
from .vector_rows import Rows, by_message, rows_of
from .vector_walk import walk

_Bus = tuple[str, str]  # machine ("" where a batch names none), channel


class _Last(NamedTuple):
    """What is known of the batch decoded last."""

    rows: Rows
    long: list[LongMessage]
    outcomes: dict[str, int]


class Vectorised:
    """An :class:`~.engine.Engine` of numpy alone."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._writer = Writer(plan.tables)

    def sessions(self) -> Sessions:
        return Sessions()

    def decode(self, frames: FrameBatch, sessions: Sessions, is_last: bool) -> Samples:
        buses, bus_map = _buses(frames)
        t, f = self._plan.tables, columns_of(frames, bus_map)
        bus = _bus_of(f)
        keys, number = vector_ids.distinct(vector_ids.key_of(bus, f.flags, f.ids))
        ids = vector_ids.identify(t, *vector_ids.parts_of(keys))
        of_sessions = np.flatnonzero(ids.is_transport[number]) if len(number) else number
        done = sessions.read(frames, of_sessions)
        if is_last:
            sessions.give_up()
        rows = rows_of(t, f, bus, ids, number, done)
        self._last = _Last(rows, [message for _, message in done], sessions.counted())
        with np.errstate(all="ignore"):  # what overflows is infinite, and no matter for a warning
            return self._samples(rows, buses)

    def explain(self, frames: FrameBatch) -> Explained:
        rows, long, outcomes = self._last
        counts = {"frames": len(frames), **_counts(rows, len(frames)), **{name: outcomes[name] for name in OUTCOMES}}
        return Explained(long, self._texts(rows), counts)

    def _samples(self, rows: Rows, buses: list[_Bus]) -> Samples:
        t, n = self._plan.tables, len(rows.payloads.frames)
        nodes = [node for message, mine in by_message(rows) for node in walk(t, rows.payloads, message, mine)]
        plain, streams = self._plain(rows.ids), rows.ids.stream[rows.number]
        parts = [parts_of(node, streams, n if node.is_whole and plain[node.message] else 0) for node in nodes]
        placed = layout(t, nodes, parts, rows.payloads.ts)
        out = self._writer.write(rows.payloads, nodes, parts, placed)
        machines, sources = _names(placed, buses)
        signals, units = self._plan.labels[placed.labels], self._plan.units[placed.labels]
        return Samples(signals, sources, units, placed.runs, None, out.value, out.status, out.integers, machines)

    def _plain(self, ids: Ids) -> NDArray[np.bool_]:
        """The messages whose frames the compiled engine does not walk."""
        messages = self._plan.tables.messages
        plain: NDArray[np.bool_] = (messages["is_tree"] == 0) & (messages["has_text"] == 0)
        plain[ids.message[ids.is_transport & (ids.message != NONE)]] = False
        return plain

    def _texts(self, rows: Rows) -> list[tuple[int, int]]:
        """Rows of messages with texts, and these."""
        if not self._plan.texts:
            return []
        message = rows.ids.message
        has_text = np.isin(message, list(self._plan.texts))[rows.number]
        found = np.flatnonzero(has_text)
        return list(zip(found.tolist(), message[rows.number[found]].tolist(), strict=True))


def _buses(frames: FrameBatch) -> tuple[list[_Bus], NDArray[np.uint64]]:
    """The buses of a batch, and the number there of each (machine, channel)."""
    names = [(machine, channel) for machine in frames.machines or ("",) for channel in frames.channels]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return list(numbers), np.array([numbers[name] for name in names], np.uint64)


def _bus_of(f: Frames) -> NDArray[np.uint64]:
    """The number of every frame's bus.

    Raises:
        DataError: ``bad_frames``, when a frame names none of them, or is longer than its data.
    """
    at = f.channel.astype(np.int64)
    if len(at) and f.lengths.max() > 8 * f.width:
        raise bad_length(f.width)
    if len(f.machine):
        at += f.machine.astype(np.int64) * f.channels
    if len(at) and (f.channel.max() >= f.channels or at.max() >= len(f.bus_map)):
        raise bad_bus(f.channels)
    return f.bus_map[at]


def _counts(rows: Rows, n: int) -> dict[str, int]:
    """What n frames were, by their ids."""
    ids, each = rows.ids, np.bincount(rows.number[:n], minlength=len(rows.ids.message))
    unknown = (ids.message == NONE) & ~ids.has_no_data & (each > 0)
    return {
        "decoded": int(each[ids.message != NONE].sum()),
        "transport": int(each[unknown & ids.is_transport].sum()),
        "unknown": int(each[unknown & ~ids.is_transport].sum()),
        "unknown_ids": int((unknown & ~ids.is_transport).sum()),
        "skipped": int(each[ids.has_no_data].sum()),
    }


def _names(placed: Layout, buses: list[_Bus]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Machines (() where nobody names them) and sources of the series."""
    streams, which = np.unique(placed.streams, return_inverse=True)
    machines, sources = [], []
    for bus, sender in map(vector_ids.stream_parts, streams.tolist()):
        machine, channel = buses[bus]
        machines.append(machine)
        sources.append(channel if sender < 0 else j1939.source_name(channel, sender))
    of_series = which.tolist()
    return tuple(machines[k] for k in of_series) if any(machines) else (), tuple(sources[k] for k in of_series)

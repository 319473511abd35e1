"""The plan: a database compiled once into flat tables that the kernels walk without asking Python anything.

::

    message ──► codec ──► signals, sorted by their last bit   (so data of d bytes hold the first fit[d] of them)
                  │
                  └─► multiplexers ──► value ──► codec        (nested and extended multiplexing: a tree of codecs)

Every signal has a *label*: ``Message.Signal`` and its unit, numbered within its *group*, the messages of one name. A
series is a label seen from one source.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import j1939
from ..names import Names
from .database import Database, Message, Signal
from .texts import TextField, text_fields, text_signals
from .validity import thresholds

LINEAR, LINEAR_UNSIGNED, INTEGER, INTEGER_UNSIGNED, SHIFTED, SHIFTED_UNSIGNED, WIDE = range(7)
FLOAT16, FLOAT32, FLOAT64 = range(7, 10)
_EXACT = 1 << 53  # integers below it are exact in float64

SIGNAL = np.dtype(
    [
        ("word", "i4"),  # of 64 bits, where it begins
        ("shift", "u8"),  # bit within that word; in the order bytes are read when big
        ("length", "u8"),
        ("mask", "u8"),
        ("two_words", "u1"),
        ("big", "u1"),
        ("kind", "u1"),
        ("judged", "u1"),
        ("label", "i4"),
        ("sign", "u8"),  # the sign bit, or 0
        ("scale", "f8"),
        ("offset", "f8"),
        ("int_scale", "i8"),
        ("int_offset", "i8"),
        ("out_of_range", "u8"),  # least raw value of each status
        ("error", "u8"),
        ("not_available", "u8"),
    ],
    align=True,
)
CODEC = np.dtype(
    [
        ("first", "i4"),  # its signals
        ("fit", "i4"),  # fit[fit + d]: how many of them data of d bytes hold
        ("limit", "i4"),  # more bytes than this change nothing
        ("mux_first", "i4"),
        ("mux_end", "i4"),
    ],
    align=True,
)
MUX = np.dtype([("selector", "i4"), ("position", "i4"), ("first", "i4"), ("end", "i4")], align=True)
MESSAGE = np.dtype(
    [("codec", "i4"), ("group", "i4"), ("is_j1939", "u1"), ("has_text", "u1"), ("is_tree", "u1")], align=True
)
GROUP = np.dtype([("first", "i4"), ("count", "i4")], align=True)


class Tables(NamedTuple):
    """What the kernels read. ``branch_*`` are the values of a multiplexer, sorted, and the codec of each."""

    signals: NDArray[Any]
    codecs: NDArray[Any]
    fit: NDArray[np.int32]
    muxes: NDArray[Any]
    branch_values: NDArray[np.int64]
    branch_codecs: NDArray[np.int32]
    messages: NDArray[Any]
    groups: NDArray[Any]
    exact_ids: NDArray[np.uint32]
    exact_messages: NDArray[np.int32]
    group_keys: NDArray[np.uint32]  # parameter groups: j1939.match_key of a message's id
    group_messages: NDArray[np.int32]
    keeps_unknown: bool  # a frame of an unknown multiplexer value gives the signals all values have


@dataclass(frozen=True, slots=True)
class Plan:
    """A compiled database.

    Attributes:
        labels, units: of every label.
        texts: the ASCII parameters of a message, by its index.
        most_codecs: how many codecs one frame can call for at most.
        has_j1939: some message is found by its parameter group, so transport sessions are worth following.
    """

    tables: Tables
    labels: Names
    units: Names
    texts: dict[int, tuple[TextField, ...]]
    most_codecs: int
    has_j1939: bool


def compile_plan(database: Database, validity: bool = True, keeps_unknown: bool = True) -> Plan:
    """The plan of ``database``; with ``validity`` false every J1939 reading is a number that is ok."""
    builder = _Builder(validity, keeps_unknown)
    for message in database.messages:
        builder.add(message)
    return builder.plan(database)


def signals_by_series(database: Database) -> dict[str, list[Signal]]:
    """The signals whose values become the series of each name; several where they are never in one frame."""
    found: defaultdict[str, list[Signal]] = defaultdict(list)
    groups: dict[str, _Group] = {}
    for message in database.messages:
        group = groups.setdefault(message.name, _Group(len(groups)))
        for label, signal in zip(_labels(message, group), message.signals, strict=True):
            found[group.names[label]].append(signal)
    return found


@dataclass(slots=True)
class _Group:
    """The messages of one name: a series is found by its label's number here."""

    number: int
    labels: dict[tuple[str, int], int] = field(default_factory=dict)  # (signal, repeat) -> number
    names: list[str] = field(default_factory=list)
    units: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Builder:
    validity: bool
    keeps_unknown: bool
    signals: list[tuple[Any, ...]] = field(default_factory=list)
    codecs: list[tuple[int, ...]] = field(default_factory=list)
    fit: list[int] = field(default_factory=list)
    muxes: list[tuple[int, ...]] = field(default_factory=list)
    branches: list[tuple[int, int]] = field(default_factory=list)
    messages: list[tuple[Any, ...]] = field(default_factory=list)
    groups: dict[str, _Group] = field(default_factory=dict)
    texts: dict[int, tuple[TextField, ...]] = field(default_factory=dict)
    most_codecs: int = 1

    def add(self, message: Message) -> None:
        group = self.groups.setdefault(message.name, _Group(len(self.groups)))
        tree = _Tree(message, _labels(message, group), text_signals(message))
        root, most = self.codec(tree, tree.children[None], ())
        self.most_codecs = max(self.most_codecs, most)
        if fields := text_fields(message):
            self.texts[len(self.messages)] = fields
        self.messages.append((root, group.number, message.is_j1939, bool(fields), most > 1))

    def codec(self, tree: _Tree, members: list[int], path: tuple[str, ...]) -> tuple[int, int]:
        """Adds the codec of these signals and of its multiplexers; its number, and how many may be active at once."""
        members = sorted(members, key=lambda i: tree.message.signals[i].end_bit)
        number, first = len(self.codecs), len(self.signals)
        self.codecs.append(())
        self.signals += [self.signal(tree, i) for i in members]
        fit, limit = self.fitting([tree.message.signals[i].end_bit for i in members])
        muxes, most = [], 1
        for position, name, values in tree.multiplexers(members, path):
            grown = {chosen: self.codec(tree, list(chosen), (*path, name)) for chosen in set(values.values())}
            start = len(self.branches)
            self.branches += [(value, grown[chosen][0]) for value, chosen in sorted(values.items())]
            muxes.append((first + position, position, start, len(self.branches)))
            most += max(count for _, count in grown.values())
        self.codecs[number] = (first, fit, limit, len(self.muxes), len(self.muxes) + len(muxes))
        self.muxes += muxes
        return number, most

    def fitting(self, ends: list[int]) -> tuple[int, int]:
        """Adds how many signals with these last bits fit into 0, 1, 2 ... bytes."""
        limit, start = (ends[-1] + 7) // 8 if ends else 0, len(self.fit)
        self.fit += np.searchsorted(ends, 8 * np.arange(limit + 1), side="right").tolist()
        return start, limit

    def signal(self, tree: _Tree, i: int) -> tuple[Any, ...]:
        s, m = tree.message.signals[i], tree.message
        parameters = m.is_j1939 and j1939.pgn_of(m.frame_id) not in j1939.ISO_15765_PGNS
        limits = None
        if self.validity:
            is_plain = not (s.is_signed or s.is_float)
            limits = thresholds(s.length, is_plain=is_plain, is_j1939=parameters, rule=s.validity)
        kind, int_scale, int_offset = _kind(s)
        shift = s.first_bit % 64
        return (
            s.first_bit // 64,
            shift,
            s.length,
            (1 << s.length) - 1,
            shift + s.length > 64,
            s.byte_order == "big_endian",
            kind,
            limits is not None,
            tree.labels[i],
            1 << (s.length - 1) if s.is_signed and not s.is_float else 0,
            float(s.scale),
            float(s.offset),
            int_scale,
            int_offset,
            *(limits or (0, 0, 0)),
        )

    def plan(self, database: Database) -> Plan:
        by_group = database.by_group()
        sizes = [len(g.names) for g in self.groups.values()]
        firsts = [sum(sizes[:i]) for i in range(len(sizes))]
        tables = Tables(
            np.array(self.signals, SIGNAL),
            np.array(self.codecs, CODEC),
            np.array(self.fit, np.int32),
            np.array(self.muxes, MUX),
            np.array([value for value, _ in self.branches], np.int64),
            np.array([codec for _, codec in self.branches], np.int32),
            np.array(self.messages, MESSAGE),
            np.array(list(zip(firsts, sizes, strict=True)), GROUP),
            *_sorted_index(database.by_id()),
            *_sorted_index(by_group),
            self.keeps_unknown,
        )
        names = [name for g in self.groups.values() for name in g.names]
        units = [unit for g in self.groups.values() for unit in g.units]
        return Plan(tables, Names.of(names), Names.of(units), self.texts, self.most_codecs, bool(by_group))


class _Tree:
    """The signals of a message by the multiplexer they hang from."""

    def __init__(self, message: Message, labels: list[int], without: frozenset[int]) -> None:
        self.message, self.labels = message, labels
        self.children: dict[str | None, list[int]] = defaultdict(list)
        for i, s in enumerate(message.signals):
            if i not in without:
                self.children[s.multiplexer_signal].append(i)

    def multiplexers(
        self, members: list[int], path: tuple[str, ...]
    ) -> Iterator[tuple[int, str, dict[int, tuple[int, ...]]]]:
        """Position among ``members``, name, and the signals each value calls for, of every multiplexer there.

        One that stands above itself (a damaged file) and the second of one name are passed over.
        """
        done = set(path)
        for position, i in enumerate(members):
            s = self.message.signals[i]
            if not s.is_multiplexer or s.is_float or s.name in done:
                continue
            done.add(s.name)
            values: dict[int, list[int]] = defaultdict(list)
            for child in self.children.get(s.name, ()):
                for value in self.message.signals[child].multiplexer_ids:
                    values[value - (1 << 64) if value >= 1 << 63 else value].append(child)
            if values:
                yield position, s.name, {value: tuple(chosen) for value, chosen in values.items()}


def _labels(message: Message, group: _Group) -> list[int]:
    """The label of every signal. A name repeated where both can be present, or with another unit, gets ``#2``."""
    numbers, seen = [], defaultdict[str, list[Signal]](list)
    for s in message.signals:
        repeat = sum(not _exclusive(s, other) for other in seen[s.name])
        seen[s.name].append(s)
        while (found := group.labels.get((s.name, repeat))) is not None and group.units[found] != s.unit:
            repeat += 1
        if found is None:
            found = group.labels[s.name, repeat] = len(group.names)
            group.names.append(f"{message.name}.{s.name}" + (f"#{repeat + 1}" if repeat else ""))
            group.units.append(s.unit)
        numbers.append(found)
    return numbers


def _exclusive(a: Signal, b: Signal) -> bool:
    """Never in one frame: they hang from different values of one multiplexer."""
    same = a.multiplexer_signal is not None and a.multiplexer_signal == b.multiplexer_signal
    return same and not set(a.multiplexer_ids) & set(b.multiplexer_ids)


def _kind(s: Signal) -> tuple[int, int, int]:
    """How a raw value becomes float64 with no more rounding than exact integers have; integer scale and offset.

    ``SHIFTED``: an integer scale is exact, an offset that is none is added to the rounded product. ``WIDE``: integers
    that need more than 64 bits.
    """
    if s.is_float:
        return {16: FLOAT16, 32: FLOAT32, 64: FLOAT64}[s.length], 0, 0
    linear = LINEAR_UNSIGNED if s.length == 64 and not s.is_signed else LINEAR
    is_whole = s.offset == int(s.offset)
    if s.scale != int(s.scale) or not (is_whole or isinstance(s.scale, int)):
        return linear, 0, 0
    scale, offset = int(s.scale), int(s.offset) if is_whole else 0
    raws = (-(1 << (s.length - 1)), (1 << (s.length - 1)) - 1) if s.is_signed else (0, (1 << s.length) - 1)
    reached = [raw * scale for raw in raws] + [raw * scale + offset for raw in raws] + [scale, offset]
    if max(map(abs, reached)) < _EXACT:
        return linear, 0, 0
    if max(*raws, *reached) < 1 << 63 and min(reached) >= -(1 << 63):
        return INTEGER if is_whole else SHIFTED, scale, offset
    if not s.is_signed and min(reached) >= 0 and max(reached) < 1 << 64 and max(scale, offset) < 1 << 63:
        return INTEGER_UNSIGNED if is_whole else SHIFTED_UNSIGNED, scale, offset
    return (WIDE, scale, offset) if max(abs(scale), abs(offset)) < 1 << 63 else (linear, 0, 0)


def _sorted_index(index: dict[int, int]) -> tuple[NDArray[np.uint32], NDArray[np.int32]]:
    keys = sorted(index)
    return np.array(keys, np.uint32), np.array([index[k] for k in keys], np.int32)

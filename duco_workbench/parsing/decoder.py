"""The decoder: frames in, samples, texts, trouble codes and counts out."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import j1939
from ..columns import Samples, Text
from ..errors import DataError
from ..j1939.dm1 import dtcs_of
from ..j1939.transport import OUTCOMES, LongMessage, reassemble
from ..model import Dtc, FrameBatch
from . import kernels, values
from .database import Database, Message, Signal
from .kernels import EMPTY, PIECE, SLOT, STREAM, Frames, State, Work
from .plan import compile_plan
from .texts import read_texts
from .thinning import thin

_FEWEST_SLOT_BITS, _MOST_IDLE_SLOTS = 12, 1 << 16  # learned entries are dropped between calls beyond the latter
_WIDEST_FRAME = 64
CHUNK = 65_536  # frames
_MOST_CHANNEL_MAPS = 4096
_COUNTED = (
    ("decoded", kernels.DECODED),
    ("transport", kernels.TRANSPORT),
    ("unknown", kernels.UNKNOWN),
    ("unknown_ids", kernels.UNKNOWN_IDS),
    ("skipped", kernels.SKIPPED),
)


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a batch became.

    Attributes:
        samples: rows sorted by (series, ts).
        texts: ASCII parameters, in order of time.
        dtcs: active trouble codes (DM1), in order of time.
        counts: ``frames`` = ``decoded`` (the database has their message) + ``transport`` (TP frames it has none for)
            + ``unknown`` (frames of ``unknown_ids`` different ids) + ``skipped`` (remote and error frames); and how
            transport sessions ended (``tp_*``).
    """

    samples: Samples
    texts: tuple[Text, ...]
    dtcs: tuple[Dtc, ...]
    counts: dict[str, int]


class Decoder:
    """Decodes any number of batches with one database.

    It learns the ids it meets, nothing else: what a batch becomes does not depend on the batches before it. Calls from
    several threads wait for each other; give each thread its own.

    Args:
        database: from :func:`~duco_workbench.parsing.load`.
        validity: judge J1939 readings (:mod:`.validity`); false leaves every raw value a number.
    """

    def __init__(self, database: Database, validity: bool = True) -> None:
        self.database = database
        self._plan = compile_plan(database, validity)
        self._channels: dict[str, int] = {}
        self._channel_names: list[str] = []
        self._maps: dict[tuple[str, ...], NDArray[np.int64]] = {}
        self._lock = threading.Lock()
        self._epoch = self._generation = self._capacity = 0
        self._reserve(0)
        self._clear(_FEWEST_SLOT_BITS)

    def decode(self, frames: FrameBatch) -> Samples:
        """The samples of ``frames``, one row a value; frames are in order of time on each bus (else samples are put in
        order, but transport sessions may be torn).

        Signals are named ``Message.Signal``; sources ``can0``, or ``can0:03`` for messages matched as J1939.

        Raises:
            DataError: ``bad_frames``, when a column has a wrong type or shape, or a length or channel is out of range.
        """
        return self.decode_all(frames).samples

    def stream(self, frames: FrameBatch | Iterable[FrameBatch], chunk: int = CHUNK) -> Iterator[Decoded]:
        """:meth:`decode_all`, ``chunk`` frames at a time: of one batch, or of an opened log, whatever its length."""
        for batch in (frames,) if isinstance(frames, FrameBatch) else frames:
            for begin in range(0, len(batch), chunk):
                yield self.decode_all(batch[begin : begin + chunk])

    def decode_all(self, frames: FrameBatch) -> Decoded:
        """Samples as :meth:`decode` gives them, and texts, trouble codes and counts.

        Raises:
            DataError: ``bad_frames``, when a column has a wrong type or shape, or a length or channel is out of range.
        """
        long: list[LongMessage] = []
        outcomes: Mapping[str, int] = {}
        if self._plan.has_j1939 and len(rows := j1939.transport_rows(frames.arbitration_id)):
            long, outcomes = reassemble(frames, rows)
        with self._lock:
            batch = _checked(frames, self._channel_map(frames.channels))
            batches = [_as_frames(long, batch.channel_map), batch] if long else [batch]
            parts = self._parts(batches)
            samples = self._samples(_joined(*parts) if long else parts[0])
            if len(self._state.slots) > _MOST_IDLE_SLOTS:
                self._clear(_FEWEST_SLOT_BITS)
        codes = dtcs_of(frames, long) if self._plan.has_j1939 else []
        counts = {"frames": len(frames), **parts[-1].counts, **{key: outcomes.get(key, 0) for key in OUTCOMES}}
        return Decoded(samples, self._texts(frames, long, parts), tuple(codes), counts)

    def _parts(self, batches: list[Frames]) -> list[_Part]:
        """Each batch decoded; all again when one of them made the state start anew, which voids stream numbers.

        The last one's columns have room behind its rows for those of the others.
        """
        while True:
            generation = self._generation
            parts: list[_Part] = []
            for batch in batches:
                is_last = len(parts) == len(batches) - 1
                parts.append(self._part(batch, sum(len(p.rows.ts) for p in parts) if is_last else 0))
            if generation == self._generation:
                return parts

    def _part(self, f: Frames, room: int) -> _Part:
        tables = self._plan.tables
        self._reserve(len(f.ts))
        self._classify(f)
        cells, rows, keys = kernels.layout(tables, self._state, self._work)
        n = rows + room
        out = values.Output(
            np.empty(n, np.int32), np.empty(n, np.int64), np.empty(n, np.float64), np.empty(n, np.uint8)
        )
        values.fill(tables, self._state, f, self._work, cells, out)
        counts = self._work.counts.tolist()
        return _Part(
            out, keys, {name: counts[at] for name, at in _COUNTED}, self._work.texts[: counts[kernels.TEXTS]].tolist()
        )

    def _classify(self, f: Frames) -> None:
        while True:
            self._work.counts[:] = 0
            self._work.counts[kernels.EPOCH] = self._epoch = self._epoch % 0x7FFF_FFFF + 1
            outcome = kernels.classify(self._plan.tables, self._state, f, self._work)
            if outcome == kernels.DONE:
                return
            self._clear(self._slot_bits + (outcome == kernels.FULL))
            if outcome == kernels.BAD_LENGTH:
                raise DataError("bad_frames", f"a dlc is greater than the {8 * f.words.shape[1]} bytes of its data")
            if outcome == kernels.BAD_CHANNEL:
                raise DataError("bad_frames", f"a channel is not one of the {len(f.channel_map)} named")

    def _samples(self, part: _Part) -> Samples:
        streams = self._state.streams
        for number in range(len(self._sources), int(self._state.used[kernels.STREAMS_USED])):
            channel, address = self._channel_names[streams[number]["channel"]], int(streams[number]["source"])
            self._sources.append(channel if address < 0 else j1939.source_name(channel, address))
        sources, labels = self._sources, part.keys & 0xFFFF_FFFF
        return Samples(
            tuple(self._plan.label_names[labels].tolist()),
            tuple([sources[i] for i in (part.keys >> 32).tolist()]),
            tuple(self._plan.label_units[labels].tolist()),
            *part.rows,
        )

    def _texts(self, frames: FrameBatch, long: list[LongMessage], parts: list[_Part]) -> tuple[Text, ...]:
        short = [
            (
                LongMessage(
                    int(frames.ts[i]),
                    int(frames.channel[i]),
                    0,
                    int(frames.arbitration_id[i]) & 0xFF,
                    j1939.GLOBAL,
                    frames.data[i, : frames.dlc[i]].tobytes(),
                ),
                message,
            )
            for i, message in parts[-1].texts
        ]
        found = short + [(long[i], message) for part in parts[:-1] for i, message in part.texts]
        return tuple(
            Text(m.ts, signal, j1939.source_name(frames.channels[m.channel], m.source), text)
            for m, message in sorted(found, key=lambda pair: pair[0].ts)
            for signal, text in read_texts(self._plan.texts[message], m.data)
        )

    def _channel_map(self, channels: tuple[str, ...]) -> NDArray[np.int64]:
        """The decoder's own number of each of these buses."""
        if channels not in self._maps:
            if len(self._maps) > _MOST_CHANNEL_MAPS:
                self._maps, self._channels = {}, {}
                self._clear(self._slot_bits)
            for name in channels:
                if name not in self._channels:
                    self._channels[name] = len(self._channels)
            self._channel_names = list(self._channels)
            self._maps[channels] = np.array([self._channels[name] for name in channels], np.int64)
        return self._maps[channels]

    def _clear(self, slot_bits: int) -> None:
        """Forgets every id and stream; the table then has ``2**slot_bits`` slots."""
        self._slot_bits = slot_bits
        self._generation += 1
        self._sources: list[str] = []
        slots, streams = np.zeros(1 << slot_bits, SLOT), np.zeros(1 << (slot_bits - 1), STREAM)
        slots["key"] = EMPTY
        self._state = State(slots, streams, np.zeros(1 << (slot_bits - 1), PIECE), np.zeros(3, np.int64))

    def _reserve(self, frames: int) -> None:
        """Buffers for a batch of so many frames."""
        if frames <= self._capacity and self._capacity:
            return
        self._capacity = max(4096, frames)
        pairs = self._capacity * self._plan.most_codecs
        self._work = Work(
            frames=np.empty(pairs, np.int32),
            pairs=np.empty(pairs, np.int32),
            sorted=np.empty(pairs, np.int32),
            touched=np.empty(pairs, np.int32),
            texts=np.empty((self._capacity, 2), np.int32),
            active=np.empty(self._plan.most_codecs + 1, np.int32),
            counts=np.zeros(kernels.COUNTS, np.int64),
        )


class _Part(NamedTuple):
    """One batch decoded: rows, ``stream << 32 | label`` of each series, counts, and the (frame, message) with texts."""

    rows: values.Output
    keys: NDArray[np.int64]
    counts: dict[str, int]
    texts: list[list[int]]


def _joined(long: _Part, part: _Part) -> _Part:
    """The rows of ``long`` put into the room ``part`` has behind its own; all sorted again if they share a series."""
    number = {key: i for i, key in enumerate(part.keys.tolist())}
    of_frames = len(number)
    renumbered = [number.setdefault(key, len(number)) for key in long.keys.tolist()]
    at = len(part.rows.ts) - len(long.rows.ts)
    added = long.rows._replace(series=np.array(renumbered, np.int32)[long.rows.series])
    rows = part.rows
    for i in range(len(rows)):
        rows[i][at:] = added[i]
    if any(i < of_frames for i in renumbered):
        by_time = np.lexsort((rows.ts, rows.series))
        rows = values.Output(rows.series[by_time], rows.ts[by_time], rows.value[by_time], rows.status[by_time])
    return part._replace(rows=rows, keys=np.array(list(number), np.int64))


def _checked(frames: FrameBatch, channel_map: NDArray[np.int64]) -> Frames:
    """The columns as the kernels need them: right types and shapes, contiguous, aligned, writeable."""
    n = len(frames.ts)
    columns = (
        _column("ts", frames.ts, np.int64, n),
        _column("arbitration_id", frames.arbitration_id, np.uint32, n),
        _column("dlc", frames.dlc, np.uint8, n).astype(np.uint16),
        _column("flags", frames.flags, np.uint8, n),
    )
    data = frames.data
    if (
        data.dtype != np.uint8
        or data.ndim != 2
        or len(data) != n
        or data.shape[1] not in range(8, _WIDEST_FRAME + 1, 8)
    ):
        raise DataError("bad_frames", f"data is {data.dtype} {data.shape}, expected uint8 ({n}, 8) or ({n}, 64)")
    words = _native(np.ascontiguousarray(data).view(np.uint64))
    return Frames(*columns, words, _column("channel", frames.channel, np.uint8, n), channel_map)


def _column(name: str, column: NDArray[Any], kind: type[np.generic], n: int) -> NDArray[Any]:
    if column.dtype != kind or column.shape != (n,):
        raise DataError("bad_frames", f"{name} is {column.dtype} {column.shape}, expected {kind.__name__} ({n},)")
    return _native(column)


def _native(column: NDArray[Any]) -> NDArray[Any]:
    """Itself, or a copy that is contiguous, aligned and writeable: the kernels are compiled for no other kind."""
    flags = column.flags
    return column if flags.c_contiguous and flags.aligned and flags.writeable else column.copy()


def _as_frames(long: list[LongMessage], channel_map: NDArray[np.int64]) -> Frames:
    """Long messages as frames of as many words as the longest needs."""
    width = max(len(m.data) for m in long) + 7 & ~7
    return Frames(
        np.array([m.ts for m in long], np.int64),
        np.array([m.arbitration_id for m in long], np.uint32),
        np.array([len(m.data) for m in long], np.uint16),
        np.zeros(len(long), np.uint8),
        np.frombuffer(bytearray().join(m.data.ljust(width, b"\0") for m in long), np.uint64).reshape(len(long), -1),
        np.array([m.channel for m in long], np.uint8),
        channel_map,
    )


def warm_up() -> None:
    """Compiles every kernel, or reads it from disk: six seconds or one, best spent before the first batch comes."""
    message = Message("M", 1, False, False, 8, (Signal("S", 0, 8),))
    one, none = np.ones(1, np.uint8), np.zeros(1, np.uint8)
    frames = FrameBatch(np.ones(1, np.int64), np.ones(1, np.uint32), one, none, np.ones((1, 8), np.uint8), none)
    thin(Decoder(Database((message,))).decode(frames))

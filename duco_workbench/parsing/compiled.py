"""The compiled engine: what a :class:`~.decoder.Decoder` runs on where numba is installed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .. import j1939
from ..columns import Samples
from ..j1939.transport import OUTCOMES, LongMessage
from ..model import FrameBatch
from ..names import NO_NAMES, Names
from ..runs import Runs
from . import batches, kernels, values
from .buffers import Buffers
from .checks import Frames, bad_bus, bad_length, columns_of
from .engine import Explained
from .kernels import EMPTY, LEARNED, PIECE, STREAM, Long, State, Work
from .plan import Plan
from .reassembly import Sessions
from .runs import CompiledRuns

_FEWEST_SLOT_BITS, _MOST_IDLE_SLOTS = 12, 1 << 16  # learned entries are dropped between calls beyond the latter
_MOST_BUS_MAPS, _MOST_BUSES = 4096, 1 << 17
_FLOAT64, _INT64, _UINT8 = map(np.dtype, (np.float64, np.int64, np.uint8))
_NO_INTEGERS = np.empty(0, np.int64)
_COUNTED = (
    ("decoded", kernels.DECODED),
    ("transport", kernels.TRANSPORT),
    ("unknown", kernels.UNKNOWN),
    ("unknown_ids", kernels.UNKNOWN_IDS),
    ("skipped", kernels.SKIPPED),
)
_Bus = tuple[str, str]  # machine ("" where a batch names none), channel


class Compiled:
    """An :class:`~.engine.Engine`: keeps what it has learned of ids, and buffers, from call to call."""

    _state: State
    _sources: Names  # of the streams
    _machines: Names

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._buses: dict[_Bus, int] = {}
        self._bus_names: list[_Bus] = []
        self._maps: dict[tuple[tuple[str, ...], tuple[str, ...]], NDArray[np.uint64]] = {}
        self._buffers = Buffers()
        self._outcomes = np.zeros(len(OUTCOMES), np.int64)
        self._capacity = 0
        self._is_torn = False
        self._reserve(0)
        self._clear(_FEWEST_SLOT_BITS)

    def sessions(self) -> Sessions:
        return Sessions.none()

    def decode(self, frames: FrameBatch, sessions: Sessions, is_last: bool) -> Samples:
        f = columns_of(frames, self._bus_map(frames))
        self._reserve(len(f.ts))
        if self._is_torn:
            self._clear(self._slot_bits)
        self._is_torn = True  # until all steps are done: who interrupts one leaves counts behind
        self._long, runs, keys, out = self._run(f, sessions, is_last)
        self._is_torn = False
        signals, sources, units, machines = self._names_of(keys)
        if self._state.slots.size > 2 * _MOST_IDLE_SLOTS:
            self._clear(_FEWEST_SLOT_BITS)
        integers = out.integers if len(out.integers) else None
        return Samples(
            signals, sources, units, runs, None, out.value, out.status, integers, machines if frames.machines else ()
        )

    def explain(self, frames: FrameBatch) -> Explained:
        tally, noted = self._work.counts.tolist(), self._work.texts[: self._work.counts[kernels.TEXTS]]
        counts = {"frames": len(frames), **{name: tally[at] for name, at in _COUNTED}}
        counts.update(zip(OUTCOMES, self._outcomes.tolist(), strict=True))
        return Explained(_long_messages(frames, self._long), [(i, m) for i, m in noted.tolist()], counts)

    def _run(self, f: Frames, sessions: Sessions, is_last: bool) -> tuple[Long, Runs, NDArray[np.int64], values.Output]:
        """All steps; again with a larger state when it was full, and the last one apart when its output had no room."""
        tables, work, spare = self._plan.tables, self._work, self._buffers.spare
        out = values.Output(spare(_FLOAT64), spare(_UINT8), spare(_INT64), _NO_INTEGERS)
        while True:
            work.counts[:] = self._outcomes[:] = 0
            outcome, long, cells, times, integers, starts, at, keys, fits = batches.decode(
                tables, self._state, f, sessions, work, self._outcomes, is_last, out
            )
            if outcome == kernels.DONE:
                break
            self._clear(self._slot_bits + (outcome == kernels.FULL))
            if outcome == kernels.BAD_LENGTH:
                raise bad_length(f.width)
            if outcome == kernels.BAD_BUS:
                raise bad_bus(f.channels)
        rows = int(starts[-1])
        if not fits:
            take, wide = self._buffers.take, np.zeros(rows if integers else 0, np.int64)
            out = values.Output(take(_FLOAT64, rows), take(_UINT8, rows), take(_INT64, times), wide)
            values.fill(tables, self._state, f, long, work, cells, starts, out)
        out = values.Output(out.value[:rows], out.status[:rows], out.times[:times], out.integers)
        return long, CompiledRuns(starts, at, out.times), keys, out

    def _names_of(self, keys: NDArray[np.int64]) -> tuple[Names, Names, Names, Names]:
        """Signals, sources, units and machines of the series with these keys."""
        labels, streams = keys & 0xFFFF_FFFF, keys >> 32
        self._name_streams()
        return self._plan.labels[labels], self._sources[streams], self._plan.units[labels], self._machines[streams]

    def _name_streams(self) -> None:
        """Machine and source of every stream that is new."""
        known, used = len(self._sources), int(self._state.used[kernels.STREAMS_USED])
        if known < used:
            new = self._state.streams[known:used]
            names = [self._bus_names[bus] for bus in new["bus"].tolist()]
            sources = [
                bus if address < 0 else j1939.source_name(bus, address)
                for (_, bus), address in zip(names, new["source"].tolist(), strict=True)
            ]
            self._sources = Names.joined([self._sources, Names.of(sources)])
            self._machines = Names.joined([self._machines, Names.of([machine for machine, _ in names])])

    def _bus_map(self, frames: FrameBatch) -> NDArray[np.uint64]:
        """The decoder's own number of each of these buses, (machines * channels)."""
        buses = (frames.machines, frames.channels)
        if buses not in self._maps:
            if len(self._maps) > _MOST_BUS_MAPS:
                self._maps = {}
            if len(self._buses) > _MOST_BUSES:
                self._maps, self._buses = {}, {}
                self._clear(self._slot_bits)
            names = [(machine, channel) for machine in frames.machines or ("",) for channel in frames.channels]
            for name in names:
                self._buses.setdefault(name, len(self._buses))
            self._bus_names = list(self._buses)
            self._maps[buses] = np.array([self._buses[name] for name in names], np.uint64)
        return self._maps[buses]

    def _clear(self, slot_bits: int) -> None:
        """Forgets every id and stream; the table then has ``2**slot_bits`` slots."""
        self._slot_bits = slot_bits
        self._sources = self._machines = NO_NAMES
        n, half = 1 << slot_bits, 1 << (slot_bits - 1)
        slots, learned = np.full(2 * n, EMPTY, np.uint64), np.zeros(n, LEARNED)
        streams, pieces, rows = np.zeros(half, STREAM), np.zeros(half, PIECE), np.zeros(half, np.int32)
        self._state = State(slots, learned, streams, pieces, rows, np.zeros(half, np.int64), np.zeros(3, np.int64))
        self._is_torn = False

    def _reserve(self, frames: int) -> None:
        """Buffers for a batch of so many frames."""
        if frames <= self._capacity and self._capacity:
            return
        self._capacity = n = max(4096, frames)
        most = 2 * n * self._plan.most_codecs  # of frames, and of messages put together from them
        piece, slow, slow_slot = np.empty((3, n), np.int32)
        noted, pairs, order, touched, transport = np.empty((5, most + n), np.int32)
        first, texts = np.empty(most + n, np.uint64), np.empty((2 * n, 2), np.int32)
        active, counts = np.empty(self._plan.most_codecs + 1, np.int32), np.zeros(kernels.COUNTS, np.int64)
        self._work = Work(piece, slow, slow_slot, noted, pairs, order, first, touched, transport, texts, active, counts)


def _long_messages(frames: FrameBatch, long: Long) -> list[LongMessage]:
    rows, data = long.row, long.words.view(np.uint8)
    columns = (
        frames.ts[rows],
        frames.channel[rows],
        j1939.pgn(long.ids),
        j1939.source_address(long.ids),
        long.destination,
        8 * long.at,
        long.lengths,
        frames.machine_of(rows),
    )
    return [
        LongMessage(ts, channel, pgn, source, destination, data[at : at + size].tobytes(), machine)
        for ts, channel, pgn, source, destination, at, size, machine in zip(*(c.tolist() for c in columns), strict=True)
    ]

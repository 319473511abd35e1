"""The decoder: frames in, samples, texts, trouble codes and counts out."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from .. import j1939
from ..columns import Samples, Text
from ..errors import ConfigError
from ..j1939.dm1 import dtcs_of
from ..j1939.transport import LongMessage
from ..model import Dtc, FrameBatch
from .database import Database, Message, Signal
from .engine import Engine, Explained
from .plan import Plan, compile_plan
from .texts import read_texts

CHUNK = 65_536  # frames


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
        compiled: by numba's kernels, or (false) by numpy, which gives the same and takes longer; None: by kernels
            where numba is installed.
        unknown_multiplexer: of a frame whose multiplexer has a value that the database does not list, ``"keep"`` the
            signals that all values have, or ``"drop"`` the frame, as cantools does.

    Raises:
        ConfigError: ``compiled`` is true, and numba is not installed; ``unknown_multiplexer`` is something else.
    """

    def __init__(
        self,
        database: Database,
        validity: bool = True,
        compiled: bool | None = None,
        unknown_multiplexer: Literal["keep", "drop"] = "keep",
    ) -> None:
        if unknown_multiplexer not in ("keep", "drop"):
            raise ConfigError(f"Decoder(unknown_multiplexer={unknown_multiplexer!r}): write 'keep' or 'drop'")
        self.database = database
        self.most_values = max((len(message.signals) for message in database.messages), default=0)
        self._plan = compile_plan(database, validity, unknown_multiplexer == "keep")
        self._engine = _engine(self._plan, compiled)
        self._sessions = self._engine.sessions()
        self._lock = threading.Lock()

    def decode(self, frames: FrameBatch) -> Samples:
        """The samples of ``frames``, one row a value; frames are in order of time on each bus (else samples are put in
        order, but transport sessions may be torn).

        Signals are named ``Message.Signal``; sources ``can0``, or ``can0:03`` for messages matched as J1939.

        Raises:
            DataError: ``bad_frames``, when a column has a wrong type or shape, or a length or channel is out of range.
        """
        with self._lock:
            return self._engine.decode(frames, self._sessions, is_last=True)

    def decode_all(self, frames: FrameBatch, sessions: Any = None, is_last: bool = True) -> Decoded:
        """Samples as :meth:`decode` gives them, and texts, trouble codes and counts.

        Args:
            sessions: for the parts of one recording, what :meth:`sessions` gave: a transport session that begins in one
                part may end in another, and counts where it ends.
            is_last: what is open after these frames is given up, and counted; so it is without ``sessions``.
        """
        with self._lock:
            own = sessions is None
            samples = self._engine.decode(frames, self._sessions if own else sessions, is_last or own)
            explained = self._engine.explain(frames)
        codes = dtcs_of(frames, explained.long) if self._plan.has_j1939 else []
        return Decoded(samples, self._texts(frames, explained), tuple(codes), explained.counts)

    def sessions(self) -> Any:
        """No open transport session: what :meth:`decode_all` wants with the first part of a recording."""
        return self._engine.sessions()

    def stream(self, frames: FrameBatch | Iterable[FrameBatch], chunk: int = CHUNK) -> Iterator[Decoded]:
        """:meth:`decode_all`, at most ``chunk`` frames at a time: of one batch, or of an opened log, of any length."""
        sessions = self.sessions()
        batches = (frames,) if isinstance(frames, FrameBatch) else frames
        for part, is_last in _with_last(b[i : i + chunk] for b in batches for i in range(0, len(b), chunk)):
            yield self.decode_all(part, sessions, is_last)

    def _texts(self, frames: FrameBatch, explained: Explained) -> tuple[Text, ...]:
        """In order of time."""
        n, long = len(frames), explained.long
        found = [(long[i - n] if i >= n else _as_message(frames, i), message) for i, message in explained.texts]

        def source_of(m: LongMessage) -> str:
            return j1939.source_name(frames.channels[m.channel], m.source)

        return tuple(
            Text(m.ts, signal, source_of(m), text, frames.machine_name(m.machine))
            for m, message in sorted(found, key=lambda pair: pair[0].ts)
            for signal, text in read_texts(self._plan.texts[message], m.data)
        )


def _engine(plan: Plan, compiled: bool | None) -> Engine:
    if compiled is not False:
        try:
            import numba  # noqa: F401
        except ImportError as error:
            if compiled:
                raise ConfigError("Decoder(compiled=True) needs numba: pip install numba, or leave it out") from error
        else:
            from .compiled import Compiled

            return Compiled(plan)
    from .vectors import Vectorised

    return Vectorised(plan)


def _with_last(parts: Iterable[FrameBatch]) -> Iterator[tuple[FrameBatch, bool]]:
    """Each part, and whether it is the last one."""
    before: FrameBatch | None = None
    for part in parts:
        if before is not None:
            yield before, False
        before = part
    if before is not None:
        yield before, True


def _as_message(frames: FrameBatch, i: int) -> LongMessage:
    """A frame, as if it had come in packets."""
    source, data = int(frames.arbitration_id[i]) & 0xFF, frames.data[i, : frames.dlc[i]].tobytes()
    machine = int(frames.machine_of([i])[0])
    return LongMessage(int(frames.ts[i]), int(frames.channel[i]), 0, source, j1939.GLOBAL, data, machine)


def warm_up() -> None:
    """Compiles every kernel, or reads it from disk: ten seconds or one, best spent before the first batch comes."""
    message = Message("M", 1, True, True, 8, (Signal("S", 0, 8),))
    ids = np.array([0x8000_0001, 0x9CEC_FF00, 0x9CEB_FF00, 0x9CEB_FF00], np.uint32)
    lengths, zeros = np.full(4, 8, np.uint8), np.zeros(4, np.uint8)
    data = np.zeros((4, 8), np.uint8)
    data[1:, 0] = 32, 1, 2
    data[1, 1:8] = 9, 0, 2, 255, 0, 0, 0
    frames = FrameBatch(np.arange(4), ids, lengths, zeros, data, zeros)
    Decoder(Database((message,))).decode(frames)

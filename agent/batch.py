"""The open batch: frames on their way into an envelope, and the other messages that go into the queue with it.

Everything is handed on once per seal, in one transaction of the queue: each seal costs the flash a few pages.
"""

from __future__ import annotations

from collections.abc import Iterable

from duco_workbench.model import SECOND, Clock, Envelope, FrameBatch
from duco_workbench.packing import Packer

from .drafts import Draft, size_of

LATE = SECOND // 5  # microseconds after the end of a window until it is sealed without a frame of the next

MOST = 1 << 20  # bytes of other messages that wait in memory for the end of a window
PIECE = 500  # bytes of memory that any of them takes besides its payload


class Batch:
    """``seal_s``, ``realtime_seal_s``: seconds of bus time an envelope holds, in normal and in realtime mode."""

    def __init__(self, chassis_id: str, seal_s: float, realtime_seal_s: float) -> None:
        self.realtime = False
        self._seals = {False: int(seal_s * SECOND), True: int(realtime_seal_s * SECOND)}
        # The queue gives the ids and the clock; these are as long as any, for the packer reckons with their length.
        longest = Clock("gnss", -123_456_789_012.345)
        self._packer = Packer(chassis_id, 10**18, first_seq=10**12, seal=self._seals[False], clock=longest)
        self._frames: list[Draft] = []
        self._others: list[Draft] = []
        self._weight = 0  # bytes of the others
        self._window = 0
        self._behind = 0  # how far the frames' time is behind the clock's: a log that is read has its own

    def add(self, frames: FrameBatch, now: int) -> None:
        """Frames in order of arrival, read at ``now`` (microseconds); what they complete is ready."""
        if len(frames):
            self._behind = now - int(frames.ts[-1])
            self._keep(self._packer.add(frames))

    def say(self, draft: Draft) -> None:
        """One of the other messages."""
        self._others.append(draft)
        self._weight += size_of(draft) + PIECE

    @property
    def is_full(self) -> bool:
        """It is to be stored before more is said: whoever can wait waits."""
        return self._weight >= MOST

    def ready(self, now: int) -> list[Draft]:
        """What is to be stored now, ``now`` in microseconds: nothing, until a window has ended or it is full."""
        self._keep(self._packer.seal(now - self._behind - LATE))
        before, self._window = self._window, (now - LATE) // self._seals[self.realtime]
        return self._all() if self._frames or self.is_full or self._window != before else []

    def switch(self, realtime: bool, now: int) -> list[Draft]:
        """To the other mode: everything so far but open transport sessions, and other windows from here on."""
        self.realtime = realtime
        self._keep(self._packer.seal_now(now - self._behind, self._seals[realtime]))
        return self._all()

    def finish(self) -> list[Draft]:
        """Everything, open transport sessions too: nothing comes any more."""
        self._keep(self._packer.flush())
        return self._all()

    def _keep(self, envelopes: Iterable[Envelope]) -> None:
        self._frames += (Draft(envelope.msg_type, envelope.ts, envelope.payload) for envelope in envelopes)

    def _all(self) -> list[Draft]:
        drafts, self._frames, self._others, self._weight = self._frames + self._others, [], [], 0
        return drafts

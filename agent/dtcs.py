"""Active trouble codes: DM1 of every bus, told when a sender's codes change and now and then while there are some."""

from __future__ import annotations

from duco_workbench.j1939 import DM1, source_name
from duco_workbench.j1939.dm1 import SHORTEST, lamps, read
from duco_workbench.j1939.messages import messages_of
from duco_workbench.j1939.transport import Sessions
from duco_workbench.model import SECOND, FrameBatch
from duco_workbench.wire import Code, Dtcs

from .drafts import Draft


class DtcWatcher:
    """A FrameWatcher. A draft has the time of the DM1 it was read from, as the decoder gives the same code.

    Args:
        repeat_s: seconds after which a sender's codes are told again although nothing changed.
    """

    def __init__(self, repeat_s: float = 60.0) -> None:
        self._repeat = round(repeat_s * SECOND)
        self._sessions = Sessions()
        self._told: dict[str, tuple[int, Dtcs]] = {}  # by source: when, and what

    def on_frames(self, frames: FrameBatch) -> list[Draft]:
        long = [message for _, message in self._sessions.read(frames)]
        drafts = [
            self._judge(m.ts, source_name(frames.channels[m.channel], m.source), m.data)
            for m in messages_of(frames, long, (DM1,))
            if len(m.data) >= SHORTEST
        ]
        return [draft for draft in drafts if draft is not None]

    def _judge(self, ts: int, source: str, data: bytes) -> Draft | None:
        """What one DM1 is worth telling; ``ts`` is the time of its last frame."""
        now = Dtcs(source, [Code(c.spn, c.fmi, c.oc, c.cm) for c in read(ts, source, data)], _lamps(data))
        at, before = self._told.get(source, (0, None))
        is_due = bool(now.dtcs) and abs(ts - at) >= self._repeat
        if before is not None and _state(now) == _state(before) and not is_due:
            return None
        self._told[source] = ts, now
        return Draft("vehicle_dtc", ts, now)


def _state(dtcs: Dtcs) -> tuple[frozenset[tuple[int, int, int | None, int]], dict[str, str]]:
    """Codes in any order."""
    return frozenset((c.spn, c.fmi, c.oc, c.cm) for c in dtcs.dtcs), dtcs.lamps


def _lamps(data: bytes) -> dict[str, str]:
    """``{"red-stop": "on"}``: the lamps that are not off."""
    words = (word.partition(":") for word in lamps(data[:2]).split(",") if word)
    return {name: state for name, _, state in words}

"""Diagnostic trouble codes from DM1 (active) and DM2 (previously active), single frames and long messages alike.

Codes are read by conversion method 4, least significant byte first. A set conversion bit (``cm`` 1) says that the
sender uses one of three older layouts, which the message does not tell apart: its SPN is then to be read with care.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import lru_cache

import numpy as np

from ..model import Dtc, Flag, FrameBatch
from . import ids
from .transport import LongMessage, reassemble

_LAMPS = ((6, "malfunction"), (4, "red-stop"), (2, "amber-warning"), (0, "protect"))  # bit in both lamp bytes
_FLASH = ("flash-slow", "flash-fast", "on", "on")  # 1 Hz, 2 Hz, reserved, not flashing
_ON, _ERROR = 1, 2
NO_SPN, NO_COUNT = 0x7FFFF, 127


def dtcs(frames: FrameBatch, pgns: Collection[int] = (ids.DM1,)) -> list[Dtc]:
    """The codes of a batch in order of time: of DM1 unless ``pgns`` says otherwise.

    A :class:`~duco_workbench.model.Dtc` does not say which message it came from, so ask for DM2 on its own.
    A message without a fault gives no code.
    """
    return dtcs_of(frames, reassemble(frames)[0], pgns)


def dtcs_of(frames: FrameBatch, long: Iterable[LongMessage], pgns: Collection[int] = (ids.DM1,)) -> list[Dtc]:
    """As :func:`dtcs`, with the long messages already put together."""
    found = [code for pgn in pgns for code in _single(frames, pgn)]
    for m in long:
        if m.pgn in pgns:
            found += read(m.ts, ids.source_name(frames.channels[m.channel], m.source), m.data)
    return sorted(found, key=lambda code: code.ts)


def _single(frames: FrameBatch, pgn: int) -> list[Dtc]:
    rows = ids.single_frame_rows(frames.arbitration_id, pgn)
    rows = rows[(frames.flags[rows] & np.uint8(Flag.REMOTE | Flag.ERROR)) == 0]
    return [
        code
        for i in rows.tolist()
        for code in read(
            int(frames.ts[i]),
            ids.source_name(frames.channels[frames.channel[i]], int(frames.arbitration_id[i]) & 0xFF),
            frames.data[i, : frames.dlc[i]].tobytes(),
        )
    ]


def read(ts: int, source: str, data: bytes) -> list[Dtc]:
    """The codes of one DM1 or DM2: two lamp bytes, then four bytes a code; padding and "no fault" are none."""
    shown = lamps(data[:2])
    found = []
    for at in range(2, len(data) - 3, 4):
        low, middle, high, last = data[at : at + 4]
        spn, fmi, count = low | middle << 8 | (high >> 5) << 16, high & 31, last & 127
        if spn != NO_SPN and (spn or fmi):
            found.append(Dtc(ts, source, spn, fmi, None if count == NO_COUNT else count, last >> 7, shown))
    return found


@lru_cache(maxsize=256)
def lamps(data: bytes) -> str:
    """The lamps of a message's two lamp bytes that are not off: ``"red-stop:on,amber-warning:flash-slow"``, or ""."""
    if len(data) < 2:
        return ""
    words = []
    for bit, name in _LAMPS:
        state = (data[0] >> bit) & 3
        if state == _ON:
            words.append(f"{name}:{_FLASH[(data[1] >> bit) & 3]}")
        elif state == _ERROR:
            words.append(f"{name}:error")
    return ",".join(words)

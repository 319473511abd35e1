"""How busy each bus is: frames a second, and the share of its time that they take."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from duco_workbench.model import EXTENDED, SECOND, Flag, FrameBatch

from .drafts import Draft

# Bits of a classic frame without its data, from the start bit to the gap behind it (ISO 11898-1); how many of a
# standard frame's may need a stuff bit, and how many do: of random data 1 in 30, of equal bits 1 in 4.
STANDARD, EXTENDED_HEAD, STUFFED, STUFFING = 47, 67, 34, 0.1


class BusLoad:
    """A FrameWatcher that has nothing to say, and may be asked.

    Args:
        bitrates: bit/s of the buses whose bitrate is known; the load of the others is not.
    """

    def __init__(self, bitrates: Mapping[str, int] | None = None) -> None:
        self._bitrates = dict(bitrates or {})
        self._frames: dict[str, int] = dict.fromkeys(self._bitrates, 0)
        self._bits: dict[str, float] = dict.fromkeys(self._bitrates, 0.0)

    def on_frames(self, frames: FrameBatch) -> list[Draft]:
        codes = frames.channel
        bits = _bits(frames)
        for code in np.unique(codes).tolist():
            name, own = frames.channels[code], codes == code
            self._frames[name] = self._frames.get(name, 0) + int(own.sum())
            self._bits[name] = self._bits.get(name, 0.0) + float(bits[own].sum())
        return []

    def fields(self, span: int) -> dict[str, float]:
        """Since the last call, ``span`` microseconds ago: ``can0_frames_per_s`` and ``can0_load_percent``."""
        found: dict[str, float] = {}
        for name, count in self._frames.items():
            found[f"{name}_frames_per_s"] = round(count * SECOND / max(span, 1), 1)
            if bitrate := self._bitrates.get(name):
                found[f"{name}_load_percent"] = round(100 * self._bits[name] * SECOND / max(span, 1) / bitrate, 1)
        self._frames, self._bits = dict.fromkeys(self._frames, 0), dict.fromkeys(self._bits, 0.0)
        return found


def _bits(frames: FrameBatch) -> NDArray[np.float64]:
    """Of each frame (n) at the bitrate of arbitration; of a CAN FD frame that is an upper bound. Error frames: none."""
    head = np.where(frames.arbitration_id & EXTENDED != 0, EXTENDED_HEAD, STANDARD)
    data = np.where(frames.flags & Flag.REMOTE != 0, 0, 8 * frames.dlc.astype(np.int64))
    bits = head + data + STUFFING * (head - STANDARD + STUFFED + data)
    return np.where(frames.flags & Flag.ERROR != 0, 0.0, bits)

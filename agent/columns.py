"""Where frames wait between the thread that reads a bus and the agent that asks for them: packed, no objects."""

from __future__ import annotations

import struct
import threading
from typing import Any

import can
import numpy as np
from numpy.typing import NDArray

from duco_workbench.model import ERROR, EXTENDED, ID_MASK, REMOTE, Flag, FrameBatch

RECORD = np.dtype(
    [
        ("stamp", "<f8"),  # seconds, of whatever clock the interface has
        ("arrived", "<i8"),  # microseconds UTC of the system clock, when it was read
        ("id", "<u4"),
        ("dlc", "u1"),
        ("flags", "u1"),
        ("channel", "u1"),
        ("data", "u1", 64),
    ]
)
_LAYOUT = struct.Struct("<dqIBBB64s")
_PLAIN, _FD, _BRS, _ESI = 0, int(Flag.FD), int(Flag.BRS), int(Flag.ESI)
_REMOTE, _ERROR, _TX = int(Flag.REMOTE), int(Flag.ERROR), int(Flag.TX)


class Columns:
    """Room for ``capacity`` frames, filled by one thread and taken by another; what does not fit is refused."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._lock = threading.Lock()
        self._filling, self._spare = bytearray(capacity * RECORD.itemsize), bytearray(capacity * RECORD.itemsize)
        self._count = 0

    def put(self, message: can.Message, arrived: int, channel: int = 0) -> bool:
        """False when there is no room."""
        number, dlc, flags = _head(message)
        record = (message.timestamp or 0.0, arrived, number, dlc, flags, channel, message.data)
        with self._lock:
            if self._count == self.capacity:
                return False
            _LAYOUT.pack_into(self._filling, self._count * RECORD.itemsize, *record)
            self._count += 1
        return True

    def take(self) -> NDArray[Any]:
        """All records so far (n), in the order they came; theirs is the caller's copy."""
        with self._lock:
            full, count = self._filling, self._count
            self._filling, self._spare, self._count = self._spare, full, 0
        return np.frombuffer(full, RECORD, count).copy()


def _head(message: can.Message) -> tuple[int, int, int]:
    """Arbitration id with SocketCAN's bits, length of the data, and flags of a frame."""
    number, dlc = message.arbitration_id & ID_MASK, len(message.data)
    flags = _PLAIN if message.is_rx else _TX
    if message.is_fd or dlc > 8:
        flags |= _FD | (_BRS if message.bitrate_switch else 0) | (_ESI if message.error_state_indicator else 0)
    if message.is_error_frame:
        return number | ERROR, dlc, flags | _ERROR
    if message.is_extended_id:
        number |= EXTENDED
    if message.is_remote_frame:
        return number | REMOTE, min(message.dlc, 8), flags | _REMOTE
    return number, dlc, flags


def batch(records: NDArray[Any], ts: NDArray[np.int64], channels: tuple[str, ...]) -> FrameBatch:
    """Records (n) with their times (n) as frames; data is 64 wide only if one of them needs it."""
    dlc = records["dlc"].copy()
    width = 64 if len(dlc) and int(dlc.max()) > 8 else 8
    return FrameBatch(
        ts,
        records["id"].copy(),
        dlc,
        records["flags"].copy(),
        np.ascontiguousarray(records["data"][:, :width]),
        records["channel"].copy(),
        channels,
    )

"""What the columns of a batch have to be, whatever decodes them: right types and shapes, contiguous, aligned."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..model import FrameBatch

_WIDTHS = range(8, 257, 8)  # bytes of a row of data: frames, and what packets were put together to
_INT64, _UINT32, _UINT16, _UINT8 = map(np.dtype, (np.int64, np.uint32, np.uint16, np.uint8))
_NO_MACHINES = np.empty(0, np.uint16)


class Frames(NamedTuple):
    """A batch of n frames as engines take it."""

    ts: NDArray[np.int64]
    ids: NDArray[np.uint32]
    lengths: NDArray[np.uint8]
    flags: NDArray[np.uint8]
    words: NDArray[np.uint64]  # (n * width) the data as little-endian 64-bit words, frame after frame
    width: int  # words a frame
    channel: NDArray[np.uint8]
    machine: NDArray[np.uint16]  # or of no length, when all are of one
    channels: int
    bus_map: NDArray[np.uint64]  # (machines * channels) the engine's own number of each bus


def columns_of(frames: FrameBatch, bus_map: NDArray[np.uint64]) -> Frames:
    """The columns of ``frames``, copied only where they are strided, unaligned or read-only.

    Raises:
        DataError: ``bad_frames``, when one has a wrong type or shape.
    """
    n, data, machine = len(frames.ts), frames.data, frames.machine
    if data.dtype != np.uint8 or data.ndim != 2 or len(data) != n or data.shape[1] not in _WIDTHS:
        raise DataError("bad_frames", f"data is {data.dtype} {data.shape}, expected uint8 ({n}, 8) or ({n}, 64)")
    return Frames(
        _column("ts", frames.ts, _INT64, n),
        _column("arbitration_id", frames.arbitration_id, _UINT32, n),
        _column("dlc", frames.dlc, _UINT8, n),
        _column("flags", frames.flags, _UINT8, n),
        _native(np.ascontiguousarray(data).view(np.uint64)).reshape(-1),
        data.shape[1] // 8,
        _column("channel", frames.channel, _UINT8, n),
        _NO_MACHINES if machine is None else _column("machine", machine, _UINT16, n),
        len(frames.channels),
        bus_map,
    )


def bad_length(width: int) -> DataError:
    """Of frames of ``width`` words."""
    return DataError("bad_frames", f"a dlc is greater than the {8 * width} bytes of its data")


def bad_bus(channels: int) -> DataError:
    """Of a batch that names so many buses."""
    return DataError("bad_frames", f"a channel is not one of the {channels} named, or a machine is not")


def _column(name: str, column: NDArray[Any], kind: np.dtype[Any], n: int) -> NDArray[Any]:
    if column.dtype != kind or column.shape != (n,):
        raise DataError("bad_frames", f"{name} is {column.dtype} {column.shape}, expected {kind} ({n},)")
    return _native(column)


def _native(column: NDArray[Any]) -> NDArray[Any]:
    """Itself, or a copy that is contiguous, aligned and writeable: the kernels are compiled for no other kind."""
    flags = column.flags
    return column if flags.c_contiguous and flags.aligned and flags.writeable else column.copy()

"""MDF 4 bus logging (.mf4) through asammdf, in columns: fragments of each channel group, merged by time."""

from __future__ import annotations

import contextlib
import io
import logging
import traceback
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ConfigError
from ...model import ERROR, EXTENDED, ID_MASK, REMOTE, Flag, FrameBatch, bus_name
from .files import Source

CHUNK = 65_536  # frames of one batch
FRAGMENT = 1 << 20  # bytes of records asammdf hands out at a time, per channel group
KINDS = ("CAN_DataFrame", "CAN_RemoteFrame", "CAN_ErrorFrame")
_FD_LENGTH = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 20, 24, 32, 48, 64], np.uint8)  # by DLC code
_UNFINISHED = b"UnFinMF "  # how a file begins that its logger never closed


def read_mf4(source: Source) -> Iterator[FrameBatch]:
    """Batches of up to 65,536 frames, ordered by time over all channel groups.

    Raises: ConfigError when it is no MDF 4 or holds no CAN bus logging.
    """
    path = source.file()
    mdf = _open(path, source)
    try:
        if mdf.version < "4.00":
            raise ConfigError(f"{source.path.name} is MDF {mdf.version}; convert it to MDF 4 (e.g. with asammdf).")
        mdf.configure(read_fragment_size=FRAGMENT)
        groups = _groups(mdf)
        if not groups:
            raise ConfigError(f"{source.path.name} holds no CAN bus logging (a group with CAN_DataFrame).")
        yield from _merged(mdf, groups, source)
        _say_if_cut(mdf, path, source)
    finally:
        mdf.close()


def _open(path: Path, source: Source) -> Any:
    from asammdf import MDF

    logging.getLogger("asammdf").setLevel(logging.CRITICAL + 1)  # it shows tracebacks of what it then raises
    # No index of ids is wanted; copies of unfinished files go where they are removed.
    options: dict[str, Any] = {"process_bus_logging": False, "temporary_folder": source.folder()}
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # and prints some
            return MDF(path, **options)
    except Exception as error:
        # The half-open object must not clean up later: it would do so on stderr, in a folder that is gone.
        for frame, _ in traceback.walk_tb(error.__traceback__):
            half_open: Any = frame.f_locals.get("self")
            if hasattr(half_open, "_tempfile"):
                half_open._tempfile.close()
                half_open._closed = True
        raise


def _groups(mdf: Any) -> list[tuple[int, int, str]]:
    """(group, channel index, kind) of the groups that hold frames."""
    found = []
    for number, group in enumerate(mdf.groups):
        names = [channel.name for channel in group.channels]
        kind = next((kind for kind in KINDS if kind in names), None)
        if kind and group.channel_group.cycles_nr:
            found.append((number, names.index(kind), kind))
    return found


def _merged(mdf: Any, groups: list[tuple[int, int, str]], source: Source) -> Iterator[FrameBatch]:
    """Frames go out up to the time that every group has been read to; the rest waits for its neighbours."""
    start = _start(mdf, source)
    streams = {number: _frames(mdf, number, index, kind, start) for number, index, kind in groups}
    total, done = sum(mdf.groups[number].channel_group.cycles_nr for number in streams), 0
    waiting: dict[int, FrameBatch] = {}
    error: Exception | None = None
    while streams and error is None:
        for number in [number for number in streams if number not in waiting]:
            try:
                waiting[number] = next(streams[number])
            except StopIteration:
                del streams[number]
            except Exception as broken:  # damage: what is complete goes out first
                error = broken
        ready = _ready(waiting, streams)
        done += len(ready)
        source.share = min(done / total, 1.0)
        yield from (ready[at : at + CHUNK] for at in range(0, len(ready), CHUNK))
    rest = FrameBatch.concat(list(waiting.values())).sorted()
    yield from (rest[at : at + CHUNK] for at in range(0, len(rest), CHUNK))
    if error:
        raise error


def _ready(waiting: dict[int, FrameBatch], streams: dict[int, Iterator[FrameBatch]]) -> FrameBatch:
    """Takes out of ``waiting`` what no later frame of a group still read can precede."""
    limit = min((int(waiting[n].ts[-1]) for n in streams if n in waiting), default=None)
    parts = []
    for number in list(waiting):
        batch = waiting.pop(number)
        count = len(batch) if limit is None else int(np.searchsorted(batch.ts, limit, "right"))
        parts.append(batch[:count])
        if count < len(batch):
            waiting[number] = batch[count:]
    return FrameBatch.concat(parts).sorted()


def _start(mdf: Any, source: Source) -> int:
    """Nanoseconds UTC of time zero. The header has UTC, or local time without a zone and a flag that says so."""
    nanos = int(mdf.header.abs_time)
    if mdf.start_time.tzinfo:
        return nanos
    wall = datetime(1970, 1, 1) + timedelta(microseconds=nanos // 1000)
    return source.utc(wall) * 1000 + nanos % 1000


def _frames(mdf: Any, number: int, index: int, kind: str, start: int) -> Iterator[FrameBatch]:
    """One group's frames, a fragment at a time, each in order of time."""
    done = 0
    try:
        for signal in mdf.iter_get(group=number, index=index, raw=False):
            done += len(signal)
            if len(signal):
                yield _batch(signal.samples, signal.timestamps, kind, start).sorted()
    except Exception:
        if signal := _before_damage(mdf, number, index, done):
            yield _batch(signal.samples, signal.timestamps, kind, start).sorted()
        raise


def _before_damage(mdf: Any, number: int, index: int, done: int) -> Any:
    """The readable part of the fragment that begins at record ``done``, found by halving; None when there is none."""
    good, bad, found = 0, FRAGMENT // max(mdf.groups[number].channel_group.samples_byte_nr, 1) + 1, None
    while bad - good > 1:
        count = (good + bad) // 2
        try:
            part = mdf.get(group=number, index=index, raw=False, record_offset=done, record_count=count)
        except Exception:
            bad = count
        else:
            good, found = count, part
    return found


def _batch(samples: NDArray[Any], seconds: NDArray[np.float64], kind: str, start: int) -> FrameBatch:
    names = {name.removeprefix(f"{kind}."): name for name in samples.dtype.names or ()}

    def column(name: str, default: int = 0) -> NDArray[np.int64]:
        return _integers(samples[names[name]]) if name in names else np.full(len(samples), default, np.int64)

    channel, channels = _channels(column("BusChannel"))
    data, length = _data(samples, names, column)
    flags = column("Dir") * Flag.TX
    is_fd = (column("EDL") != 0) | (length > 8)
    flags |= np.where(is_fd, Flag.FD + Flag.BRS * (column("BRS") != 0) + Flag.ESI * (column("ESI") != 0), 0)
    identifier = column("ID")
    extended = (column("IDE") != 0) | (identifier & EXTENDED != 0) | (identifier & ID_MASK > 0x7FF)
    identifier = identifier & ID_MASK
    if kind == "CAN_ErrorFrame":
        identifier, flags = identifier | ERROR, flags | Flag.ERROR
    else:
        identifier = identifier | np.where(extended, EXTENDED, 0)
    if kind == "CAN_RemoteFrame":
        identifier, flags = identifier | REMOTE, flags | Flag.REMOTE
    ts = start // 1000 + np.rint(seconds * 1e6 + start % 1000 / 1000).astype(np.int64)
    return FrameBatch(
        ts, identifier.astype(np.uint32), length.astype(np.uint8), flags.astype(np.uint8), data, channel, channels
    )


def _integers(values: NDArray[Any]) -> NDArray[np.int64]:
    """Some loggers name directions by text, and write constants as numbers computed from nothing (floats)."""
    if values.dtype.kind in "SU":
        return np.asarray(np.char.lower(values.astype("U")) == "tx", np.int64)
    return np.asarray(values, np.int64)


def _channels(numbers: NDArray[np.int64]) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    present, code = np.unique(numbers, return_inverse=True)
    return code.astype(np.uint8), tuple(bus_name(int(number)) for number in present)


def _data(
    samples: NDArray[Any], names: dict[str, str], column: Callable[[str], NDArray[np.int64]]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Data (n, 8 or 64), zero past the length, and the length: as written, else by its DLC code."""
    code = np.clip(column("DLC"), 0, 15)
    length = column("DataLength") if "DataLength" in names else _FD_LENGTH[code].astype(np.int64)
    if "DataBytes" not in names:  # remote frames, and error frames of most loggers
        return np.zeros((len(samples), 8), np.uint8), np.clip(length if length.any() else code, 0, 8)
    stored = samples[names["DataBytes"]].reshape(len(samples), -1)
    length = np.clip(length, 0, min(stored.shape[1], 64))
    width = 64 if length.max(initial=0) > 8 else 8
    data = np.zeros((len(samples), width), np.uint8)
    data[:, : stored.shape[1]] = stored[:, :width]
    data[np.arange(width) >= length[:, None]] = 0
    return data, length


def _say_if_cut(mdf: Any, path: Path, source: Source) -> None:
    """A file that was never closed ends anywhere; it is cut when its records do not fill it."""
    with path.open("rb") as stream:
        if stream.read(len(_UNFINISHED)) != _UNFINISHED:
            return
        begins = {group.data_group.data_block_addr for group in mdf.groups}
        if len(begins) != 1:
            return
        stream.seek(begin := begins.pop())
        if stream.read(4) != b"##DT":
            return
    used = sum(_bytes_used(mdf, group) for group in mdf.groups)
    if left := path.stat().st_size - begin - 24 - used:
        source.warn(f"damaged at byte {path.stat().st_size - left:,}: read up to there (the last record is cut)")


def _bytes_used(mdf: Any, group: Any) -> int:
    """Bytes of a group's records in the one stream they were written to; text of variable length has a group too."""
    head, records = group.data_group.record_id_len, group.channel_group
    size = records.cycles_nr * (head + records.samples_byte_nr + records.invalidation_bytes_nr)
    if records.flags & 1:  # a group of variable-length data: counted with the channel it belongs to
        return 0
    variable = [blocks for blocks in group.signal_data if blocks]
    return int(
        size + sum(records.cycles_nr * head + sum(block.original_size for block in blocks) for blocks in variable)
    )

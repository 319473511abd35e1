"""Formats that python-can reads (.asc .blf .trc .csv .db and its plugins), its messages batched into columns.

python-can takes the local times of .asc for the machine's zone and those of .trc and .blf for UTC. Here its text
readers are given the lines one by one and see times relative to the start only; the start itself is read from the
header and placed by ``tz``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from io import BufferedIOBase
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ...errors import ConfigError
from ...model import ERROR, EXTENDED, ID_MASK, REMOTE, Flag, FrameBatch, bus_name
from .files import Source, log_suffix
from .times import peak_start, vector_date

if TYPE_CHECKING:
    import can

CHUNK = 16_384  # messages made into columns at a time: objects are large
LONGEST_LINE = 1 << 16
_ASC_HEADER = re.compile(r"\s*(date\b|base\b|//)", re.IGNORECASE)
_ASC_DATE = re.compile(r"\s*(date|begin\s+triggerblock)\s+\S+\s", re.IGNORECASE)
_ASC_RELATIVE = re.compile(r"\s*base\s+\w+\s+timestamps\s+relative", re.IGNORECASE)

Dated = Iterator["tuple[int, can.Message]"]  # with its time in microseconds


def check_suffix(path: Path, suffix: str) -> None:
    """Raises: ConfigError when python-can has no reader for it."""
    from can.io import player

    player._update_reader_plugins()  # as its LogReader does; there is no public way to ask
    if suffix not in player.MESSAGE_READERS:
        known = ", ".join(sorted({*player.MESSAGE_READERS, ".mdf", ".dat"}))
        raise ConfigError(f"{path} has no suffix of a CAN log ({suffix or 'none'}); known are {known}, each also .gz.")


def read_messages(source: Source) -> Iterator[FrameBatch]:
    """Batches of up to 16,384 frames."""
    readers: dict[str, Callable[[Source], Dated]] = {
        ".asc": _read_asc,
        ".blf": _read_blf,
        ".csv": _read_csv,
        ".trc": _read_trc,
    }
    messages = readers.get(log_suffix(source.path), _read_other)(source)
    error: Exception | None = None
    while error is None:
        rows = []
        try:
            for row in islice(messages, CHUNK):
                rows.append(row)  # one by one: what came before an error counts
        except Exception as broken:
            error = broken
        if rows:
            yield _columns(rows)
        elif error is None:
            return
    raise error


def _columns(rows: list[tuple[int, can.Message]]) -> FrameBatch:
    messages = [message for _, message in rows]
    payloads = [bytes(m.data[:64]) for m in messages]
    # The dlc of a data frame is the length of its data: python-can's .trc reader leaves the code of CAN FD there.
    lengths = [min(m.dlc, 8) if m.is_remote_frame else len(data) for m, data in zip(messages, payloads, strict=True)]
    width = 64 if max(map(len, payloads)) > 8 else 8
    numbers: dict[str, int] = {}
    names = ["can0" if m.channel is None else bus_name(cast("int | str", m.channel)) for m in messages]
    return FrameBatch(
        np.array([ts for ts, _ in rows], np.int64),
        np.array([_identifier(m) for m in messages], np.uint32),
        np.array(lengths, np.uint8),
        np.array([_flags(m, length) for m, length in zip(messages, lengths, strict=True)], np.uint8),
        np.frombuffer(b"".join(data.ljust(width, b"\0") for data in payloads), np.uint8).reshape(-1, width),
        np.array([numbers.setdefault(name, len(numbers)) for name in names], np.uint8),
        tuple(numbers),
    )


def _identifier(message: can.Message) -> int:
    bits = message.arbitration_id & ID_MASK
    if message.is_error_frame:
        return bits | ERROR
    return bits | (EXTENDED if message.is_extended_id else 0) | (REMOTE if message.is_remote_frame else 0)


def _flags(message: can.Message, length: int) -> int:
    flags = 0 if message.is_rx else Flag.TX
    if message.is_fd or length > 8:
        flags |= Flag.FD
        flags |= (Flag.BRS if message.bitrate_switch else 0) | (Flag.ESI if message.error_state_indicator else 0)
    if message.is_error_frame:
        return int(flags | Flag.ERROR)
    return int(flags | (Flag.REMOTE if message.is_remote_frame else 0))


class _Start:
    """Time zero of the lines that follow, microseconds UTC."""

    at = 0


def _micros(seconds: float) -> int:
    return round(seconds * 1e6)


def _read_asc(source: Source) -> Dated:
    import can

    start = _Start()
    for message in can.ASCReader(_asc_lines(source, start)):  # type: ignore[arg-type]  # it only iterates them
        yield start.at + _micros(message.timestamp), message


def _asc_lines(source: Source, start: _Start) -> Iterator[str]:
    header = True
    for line in _lines(source):
        if header and not _ASC_HEADER.match(line):
            header = False
            yield "no internal events logged\n"  # ends python-can's header, which would swallow the line it ends on
        if _ASC_RELATIVE.match(line):
            raise ConfigError(
                f"{source.path.name} has timestamps relative to the line before; export it with absolute timestamps."
            )
        if _ASC_DATE.match(line) and (wall := vector_date(line)):
            start.at = source.utc(wall)
        yield line


def _read_trc(source: Source) -> Dated:
    import can

    start = _Start()
    for message in can.TRCReader(_trc_lines(source, start)):  # type: ignore[arg-type]  # it only iterates them
        yield start.at + _micros(message.timestamp), message


def _trc_lines(source: Source, start: _Start) -> Iterator[str]:
    for line in _lines(source):
        if line.startswith(";$STARTTIME") and (wall := peak_start(line)):
            start.at = source.utc(wall)
        else:
            yield line


def _read_csv(source: Source) -> Dated:
    import can

    for message in can.CSVReader(_lines(source)):  # type: ignore[arg-type]  # it only iterates them
        yield _micros(message.timestamp), message


def _lines(source: Source) -> Iterator[str]:
    """Decoded lines, each ending with a line end; a frame's line that is cut at the end of the file is left out."""
    stream = source.stream()
    while raw := stream.readline(LONGEST_LINE):
        source.line += 1
        if not raw.endswith(b"\n") and len(raw) < LONGEST_LINE and raw.strip()[:1].isdigit():
            source.warn(f"damaged at {source.place or 'byte 0'}: read up to there (the last line is cut)")
            return
        yield raw.decode("utf-8", "replace")
        source.byte += len(raw)


def _read_blf(source: Source) -> Dated:
    import can

    counted = _Counted(source.stream(), source)
    reader = can.BLFReader(counted)  # type: ignore[arg-type]  # it only reads
    shift = _blf_shift(source, reader.start_timestamp)
    for message in reader:
        yield shift + _micros(message.timestamp), message
    if source.byte < reader.file_size:
        source.warn(f"damaged at {source.place}: read up to there (its header says {reader.file_size:,} bytes)")


def _blf_shift(source: Source, start: float) -> int:
    """A .blf names no zone: CANoe writes local time, python-can UTC, and its reader takes all for UTC."""
    wall = datetime(1970, 1, 1) + timedelta(seconds=start)
    if not start or source.has_start:
        return 0
    if source.zone is None:
        source.warn(f"its start ({wall:%Y-%m-%d %H:%M:%S}) names no time zone and is taken for UTC; give --tz if not")
        return 0
    return source.utc(wall) - _micros(start)


class _Counted:
    """A stream that says how far it is read, also when it is closed."""

    def __init__(self, stream: BufferedIOBase, source: Source) -> None:
        self._stream, self._source = stream, source

    def read(self, size: int = -1) -> bytes:
        block = self._stream.read(size)
        self._source.byte += len(block)
        return block

    def close(self) -> None:
        self._source.close_stream()


def _read_other(source: Source) -> Dated:
    import can

    reader: Any = can.LogReader(source.file())
    try:
        for message in reader:
            yield _micros(message.timestamp), message
    finally:
        reader.stop()

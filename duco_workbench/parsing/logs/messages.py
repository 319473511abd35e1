"""Everything else, through python-can (``.db`` and its plugins), its messages batched into columns."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ...errors import ConfigError
from ...model import ERROR, EXTENDED, ID_MASK, REMOTE, Flag, FrameBatch, bus_name
from .files import Source

if TYPE_CHECKING:
    import can

CHUNK = 16_384  # messages made into columns at a time: objects are large

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
    messages = _messages(source)
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
    # The dlc of a data frame is the length of its data, also where a reader of python-can leaves the code of CAN FD.
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


def _messages(source: Source) -> Dated:
    import can

    reader: Any = can.LogReader(source.file())
    try:
        for message in reader:
            yield round(message.timestamp * 1e6), message
    finally:
        reader.stop()

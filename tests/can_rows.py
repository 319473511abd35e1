"""Frames written as rows (ts, arbitration id, data), and the sessions tests send with them."""

from __future__ import annotations

import numpy as np

from duco_workbench.model import FrameBatch

Row = tuple[int, int, bytes]  # microseconds, id with SocketCAN's bits, data
MS = 1000
SECOND = 1_000_000


def batch(rows: list[Row], channel: int = 0, channels: tuple[str, ...] = ("can0", "can1")) -> FrameBatch:
    """The rows in order of time, all of one bus; as wide as the longest needs."""
    rows = sorted(rows, key=lambda row: row[0])
    n, width = len(rows), 64 if any(len(row[2]) > 8 for row in rows) else 8
    data = np.zeros((n, width), np.uint8)
    for i, row in enumerate(rows):
        data[i, : len(row[2])] = list(row[2])
    columns = np.array([r[0] for r in rows], np.int64), np.array([r[1] for r in rows], np.uint32)
    dlc, flags = np.array([len(r[2]) for r in rows], np.uint8), np.zeros(n, np.uint8)
    return FrameBatch(*columns, dlc, flags, data, np.full(n, channel, np.uint8), channels)


def single(ts: int, pgn: int, sender: int, data: bytes, destination: int = 0xFF) -> Row:
    """A J1939 frame of priority 6."""
    number = pgn if pgn & 0xFF00 >= 0xF000 else pgn | destination
    return ts, 0x9800_0000 | number << 8 | sender, data


def broadcast(ts: int, pgn: int, sender: int, data: bytes, step: int = 50 * MS) -> list[Row]:
    """A TP.BAM session."""
    return _session(ts, pgn, sender, 0xFF, data, step)


def request_to_send(ts: int, pgn: int, sender: int, receiver: int, data: bytes, step: int = 10 * MS) -> list[Row]:
    """A TP.RTS/CTS session: one CTS for all packets, and the receiver's end of message."""
    packets, number = (len(data) + 6) // 7, pgn.to_bytes(3, "little")
    back = 0x9CEC_0000 | sender << 8 | receiver
    rows = _session(ts, pgn, sender, receiver, data, step)
    clear = (ts + step // 2, back, bytes([17, packets, 1, 255, 255]) + number)
    end = (rows[-1][0] + step, back, bytes([19, len(data) & 255, len(data) >> 8, packets, 255]) + number)
    return [rows[0], clear, *rows[1:], end]


def _session(ts: int, pgn: int, sender: int, receiver: int, data: bytes, step: int) -> list[Row]:
    parts = [data[i : i + 7].ljust(7, b"\xff") for i in range(0, len(data), 7)]
    kind, tail = (32 if receiver == 0xFF else 16), pgn.to_bytes(3, "little")
    head = bytes([kind, len(data) & 255, len(data) >> 8, len(parts), 255]) + tail
    address = receiver << 8 | sender
    packets = [(ts + i * step, 0x9CEB_0000 | address, bytes([i]) + part) for i, part in enumerate(parts, 1)]
    return [(ts, 0x9CEC_0000 | address, head), *packets]


def fast_packet(ts: int, pgn: int, sender: int, data: bytes, sequence: int = 0, step: int = MS) -> list[Row]:
    """NMEA 2000: a first frame of six bytes, then seven each."""
    parts = [bytes([len(data)]) + data[:6], *(data[i : i + 7] for i in range(6, len(data), 7))]
    head = sequence << 5
    return [single(ts + i * step, pgn, sender, bytes([head | i]) + p.ljust(7, b"\xff")) for i, p in enumerate(parts)]


def iso_tp(ts: int, number: int, data: bytes, step: int = MS, width: int = 8) -> list[Row]:
    """A single frame, or a first and its consecutive frames; ``width`` 64 for CAN FD."""
    if len(data) <= (7 if width == 8 else width - 2):
        head = bytes([len(data)]) if len(data) < 8 else bytes([0, len(data)])
        return [(ts, number, _padded(head + data))]
    head = bytes([0x10 | len(data) >> 8, len(data) & 255])
    if len(data) > 4095:
        head = bytes([0x10, 0]) + len(data).to_bytes(4, "big")
    first, rest = data[: width - len(head)], data[width - len(head) :]
    parts = [rest[i : i + width - 1] for i in range(0, len(rest), width - 1)]
    rows = [(ts + i * step, number, _padded(bytes([0x20 | i & 15]) + part)) for i, part in enumerate(parts, 1)]
    return [(ts, number, head + first), *rows]


def _padded(data: bytes) -> bytes:
    """To a length a frame can have."""
    return data.ljust(next(n for n in (8, 12, 16, 20, 24, 32, 48, 64) if n >= len(data)), b"\xcc")

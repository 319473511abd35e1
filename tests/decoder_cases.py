"""Random databases, frames and transport sessions for tests that hold one decoding against another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from hypothesis import strategies as st

from duco_workbench.columns import Samples
from duco_workbench.model import Flag, FrameBatch
from duco_workbench.parsing import Database, Message, Signal
from duco_workbench.parsing.decoder import Decoded

ISO_TP_ID, OWN_ID = 0x18DA_F110, 0x1CEC_FF10
J1939_IDS = (0x18FE_E5FE, 0x18FE_EC03, 0x0CF0_04FE, 0x0400_00FE, 0x18EA_FFFE, OWN_ID, ISO_TP_ID)
PLAIN_IDS = ((100, False), (101, False), (100, True), (0x18FE_E521, True), (0x18EB_FF10, True))
SCALES: tuple[float, ...] = (1, 1, 2, -3, 0.5, 0.1, 1e-7, 1.7, 1 << 40)
OFFSETS: tuple[float, ...] = (0, 0, -40, 0.1, 100_000, 1 << 52)
PGNS = (0xFEE5, 0xFEEC, 0xF004, 0xFECA, 0xEA00, 0xEC00, 0x1FEE5)


@st.composite
def layouts(draw: st.DrawFn) -> tuple[str, int]:
    """A DBC text of one message without overlaps, Intel signals first, Motorola in the rest; its length."""
    length = draw(st.sampled_from([1, 3, 8, 8, 8, 16, 64]))
    border = draw(st.integers(0, length))
    lines, float_types = [], []
    for order, first, last in ((1, 0, 8 * border), (0, 8 * border, 8 * length)):
        at = first + draw(st.integers(0, 9))
        while at < last:
            size = min(draw(st.integers(1, 64)), last - at)
            if (at % 8 == 0 or draw(st.booleans())) and draw(st.integers(0, 3)) == 0:
                size = max([s for s in (16, 32, 64) if s <= last - at], default=size)
                if size in (32, 64):
                    float_types.append(f"SIG_VALTYPE_ 100 S{len(lines)} : {1 if size == 32 else 2};")
            start = at if order else 8 * (at // 8) + 7 - at % 8
            sign = draw(st.sampled_from("+-"))
            scale = draw(st.sampled_from(["1", "2", "0.5", "0.1", "1e-07", "-3", "1.7"]))
            offset = draw(st.sampled_from(["0", "0", "-40", "0.1", "100000"]))
            lines.append(f' SG_ S{len(lines)} : {start}|{size}@{order}{sign} ({scale},{offset}) [0|0] "u" A')
            at += size + draw(st.sampled_from([0, 0, 0, 1, 5]))
    return "\n".join(['VERSION ""', f"BO_ 100 M: {length} A", *lines, *float_types, ""]), length


@st.composite
def databases(draw: st.DrawFn) -> Database:
    """Messages whose signals overlap, repeat names and hang from each other's values, texts among them."""
    groups = draw(st.lists(st.sampled_from(J1939_IDS), max_size=4, unique=True))
    plain = draw(st.lists(st.sampled_from(PLAIN_IDS), min_size=not groups, max_size=3, unique=True))
    ids = [(number, True, True) for number in groups] + [(number, extended, False) for number, extended in plain]
    return Database(tuple(_message(draw, *i) for i in ids))


def _message(draw: st.DrawFn, number: int, extended: bool, is_j1939: bool) -> Message:
    length = draw(st.sampled_from([8, 8, 8, 12, 20] if is_j1939 else [3, 8, 8, 64]))
    signals: list[Signal] = []
    for _ in range(draw(st.integers(0, 9))):
        signals.append(_signal(draw, 8 * length, [s.name for s in signals if s.is_multiplexer]))
    if is_j1939 and draw(st.integers(0, 3)) == 0:
        signals.append(Signal("Text", draw(st.sampled_from([0, 16])), 1600))
    return Message(draw(st.sampled_from("ABC")), number, extended, is_j1939, length, tuple(signals))


def _signal(draw: st.DrawFn, bits: int, multiplexers: list[str]) -> Signal:
    above = draw(st.sampled_from([None, *multiplexers]))
    is_multiplexer = draw(st.integers(0, 2)) == 0
    is_float = not is_multiplexer and bits >= 64 and draw(st.integers(0, 5)) == 0
    size = draw(st.sampled_from([2, 3, 4]) if is_multiplexer else st.sampled_from([1, 2, 4, 8, 12, 16, 32, 60, 64]))
    size = min(draw(st.sampled_from([16, 32, 64])) if is_float else size, bits)
    first = draw(st.sampled_from([0, 3])) if is_multiplexer else draw(st.integers(0, bits - size))
    first = min(first, bits - size)
    byte_order = draw(st.sampled_from(["little_endian", "big_endian"]))
    return Signal(
        draw(st.sampled_from("PQRSTUV")),
        first if byte_order == "little_endian" else 8 * (first // 8) + 7 - first % 8,
        size,
        byte_order,
        not is_float and draw(st.booleans()),
        is_float,
        1 if is_multiplexer and draw(st.booleans()) else draw(st.sampled_from(SCALES)),
        draw(st.sampled_from(OFFSETS)),
        draw(st.sampled_from(["", "V"])),
        is_multiplexer=is_multiplexer,
        multiplexer_signal=above,
        multiplexer_ids=tuple(draw(st.lists(st.integers(-4, 9), min_size=1, max_size=5))) if above else (),
        validity=draw(st.sampled_from(["", "", "none", "j1939"])),
    )


def random_frames(database: Database, seed: int, n: int, is_wide: bool = False, machines: int = 0) -> FrameBatch:
    """Frames of the database's messages, of others and of transport sessions, not all in order of time.

    There are two buses; sessions are on one of them.

    Args:
        machines: how many there are; 0 is one that nobody names.
    """
    rng = np.random.default_rng(seed)
    width = 64 if is_wide else 8
    ids = rng.choice(np.array([*_ids_of(database), 7, 0x98FF_0001, 0x4000_0064], np.uint32), n)
    data = rng.integers(0, 256, (n, width), np.uint8)
    data[:, 0] = np.where(rng.random(n) < 0.7, data[:, 0] % 64, data[:, 0])
    data[rng.random(n) < 0.2] |= 0xF0
    dlc = np.where(rng.random(n) < 0.7, width, rng.integers(0, width + 1, n)).astype(np.uint8)
    data[np.arange(width) >= dlc[:, np.newaxis]] = 0
    sessions = rng.random(n) < 0.3
    for i, (_, number, payload) in zip(np.flatnonzero(sessions), session_rows(seed, int(sessions.sum())), strict=True):
        ids[i], dlc[i], data[i] = number, len(payload), 0
        data[i, : len(payload)] = list(payload)
    ts = np.cumsum(rng.integers(0, 3, n)) + np.where(rng.random(n) < 0.02, rng.integers(-50, 50, n), 0)
    flags = np.where(rng.random(n) < 0.03, Flag.REMOTE, 0).astype(np.uint8)
    machine = np.where(sessions, 0, rng.integers(0, machines, n)).astype(np.uint16) if machines else None
    names = tuple(f"m{i}" for i in range(machines))
    channel = np.where(sessions, 1, rng.integers(0, 2, n)).astype(np.uint8)
    return FrameBatch(ts, ids, dlc, flags, data, channel, ("can0", "can1"), machine, names)


def _ids_of(database: Database) -> Iterator[int]:
    """The messages' own, and (J1939) of several senders, other priorities and destinations."""
    for m in database.messages:
        number = m.frame_id | (1 << 31 if m.is_extended else 0)
        yield number
        if m.is_j1939:
            yield from (number & ~0xFF | sender for sender in (0, 3, 0x21))
            yield number ^ 0x0800_0000
            if m.frame_id >> 16 & 0xFF < 240:
                yield number & ~0xFF00 | 0x3300


def session_rows(seed: int, n: int) -> Iterator[tuple[int, int, bytes]]:
    """TP.CM and TP.DT frames (ts, id, data) of few senders: most go on with an open session, some break one.

    Of every 8000 frames the last 4000 are calm: nearly all go on, so that long sessions end well.
    """
    rng = np.random.default_rng(seed)
    calm = np.arange(n) % 8000 >= 4000
    pick, ts = rng.random((n, 4)), np.cumsum(rng.integers(0, 20_000, n) + 1_300_000 * (rng.random(n) < 0.004 * ~calm))
    bodies, addresses = rng.integers(0, 256, (n, 8), np.uint8), rng.integers(0, 4, (n, 2))
    pick[calm] = 0.8 * pick[calm] + [0, 0, 0, 0.2]
    open_: dict[tuple[int, int], list[int]] = {}  # packets sent, packets in all, parameter group
    for i in range(n):
        body = bytearray(bodies[i].tobytes())
        sender, receiver = 0x10 + int(addresses[i, 0]), (0xFF, 0xFF, 0x10, 0x11)[int(addresses[i, 1])]
        if open_ and pick[i, 0] < 0.9:
            sender, receiver = list(open_)[int(pick[i, 1] * len(open_))]
        if pick[i, 0] < 0.85 and (session := open_.get((sender, receiver))):
            session[0] += 1
            body[0] = session[0] if pick[i, 2] < 0.97 else body[0]
            if session[0] >= session[1]:
                del open_[sender, receiver]
            kind = 0xEB
        else:
            kind, back = _control(body, pick[i].tolist(), open_, sender, receiver)
            sender, receiver = (receiver, sender) if back else (sender, receiver)
        cut = int(pick[i, 3] * 400)  # rarely a frame of fewer bytes
        yield int(ts[i]), 0x9C00_0000 | kind << 16 | receiver << 8 | sender, bytes(body[: cut if cut < 9 else 8])


def _control(
    body: bytearray, pick: list[float], open_: dict[tuple[int, int], list[int]], sender: int, receiver: int
) -> tuple[int, bool]:
    """Makes ``body`` a TP.CM (mostly); its PDU format, and whether it goes back from the receiver."""
    what, key = pick[2], (sender, receiver)
    pgn = PGNS[body[7] % len(PGNS)]
    if key in open_ and what < 0.5:
        sent, packets, pgn = open_[key]
        if what < 0.3:
            again = body[2] % (sent + 2)
            body[:] = bytes([17, packets * (body[1] > 30), again, 255, 255]) + pgn.to_bytes(3, "little")
            open_[key][0] = again - 1 if body[1] and 1 <= again <= sent else sent
        else:
            body[:] = bytes([255 if what < 0.4 else 19, 3, 255, 255, 255]) + pgn.to_bytes(3, "little")
        return 0xEC, what < 0.35
    if what < 0.95:
        size = 1 + body[1] % 60 + 1725 * (body[1] > 240)
        packets = (size + 6) // 7 + (body[2] > 250)
        kind = 32 if (receiver == 0xFF) != (body[3] > 250) else 16
        body[:] = bytes([kind, size & 255, size >> 8, packets, 255]) + pgn.to_bytes(3, "little")
        open_[key] = [0, packets, pgn]
        return 0xEC, False
    return (0xEC if what < 0.97 else 0xEB), False


def batch_of_sessions(seed: int, n: int) -> FrameBatch:
    """:func:`session_rows` of one bus."""
    rows = list(session_rows(seed, n))
    data = np.zeros((n, 8), np.uint8)
    for i, (_, _, payload) in enumerate(rows):
        data[i, : len(payload)] = list(payload)
    ts, ids = np.array([r[0] for r in rows], np.int64), np.array([r[1] for r in rows], np.uint32)
    zeros = np.zeros(n, np.uint8)
    return FrameBatch(ts, ids, np.array([len(r[2]) for r in rows], np.uint8), zeros, data, zeros)


def assert_same(a: Decoded, b: Decoded) -> None:
    """Every column of both, bit by bit, and all else they say."""
    assert_same_samples(a.samples, b.samples)
    assert a.counts == b.counts
    assert a.texts == b.texts
    assert a.dtcs == b.dtcs


def assert_same_samples(a: Samples, b: Samples) -> None:
    for name in ("signals", "sources", "units", "machines"):
        assert getattr(a, name) == getattr(b, name), name
    for name in ("series", "ts", "status"):
        one, other = getattr(a, name), getattr(b, name)
        assert one.dtype == other.dtype
        assert one.tolist() == other.tolist(), name
    assert _bits(a.value).tolist() == _bits(b.value).tolist()
    assert (a.integers is None) == (b.integers is None)
    if a.integers is not None and b.integers is not None:
        assert a.integers.tolist() == b.integers.tolist()


def _bits(value: Any) -> Any:
    """A NaN is as good as any other; all else differs where one bit does."""
    return np.where(np.isnan(value), np.nan, value).view(np.int64)

"""Transport sessions: how they end, and pretty_j1939 as the second opinion on what they carried."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pretty_j1939.describe import J1939TransportTracker

from duco_workbench.j1939.transport import TIMEOUT, LongMessage, reassemble
from duco_workbench.model import Flag, FrameBatch

Row = tuple[int, int, bytes]  # ts, id, data
MS = 1000


def batch(rows: list[Row], channel: int = 0) -> FrameBatch:
    n = len(rows)
    data = np.zeros((n, 8), np.uint8)
    for i, row in enumerate(rows):
        data[i, : len(row[2])] = list(row[2])
    columns = np.array([r[0] for r in rows], np.int64), np.array([r[1] for r in rows], np.uint32)
    dlc, flags = np.array([len(r[2]) for r in rows], np.uint8), np.zeros(n, np.uint8)
    return FrameBatch(*columns, dlc, flags, data, np.full(n, channel, np.uint8), ("can0", "can1"))


def control(ts: int, sa: int, da: int, kind: int, body: bytes, pgn: int = 0xFECA) -> Row:
    return ts, 0x9CEC0000 | da << 8 | sa, bytes([kind]) + body + pgn.to_bytes(3, "little")


def open_session(ts: int, sa: int, da: int, size: int, pgn: int = 0xFECA) -> Row:
    kind = 32 if da == 255 else 16
    return control(ts, sa, da, kind, bytes([size & 255, size >> 8, (size + 6) // 7, 255]), pgn)


def packet(ts: int, sa: int, da: int, number: int, data: bytes) -> Row:
    return ts, 0x9CEB0000 | da << 8 | sa, bytes([number]) + data.ljust(7, b"\xff")


def session(ts: int, sa: int, body: bytes, da: int = 255, pgn: int = 0xFECA, step: int = 50 * MS) -> list[Row]:
    parts = [body[i : i + 7] for i in range(0, len(body), 7)]
    rows = [packet(ts + i * step, sa, da, i, part) for i, part in enumerate(parts, 1)]
    return [open_session(ts, sa, da, len(body), pgn), *rows]


def test_a_broadcast_has_the_time_of_its_last_frame() -> None:
    messages, counts = reassemble(batch(session(1000, 0x21, bytes(range(20)), step=10), channel=1))
    assert messages == [LongMessage(1030, 1, 0xFECA, 0x21, 255, bytes(range(20)))]
    assert counts == {"tp_done": 1}
    assert messages[0].arbitration_id == 0x98FECA21


def test_the_longest_message() -> None:
    body = bytes(i % 251 for i in range(1785))
    messages, _ = reassemble(batch(session(0, 1, body)))
    assert messages[0].data == body


def test_a_pdu1_message_keeps_its_destination() -> None:
    messages, _ = reassemble(batch(session(0, 1, bytes(9), da=0x2A, pgn=0xEF00)))
    assert messages[0].arbitration_id == 0x98EF2A01


def test_request_to_send_with_packets_asked_for_again() -> None:
    body = bytes(range(28))
    rows = session(0, 1, body, da=2, step=MS)
    again = control(3500, 2, 1, 17, bytes([2, 2, 255, 255]))  # after packet 3: two packets from 2 on
    rows = [*rows[:4], again, packet(3600, 1, 2, 2, body[7:14]), packet(3700, 1, 2, 3, body[14:21]), rows[4]]
    messages, counts = reassemble(batch(rows))
    assert [m.data for m in messages] == [body]
    assert counts == {"tp_done": 1}


def test_a_receiver_that_asks_to_wait_keeps_the_session() -> None:
    first, *rest = session(0, 1, bytes(14), da=2, step=0)
    wait = [control(i * MS * 500, 2, 1, 17, bytes([0, 255, 255, 255])) for i in range(1, 8)]
    late = [(ts + 4000 * MS, number, data) for ts, number, data in rest]
    assert reassemble(batch([first, *wait, *late]))[1] == {"tp_done": 1}


@pytest.mark.parametrize("who", [(1, 2), (2, 1)])
def test_either_side_may_abort(who: tuple[int, int]) -> None:
    rows = session(0, 1, bytes(14), da=2)
    rows.insert(2, control(60 * MS, *who, 255, b"\x03\xff\xff\xff"))
    assert reassemble(batch(rows))[1] == {"tp_aborted": 1, "tp_orphan": 1}


def test_an_abort_of_another_group_is_not_ours() -> None:
    rows = session(0, 1, bytes(14), da=2)
    rows.insert(2, control(60 * MS, 2, 1, 255, b"\x03\xff\xff\xff", pgn=0xFEDA))
    assert reassemble(batch(rows))[1] == {"tp_done": 1}


def test_silence_ends_a_session() -> None:
    rows = session(0, 1, bytes(14))
    late = [(rows[1][0] + TIMEOUT + 1, *rows[2][1:])]
    assert reassemble(batch([*rows[:2], *late]))[1] == {"tp_timeout": 1, "tp_orphan": 1}
    in_time = [(rows[1][0] + TIMEOUT, *rows[2][1:])]
    assert reassemble(batch([*rows[:2], *in_time]))[1] == {"tp_done": 1}


def test_a_new_session_supersedes_the_old() -> None:
    old, new = session(0, 1, b"a" * 14), session(70 * MS, 1, b"b" * 14)
    messages, counts = reassemble(batch([*old[:2], *new]))
    assert [m.data for m in messages] == [b"b" * 14]
    assert counts == {"tp_superseded": 1, "tp_done": 1}


def test_packets_out_of_sequence_orphans_and_what_is_left_open() -> None:
    rows = session(0, 1, bytes(21))
    assert reassemble(batch([rows[0], rows[2], rows[3]]))[1] == {"tp_out_of_sequence": 1, "tp_orphan": 1}
    assert reassemble(batch(rows[1:2]))[1] == {"tp_orphan": 1}
    assert reassemble(batch(rows[:3]))[1] == {"tp_unfinished": 1}


@pytest.mark.parametrize(
    "row",
    [
        control(0, 1, 255, 32, bytes([8, 0, 2, 255])),  # too short for a session
        control(0, 1, 255, 32, bytes([0xFA, 6, 255, 255])),  # 1786 bytes
        control(0, 1, 255, 32, bytes([20, 0, 2, 255])),  # 20 bytes are 3 packets
        control(0, 1, 255, 16, bytes([20, 0, 3, 255])),  # a request to everyone
        (0, 0x9CECFF01, b"\x20\x14"),
    ],
)
def test_malformed_openings_are_counted(row: Row) -> None:
    assert reassemble(batch([row]))[1] == {"tp_malformed": 1}


def test_a_packet_cut_short_is_malformed() -> None:
    rows = session(0, 1, bytes(14))
    assert reassemble(batch([rows[0], (1, rows[1][1], b"\x01\x00")]))[1] == {"tp_malformed": 1}


def test_buses_are_apart_and_remote_frames_ignored() -> None:
    rows = session(0, 1, bytes(14))
    mixed = batch(rows)
    mixed.channel[1] = 1
    assert reassemble(mixed)[1] == {"tp_orphan": 1, "tp_out_of_sequence": 1}
    remote = batch(rows)
    remote.flags[:] = Flag.REMOTE
    assert reassemble(remote)[1] == {}


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.binary(min_size=9, max_size=60), st.integers(0, 300)), min_size=1, max_size=8
    ),
    st.randoms(use_true_random=False),
)
def test_interleaved_broadcasts_are_what_pretty_j1939_says(sent: list[tuple[int, bytes, int]], order: object) -> None:
    queues: dict[int, list[Row]] = {}
    for sa, body, _ in sent:
        queues.setdefault(sa, []).extend(session(0, sa, body, pgn=0xFE00 + len(body)))
    rows: list[Row] = []
    while queues:  # senders interleave; the frames of one stay in order
        sa = order.choice(sorted(queues))  # type: ignore[attr-defined]
        rows.append((len(rows), *queues[sa].pop(0)[1:]))
        if not queues[sa]:
            del queues[sa]
    theirs: list[tuple[bytes, int, int]] = []
    tracker = J1939TransportTracker(False)
    for _, number, data in rows:
        tracker.process(lambda body, sa, pgn, is_last_packet: theirs.append((body, sa, pgn)), data, number & 0x1FFFFFFF)
    ours = [(m.data, m.source, m.pgn) for m in reassemble(batch(rows))[0]]
    assert ours == theirs
    assert len(ours) == len(sent)

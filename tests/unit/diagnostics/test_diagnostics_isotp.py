"""ISO-TP sessions: which frames they are, and how they end."""

from __future__ import annotations

import numpy as np
import pytest
from can_rows import MS, Row, batch, iso_tp
from hypothesis import given, settings
from hypothesis import strategies as st
from pretty_j1939.isotp import IsoTpTracker

from duco_workbench.diagnostics.addressing import is_functional, is_request, reverse, rows_of, source_of
from duco_workbench.diagnostics.isotp import TIMEOUT, IsoTpMessage, reassemble
from duco_workbench.model import Flag

ECU, TESTER, FIXED = 0x7E8, 0x7E0, 0x98DA_F110
BODY = bytes(range(40))


def flow(ts: int, number: int, status: int) -> Row:
    return ts, number, bytes([0x30 | status, 0, 0, 0xCC, 0xCC, 0xCC, 0xCC, 0xCC])


def test_which_ids_are_iso_tp() -> None:
    yes = [0x7DF, 0x7E0, 0x7EF, 0x98DA_F110, 0x98DB_33F1, 0x9CDA_10F1]
    no = [0x7DE, 0x7F0, 0x0DA, 0x18DA_F110, 0x98DC_F110, 0x99DA_F110, 0xD8DA_F110, 0x8000_07E8]
    frames = batch([(i, number, b"\0") for i, number in enumerate(yes + no)])
    assert rows_of(frames).tolist() == list(range(len(yes)))
    frames.flags[0] = Flag.REMOTE
    assert rows_of(frames).tolist() == list(range(1, len(yes)))


def test_other_ids_are_named_by_the_caller() -> None:
    frames = batch([(0, 0x714, b"\0"), (1, 0x77E, b"\0")])
    assert rows_of(frames).tolist() == []
    assert rows_of(frames, {0x714: 0x77E}).tolist() == [0, 1]


def test_who_talks_to_whom() -> None:
    pairs = {0x714: 0x77E}
    assert [reverse(n, pairs) for n in (0x7E0, 0x7EF, 0x714, 0x77E, 0x7DF)] == [0x7E8, 0x7E7, 0x77E, 0x714, 0x7DF]
    assert reverse(0x98DA_F110) == 0x98DA_10F1
    assert [is_request(n, pairs) for n in (0x7DF, 0x7E0, 0x7E8, 0x714, 0x77E)] == [True, True, False, True, False]
    assert [is_request(n) for n in (0x98DB_33F1, 0x98DA_F110)] == [True, None]
    assert [is_functional(n) for n in (0x7DF, 0x7E0, 0x98DB_33F1, 0x98DA_F110)] == [True, False, True, False]
    assert [source_of("can0", n) for n in (0x7E8, 0x98DA_F110)] == ["can0:7e8", "can0:10"]


@pytest.mark.parametrize("number", [ECU, TESTER, FIXED])
@pytest.mark.parametrize("size", [1, 7, 8, 13, 14, 300, 4095, 4096, 5000])
def test_messages_of_any_length(number: int, size: int) -> None:
    body = bytes(i % 251 for i in range(size))
    rows = iso_tp(1000, number, body)
    assert reassemble(batch(rows, channel=1)) == ([IsoTpMessage(rows[-1][0], 1, number, body)], {"isotp_done": 1})


@pytest.mark.parametrize("size", [8, 20, 62, 63, 200, 5000])
def test_can_fd(size: int) -> None:
    body = bytes(i % 251 for i in range(size))
    messages, counts = reassemble(batch(iso_tp(0, ECU, body, width=64)))
    assert ([m.data for m in messages], counts) == ([body], {"isotp_done": 1})


def test_ecus_and_testers_interleave() -> None:
    rows = [*iso_tp(0, ECU, BODY, step=4), *iso_tp(1, 0x7E9, BODY[::-1], step=4), *iso_tp(2, FIXED, BODY, step=4)]
    found = reassemble(batch(rows))[0]
    assert [(m.arbitration_id, m.data) for m in found] == [(ECU, BODY), (0x7E9, BODY[::-1]), (FIXED, BODY)]


def test_a_receiver_may_keep_the_sender_waiting() -> None:
    first, *rest = iso_tp(0, ECU, BODY, step=MS)
    waits = [flow(i * 900 * MS, TESTER, 1) for i in range(1, 6)]
    late = [(ts + 5000 * MS, number, data) for ts, number, data in rest]
    assert reassemble(batch([first, *waits, flow(4900 * MS, TESTER, 0), *late]))[1] == {"isotp_done": 1}
    assert reassemble(batch([first, *late]))[1] == {"isotp_timeout": 1, "isotp_orphan": 5}


def test_a_receiver_may_refuse() -> None:
    first, *rest = iso_tp(0, FIXED, BODY, step=2)
    rows = [first, flow(1, 0x98DA_10F1, 2), *rest]
    assert reassemble(batch(rows))[1] == {"isotp_aborted": 1, "isotp_orphan": 5}
    assert reassemble(batch([first, flow(1, 0x98DA_11F1, 2), *rest]))[1] == {"isotp_done": 1}


def test_flow_control_alone_is_nothing() -> None:
    assert reassemble(batch([flow(0, TESTER, 0)])) == ([], {})


def test_lost_frames_orphans_and_what_is_left_open() -> None:
    rows = iso_tp(0, ECU, BODY)
    assert reassemble(batch(rows[:2] + rows[3:]))[1] == {"isotp_out_of_sequence": 1, "isotp_orphan": 2}
    assert reassemble(batch(rows[1:]))[1] == {"isotp_orphan": 5}
    assert reassemble(batch(rows[:-1]))[1] == {"isotp_unfinished": 1}
    assert reassemble(batch([*rows[:-1], (TIMEOUT * 2, 0x123, b"")]))[1] == {"isotp_timeout": 1}


@pytest.mark.parametrize("new", [BODY, b"short"])
def test_a_new_message_supersedes_the_old(new: bytes) -> None:
    messages, counts = reassemble(batch(iso_tp(0, ECU, BODY)[:3] + iso_tp(3 * MS, ECU, new)))
    assert [m.data for m in messages] == [new]
    assert counts == {"isotp_superseded": 1, "isotp_done": 1}


@pytest.mark.parametrize(
    ("number", "data"),
    [
        (ECU, ""),
        (ECU, "00"),  # a single frame of nothing
        (ECU, "05aabb"),  # longer than its frame
        (ECU, "0c" + "00" * 7),
        (ECU, "1007aaaaaaaaaaaa"),  # it would fit a single frame
        (ECU, "1014aaaa"),
        (ECU, "100000000fffaaaa"),  # a 32-bit length that needs 12
        (ECU, "4000000000000000"),
        (0x7DF, "1014aaaaaaaaaaaa"),  # to everyone, in several frames
        (0x98DB_33F1, "1014aaaaaaaaaaaa"),
        (ECU, "003f" + "00" * 62),  # FD: longer than its frame
        (ECU, "0500" + "00" * 14),
    ],
)
def test_malformed_frames_are_counted(number: int, data: str) -> None:
    assert reassemble(batch([(0, number, bytes.fromhex(data))]))[1] == {"isotp_malformed": 1}


def test_a_consecutive_frame_cut_short() -> None:
    rows = iso_tp(0, ECU, BODY)
    rows[1] = (*rows[1][:2], rows[1][2][:5])
    assert reassemble(batch(rows[:2]))[1] == {"isotp_malformed": 1}


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from([ECU, TESTER, FIXED]), st.binary(max_size=8)), max_size=40))
def test_any_frames_are_counted(said: list[tuple[int, bytes]]) -> None:
    messages, counts = reassemble(batch([(i, number, data) for i, (number, data) in enumerate(said)]))
    assert len(messages) == counts["isotp_done"]
    assert all(m.data for m in messages)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.binary(min_size=1, max_size=60)), max_size=8), st.randoms())
def test_interleaved_messages_are_what_pretty_j1939_says(sent: list[tuple[int, bytes]], order: object) -> None:
    queues: dict[int, list[Row]] = {}
    for sender, body in sent:
        queues.setdefault(sender, []).extend(iso_tp(0, 0x98DA_F100 | sender, body))
    rows: list[Row] = []
    while queues:
        sender = order.choice(sorted(queues))  # type: ignore[attr-defined]
        rows.append((len(rows), *queues[sender].pop(0)[1:]))
        if not queues[sender]:
            del queues[sender]
    theirs: list[tuple[int, bytes]] = []
    tracker = IsoTpTracker(False)
    for _, number, data in rows:
        tracker.process(lambda body, sa, _pgn, **_: theirs.append((sa, body)), data, number & 0x1FFF_FFFF)
    assert [(m.arbitration_id & 0xFF, m.data) for m in reassemble(batch(rows))[0]] == theirs


def test_no_frames_of_interest() -> None:
    frames = batch([(i, 0x98FE_F100, b"") for i in range(1000)])
    assert len(rows_of(frames)) == 0
    assert np.array_equal(rows_of(frames[:0]), [])

"""NMEA 2000 fast packets: how they end."""

from __future__ import annotations

import pytest
from can_rows import batch, fast_packet, single
from hypothesis import given, settings
from hypothesis import strategies as st

from duco_workbench.j1939.fast_packet import LONGEST, TIMEOUT, as_frames, reassemble_fast
from duco_workbench.j1939.fast_packet_pgns import FAST_PACKET_PGNS
from duco_workbench.j1939.transport import LongMessage
from duco_workbench.parsing import Decoder, load_text

GNSS, PRODUCT, COMMAND = 129029, 126996, 126208
BODY = bytes(range(43))


def test_a_message_has_the_time_of_its_last_frame() -> None:
    rows = fast_packet(1000, GNSS, 0x23, BODY, sequence=5, step=10)
    messages, counts = reassemble_fast(batch(rows, channel=1))
    assert len(rows) == 7
    assert messages == [LongMessage(1060, 1, GNSS, 0x23, 255, BODY)]
    assert counts == {"fp_done": 1}


@pytest.mark.parametrize("size", [1, 6, 7, 13, 14, LONGEST])
def test_sizes(size: int) -> None:
    body = bytes(i % 251 for i in range(size))
    assert [m.data for m in reassemble_fast(batch(fast_packet(0, GNSS, 1, body)))[0]] == [body]


def test_an_addressed_group_keeps_its_destination() -> None:
    rows = [(ts, number & ~0xFF00 | 0x1100, data) for ts, number, data in fast_packet(0, COMMAND, 1, BODY)]
    (message,) = reassemble_fast(batch(rows))[0]
    assert (message.pgn, message.destination) == (COMMAND, 0x11)


def test_groups_are_named_by_the_caller() -> None:
    rows = fast_packet(0, 65280, 1, BODY)
    assert reassemble_fast(batch(rows)) == ([], {})
    assert [m.pgn for m in reassemble_fast(batch(rows), {65280})[0]] == [65280]


def test_the_table_has_public_and_makers_groups_and_no_single_frames() -> None:
    assert {GNSS, PRODUCT, COMMAND, 130816, 131071} <= FAST_PACKET_PGNS
    assert not {127250, 129025, 129026, 130306, 127488, 126993} & FAST_PACKET_PGNS


def test_two_messages_of_a_group_at_once_are_told_apart_by_their_sequence() -> None:
    one, two = fast_packet(0, GNSS, 1, BODY, sequence=1), fast_packet(1, GNSS, 1, BODY[::-1], sequence=2)
    assert {m.data for m in reassemble_fast(batch(one + two))[0]} == {BODY, BODY[::-1]}


def test_a_lost_frame() -> None:
    rows = fast_packet(0, GNSS, 1, BODY)
    assert reassemble_fast(batch(rows[:3] + rows[4:]))[1] == {"fp_out_of_sequence": 1, "fp_orphan": 2}
    assert reassemble_fast(batch(rows[1:]))[1] == {"fp_orphan": 6}


def test_silence_and_what_is_left_open() -> None:
    rows = fast_packet(0, GNSS, 1, BODY, step=0)
    late = [(TIMEOUT, *rows[-1][1:])]
    assert reassemble_fast(batch(rows[:-1] + late))[1] == {"fp_done": 1}
    late = [(TIMEOUT + 1, *rows[-1][1:])]
    assert reassemble_fast(batch(rows[:-1] + late))[1] == {"fp_timeout": 1, "fp_orphan": 1}
    assert reassemble_fast(batch(rows[:-1]))[1] == {"fp_unfinished": 1}
    assert reassemble_fast(batch([*rows[:-1], single(TIMEOUT + 1, 127250, 1, b"")]))[1] == {"fp_timeout": 1}


def test_a_new_message_supersedes_the_old() -> None:
    rows = fast_packet(0, GNSS, 1, BODY)[:3] + fast_packet(50_000, GNSS, 1, b"b" * 20)
    messages, counts = reassemble_fast(batch(rows))
    assert [m.data for m in messages] == [b"b" * 20]
    assert counts == {"fp_superseded": 1, "fp_done": 1}


@pytest.mark.parametrize("data", [b"", b"\0", b"\0\0abcdef", b"\0\xe0abcdef", b"\0\x2babc"])
def test_malformed_first_frames(data: bytes) -> None:
    assert reassemble_fast(batch([single(0, GNSS, 1, data)]))[1] == {"fp_malformed": 1}


def test_a_frame_cut_short() -> None:
    rows = fast_packet(0, GNSS, 1, BODY)
    rows[2] = (*rows[2][:2], rows[2][2][:5])
    assert reassemble_fast(batch(rows[:3]))[1] == {"fp_malformed": 1}


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from([GNSS, 127250]), st.binary(max_size=8)), max_size=40))
def test_any_frames_are_counted(said: list[tuple[int, bytes]]) -> None:
    messages, counts = reassemble_fast(batch([single(i, pgn, 1, data) for i, (pgn, data) in enumerate(said)]))
    assert len(messages) == counts["fp_done"]


def test_fast_packets_decode_like_frames() -> None:
    text = """VERSION ""
BO_ 2583168510 GNSS: 43 X
 SG_ Far : 280|16@1+ (0.5,0) [0|0] "m" X
BA_DEF_ BO_ "VFrameFormat" ENUM "StandardCAN","ExtendedCAN","reserved","J1939PG";
BA_DEF_DEF_ "VFrameFormat" "J1939PG";
"""
    frames = batch(fast_packet(0, GNSS, 0x23, BODY))
    samples = Decoder(load_text(text)).decode(as_frames(reassemble_fast(frames)[0], frames.channels))
    assert (samples.signals, samples.sources) == (("GNSS.Far",), ("can0:23",))
    assert samples.value.tolist() == [(35 | 36 << 8) / 2]

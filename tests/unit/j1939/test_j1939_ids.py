"""Parameter groups, senders and texts."""

from __future__ import annotations

import numpy as np
from can_rows import batch

from duco_workbench import j1939
from duco_workbench.j1939.messages import rows_of
from duco_workbench.parsing import Message, Signal
from duco_workbench.parsing.texts import read_texts, text_fields

IDS = np.array(
    [0x8CF00400, 0x98FEF117, 0x98EA2B05, 0x99FF0012, 0x9CEBFF21, 0x9CEC2103, 0x1CEBFF21, 0xDCEBFF21], np.uint32
)


def test_groups_and_senders() -> None:
    assert j1939.pgn(IDS)[:5].tolist() == [0xF004, 0xFEF1, 0xEA00, 0x1FF00, 0xEB00]
    assert j1939.source_address(IDS)[:5].tolist() == [0x00, 0x17, 0x05, 0x12, 0x21]
    assert [j1939.pgn_of(int(i)) for i in IDS[:5]] == j1939.pgn(IDS)[:5].tolist()


def test_transport_frames_are_extended_data_frames() -> None:
    assert j1939.transport_rows(IDS).tolist() == [4, 5]


def test_single_frames_of_a_group_at_any_priority() -> None:
    ids = [0x98FECA00, 0x80FECAFF, 0x18FECA00, 0x98FECB00, 0xD8FECA00, 0x99FECA00]
    assert rows_of(batch([(0, number, bytes(8)) for number in ids]), [j1939.DM1]).tolist() == [0, 1]


def message(*signals: Signal, is_j1939: bool = True) -> Message:
    return Message("CI", 0x18FEEBFE, True, is_j1939, 8, signals)


def test_fields_that_share_a_place_are_read_one_after_the_other() -> None:
    layout = message(Signal("Make", 0, 40), Signal("Model", 0, 1600), Signal("Serial", 0, 1600), Signal("N", 0, 8))
    fields = text_fields(layout)
    assert read_texts(fields, b"VOLVO TRUCKS*FH*42*") == [
        ("CI.Make", "VOLVO TRUCKS"),
        ("CI.Model", "FH"),
        ("CI.Serial", "42"),
    ]
    assert read_texts(fields, b"A**C") == [("CI.Make", "A"), ("CI.Serial", "C")]


def test_a_text_behind_a_number_and_two_apart() -> None:
    assert read_texts(text_fields(message(Signal("Count", 0, 8), Signal("S", 8, 1600))), b"\x01abc*") == [
        ("CI.S", "abc")
    ]
    apart = message(Signal("A", 0, 72), Signal("B", 72, 80))
    assert read_texts(text_fields(apart), b"123456789abcdefghij") == [("CI.A", "123456789"), ("CI.B", "abcdefghij")]


def test_not_available_and_padding_are_no_text() -> None:
    fields = text_fields(message(Signal("A", 0, 136)))
    assert read_texts(fields, b"\xff" * 17) == []
    assert read_texts(fields, b"VIN7\x00\x00\xff\xff") == [("CI.A", "VIN7")]
    assert read_texts(fields, b"") == []


def test_only_j1939_has_texts() -> None:
    assert text_fields(message(Signal("A", 0, 136), is_j1939=False)) == ()

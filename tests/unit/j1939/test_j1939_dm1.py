"""Trouble codes and lamps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pretty_j1939.describe import get_describer

from duco_workbench.j1939 import DM1, DM2
from duco_workbench.j1939.dm1 import dtcs, lamps, read
from duco_workbench.model import Dtc, FrameBatch
from duco_workbench.parsing import Decoder, load_text

DATABASE = """VERSION ""
BO_ 2566834942 DM1: 8 X
 SG_ A : 0|8@1+ (1,0) [0|0] "" X
BA_DEF_ "ProtocolType" STRING;
BA_ "ProtocolType" "J1939";
"""


def batch(rows: list[tuple[int, int, bytes]], channels: tuple[str, ...] = ("can0",)) -> FrameBatch:
    n = len(rows)
    data = np.zeros((n, 8), np.uint8)
    for i, row in enumerate(rows):
        data[i, : len(row[2])] = list(row[2])
    columns = np.array([r[0] for r in rows], np.int64), np.array([r[1] for r in rows], np.uint32)
    dlc, zeros = np.array([len(r[2]) for r in rows], np.uint8), np.zeros(n, np.uint8)
    return FrameBatch(*columns, dlc, zeros, data, zeros, channels)


def code(spn: int, fmi: int, oc: int, cm: int = 0) -> bytes:
    return bytes([spn & 255, spn >> 8 & 255, spn >> 16 << 5 | fmi, cm << 7 | oc])


def test_one_code_in_one_frame() -> None:
    frames = batch([(7, 0x98FECA03, bytes([0x04, 0xFF]) + code(520192, 31, 5) + b"\xff\xff")])
    assert dtcs(frames) == [Dtc(7, "can0:03", 520192, 31, 5, 0, "amber-warning:on")]


@pytest.mark.parametrize(
    "data",
    ["f3ff00000000ffff", "00ff00000000ffff", "00ffffffffffffff", "ffffffffffffffff", "00ff", "", "00ff000000"],
)
def test_no_fault(data: str) -> None:
    assert dtcs(batch([(0, 0x98FECA00, bytes.fromhex(data))])) == []


def test_a_count_of_127_is_not_known_and_the_conversion_bit_is_kept() -> None:
    (found,) = read(0, "can0:00", b"\x00\xff" + code(100, 3, 127, cm=1))
    assert (found.spn, found.fmi, found.oc, found.cm) == (100, 3, None, 1)


@pytest.mark.parametrize(("method", "data"), [(1, "0097038a"), (2, "9700038a"), (3, "b804038a"), (4, "b804030a")])
def test_conversion_methods_of_one_code(method: int, data: str) -> None:
    """SPN 1208, FMI 3, OC 10: the standard's own example (J1939-73, 5.7.1.7)."""
    body = b"\x00\xff" + bytes.fromhex(data) + b"\xff\xff"
    frames = batch([(7, 0x98FECA03, body)])
    assert [(d.spn, d.fmi, d.oc) for d in dtcs(frames, methods={"can0:03": method})] == [(1208, 3, 10)]


@pytest.mark.parametrize("spn", [1, 7, 8, 0x7F8, 0x800, 0x12345, 0x7FFFE])
def test_every_bit_of_an_spn_by_every_method(spn: int) -> None:
    high, low = spn >> 11, spn >> 3 & 255
    for method, head in ((1, (high, low)), (2, (low, high)), (3, (spn & 255, spn >> 8 & 255))):
        top = spn >> 16 if method == 3 else spn & 7
        (found,) = read(0, "can0:00", b"\0\0" + bytes([*head, top << 5 | 31, 0x81]), method)
        assert (found.spn, found.fmi, found.cm) == (spn, 31, 1)


def test_a_clear_conversion_bit_is_method_4_whatever_is_said_of_the_sender() -> None:
    assert [d.spn for d in read(0, "can0:00", b"\0\0" + code(1208, 3, 1), 1)] == [1208]


def test_several_codes_come_in_a_long_message() -> None:
    body = bytes([0x50, 0x7F]) + code(100, 1, 1) + code(0, 0, 0) + code(0, 4, 2) + code(65535, 19, 126)
    head = bytes([32, len(body), 0, 3, 255, 0xCA, 0xFE, 0])
    rows = [(0, 0x98ECFF11, head)]
    rows += [(i, 0x98EBFF11, bytes([i]) + body[7 * i - 7 : 7 * i].ljust(7, b"\xff")) for i in (1, 2, 3)]
    single = (2, 0x98FECA22, b"\x00\xff" + code(9, 9, 9) + b"\xff\xff")
    frames = batch([*rows[:3], single, rows[3]])
    found = dtcs(frames)
    assert [(d.ts, d.source, d.spn, d.fmi, d.oc) for d in found] == [
        (2, "can0:22", 9, 9, 9),
        (3, "can0:11", 100, 1, 1),
        (3, "can0:11", 0, 4, 2),
        (3, "can0:11", 65535, 19, 126),
    ]
    assert found[1].lamps == "malfunction:flash-fast,red-stop:on"
    assert Decoder(load_text(DATABASE)).decode_all(frames).dtcs == tuple(found)


def test_previously_active_codes_are_asked_for() -> None:
    frames = batch([(0, 0x98FECB00, b"\x00\xff" + code(1, 2, 3) + b"\xff\xff")])
    assert dtcs(frames) == []
    assert [d.spn for d in dtcs(frames, {DM2})] == [1]
    assert [d.spn for d in dtcs(frames, {DM1, DM2})] == [1]


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        ("0000", ""),
        ("ffff", ""),
        ("40ff", "malfunction:on"),
        ("1000", "red-stop:flash-slow"),
        ("0104", "protect:flash-slow"),
        ("0501", "amber-warning:flash-slow,protect:flash-fast"),
        ("5550", "malfunction:flash-fast,red-stop:flash-fast,amber-warning:flash-slow,protect:flash-slow"),
        ("20ff", "red-stop:error"),
        ("40", ""),
    ],
)
def test_lamps(data: str, shown: str) -> None:
    assert lamps(bytes.fromhex(data)) == shown


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 0x7FFFE), st.integers(0, 31), st.integers(0, 126)), min_size=1, max_size=1),
    st.integers(0, 255),
)
def test_codes_are_those_of_pretty_j1939(codes: list[tuple[int, int, int]], lamp: int) -> None:
    data = bytes([lamp, 255]) + b"".join(code(*c) for c in codes) + b"\xff\xff"
    described = DESCRIBER(data, 0x18FECA00)
    theirs = [text for key, text in described.items() if key.startswith("DTC ")]
    ours = [f"SPN {d.spn} (), FMI {d.fmi}, OC {d.oc}" for d in read(0, "", data)]
    assert [_without_name(t) for t in theirs] == [_without_name(o) for o in ours]


def _without_name(text: str) -> str:
    return text[: text.index("(")] + text[text.rindex("),") :]


DESCRIBER = get_describer()

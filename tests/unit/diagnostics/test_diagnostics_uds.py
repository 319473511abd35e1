"""UDS requests and answers."""

from __future__ import annotations

import pytest
from can_rows import batch, iso_tp
from hypothesis import given
from hypothesis import strategies as st

from duco_workbench.diagnostics import isotp, uds
from duco_workbench.diagnostics.isotp import IsoTpMessage
from duco_workbench.diagnostics.uds import Identifier, Kind, UdsDtc, UdsMessage

VIN = b"WVWZZZ1KZAW000001"


def message(data: str | bytes, number: int = 0x98DA_F110) -> UdsMessage:
    body = data if isinstance(data, bytes) else bytes.fromhex(data)
    frames = batch(iso_tp(0, number, body), channel=1)
    return uds.read(isotp.reassemble(frames)[0][0], frames.channels)


@pytest.mark.parametrize(
    ("data", "kind", "name", "nrc", "rest"),
    [
        ("1003", Kind.REQUEST, "DiagnosticSessionControl", "", "03"),
        ("5003003201f4", Kind.POSITIVE, "DiagnosticSessionControl", "", "03003201f4"),
        ("3e80", Kind.REQUEST, "TesterPresent", "", "80"),
        ("c502", Kind.POSITIVE, "ControlDTCSetting", "", "02"),
        ("7f2278", Kind.NEGATIVE, "ReadDataByIdentifier", "RequestCorrectlyReceivedResponsePending", ""),
        ("7f2733", Kind.NEGATIVE, "SecurityAccess", "SecurityAccessDenied", ""),
        ("7fbaf1", Kind.NEGATIVE, "Service BA", "Code F1", ""),
        ("7f22", Kind.MALFORMED, "ReadDataByIdentifier", "", "22"),
        ("7f", Kind.MALFORMED, "Service 00", "", ""),
        ("010c", Kind.REQUEST, "CurrentData", "", "0c"),
        ("410c1af8", Kind.POSITIVE, "CurrentData", "", "0c1af8"),
    ],
)
def test_what_a_message_is(data: str, kind: Kind, name: str, nrc: str, rest: str) -> None:
    found = message(data)
    assert (found.kind, found.name, found.nrc_name, found.data.hex()) == (kind, name, nrc, rest)
    assert found.source == "can1:10"


def test_a_vin_over_several_frames() -> None:
    found = message(b"\x62\xf1\x90" + VIN, number=0x7E8)
    assert uds.identifiers(found) == [Identifier(0xF190, VIN, VIN.decode())]


def test_several_identifiers_where_lengths_are_known() -> None:
    body = b"\x62\xf1\x90" + VIN + b"\x01\x02\xaa\xbb\xf1\x8c42\0\0"
    assert uds.identifiers(message(body), {0xF190: 17, 0x0102: 2}) == [
        Identifier(0xF190, VIN, VIN.decode()),
        Identifier(0x0102, b"\xaa\xbb", None),
        Identifier(0xF18C, b"42\0\0", "42"),
    ]
    assert [i.did for i in uds.identifiers(message(body))] == [0xF190, 0x0102]


@pytest.mark.parametrize(
    ("data", "found"),
    [
        ("62f18c", [Identifier(0xF18C, b"", None)]),
        ("62f18cff80", [Identifier(0xF18C, b"\xff\x80", None)]),
        ("62f190414243", [Identifier(0xF190, b"ABC", "ABC")]),
        ("62f1", []),
        ("62", []),
        ("22f190", []),
        ("7f2231", []),
    ],
)
def test_identifiers_of_odd_messages(data: str, found: list[Identifier]) -> None:
    assert uds.identifiers(message(data)) == found


def test_a_vin_longer_than_it_should_be_stays_one() -> None:
    (found,) = uds.identifiers(message(b"\x62\xf1\x90" + VIN + b"\0\0"))
    assert found.text == VIN.decode()


def test_trouble_codes_with_their_status() -> None:
    codes = uds.trouble_codes(message("5902ff03011709c1000088"))
    assert codes == [UdsDtc(0x030117, 0x09), UdsDtc(0xC10000, 0x88)]
    assert [code.text for code in codes] == ["P0301-17", "U0100-00"]
    assert codes[0].flags == ("testFailed", "confirmedDTC")
    assert codes[1].flags == ("confirmedDTC", "warningIndicatorRequested")


@pytest.mark.parametrize(
    ("data", "count"), [("5902ff", 0), ("5902", 0), ("5902ff030117", 0), ("5901ff0000", None), ("1902ff", None)]
)
def test_lists_of_no_codes_and_what_is_no_list(data: str, count: int | None) -> None:
    codes = uds.trouble_codes(message(data))
    assert (None if codes is None else len(codes)) == count


@given(st.binary(min_size=1, max_size=60))
def test_any_message_is_read(data: bytes) -> None:
    found = uds.read(IsoTpMessage(0, 0, 0x7E8, data), ("can0",))
    codes = uds.trouble_codes(found) or []
    assert found.name
    assert all(code.text and len(code.flags) == code.status.bit_count() for code in codes)
    assert sum(2 + len(i.data) for i in uds.identifiers(found)) in (0, len(found.data))

"""Component, vehicle and software identification."""

from __future__ import annotations

import pytest
from can_rows import SECOND, batch, broadcast, request_to_send, single

from duco_workbench.j1939.identification import (
    COMPONENT,
    SOFTWARE,
    VEHICLE,
    IdentityChange,
    identifications,
    identity_changes,
    texts,
)
from duco_workbench.j1939.transport import reassemble
from duco_workbench.model import FrameBatch

VIN = "YV2RT40A5FA123456"


def changes_of(frames: FrameBatch) -> list[IdentityChange]:
    return identity_changes(identifications(frames, reassemble(frames)[0]))


def test_a_vin_by_broadcast_session() -> None:
    frames = batch(broadcast(0, VEHICLE, 0x00, VIN.encode() + b"*"), channel=1)
    assert changes_of(frames) == [IdentityChange(150_000, "can1", 0x00, "vin", None, VIN)]


def test_a_vin_that_was_asked_for() -> None:
    frames = batch(request_to_send(0, VEHICLE, 0x00, 0xF9, VIN.encode() + b"*"))
    assert [change.after for change in changes_of(frames)] == [VIN]


@pytest.mark.parametrize(
    ("pgn", "data", "found"),
    [
        (COMPONENT, b"VOLVO*FH*42*7*", ["make=VOLVO", "model=FH", "serial_number=42", "unit_number=7"]),
        (COMPONENT, b"A**C", ["make=A", "serial_number=C"]),
        (COMPONENT, b"A*B*C*D*E*", ["make=A", "model=B", "serial_number=C", "unit_number=D"]),
        (COMPONENT, b"\xff\xff*M *\0\0S*\xff", ["model=M", "serial_number=S"]),
        (VEHICLE, b"\xff" * 17, []),
        (VEHICLE, b"*", []),
        (VEHICLE, b"", []),
        (VEHICLE, VIN.encode(), [f"vin={VIN}"]),
        (VEHICLE, VIN.encode() + b"*more", [f"vin={VIN}"]),
        (VEHICLE, b"\x80N*", ["vin=\N{REPLACEMENT CHARACTER}N"]),
        (SOFTWARE, b"\x02V1.2*BOOT7*X*", ["software_1=V1.2", "software_2=BOOT7"]),
        (SOFTWARE, b"\xffV1.2*BOOT7*", ["software_1=V1.2", "software_2=BOOT7"]),
        (SOFTWARE, b"\x00*", []),
        (SOFTWARE, b"", []),
        (65226, b"A*", []),
    ],
)
def test_texts(pgn: int, data: bytes, found: list[str]) -> None:
    assert [f"{field}={text}" for field, text in texts(pgn, data)] == found


def test_single_frames_repeats_changes_and_what_is_not_available() -> None:
    said = [b"\x01V1*", b"\x01V1*", b"\x01\xff\xff\xff*", b"\x01V2*", b"\x01V1*"]
    frames = batch([single(i * SECOND, SOFTWARE, 3, data.ljust(8, b"\xff")) for i, data in enumerate(said)])
    assert [(c.ts // SECOND, c.before, c.after) for c in changes_of(frames)] == [
        (0, None, "V1"),
        (3, "V1", "V2"),
        (4, "V2", "V1"),
    ]


def test_two_senders_of_a_group() -> None:
    rows = [single(i, COMPONENT, i % 2, b"AB*C*%d*" % (i % 2)) for i in range(4)]
    found = changes_of(batch(rows))
    assert [(c.sender, c.field, c.after) for c in found if c.field == "serial_number"] == [
        (0, "serial_number", "0"),
        (1, "serial_number", "1"),
    ]
    assert all(c.before is None for c in found)

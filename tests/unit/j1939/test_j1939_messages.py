"""Messages of chosen groups out of many frames."""

from __future__ import annotations

import numpy as np
import pytest
from can_rows import Row, batch, broadcast, request_to_send, single

from duco_workbench.j1939.messages import messages_of, rows_of
from duco_workbench.j1939.transport import LongMessage, reassemble
from duco_workbench.model import Flag

DM1, CLAIM, PROPRIETARY_A = 65226, 60928, 0xEF00
BODY = bytes(range(20))


def test_broadcast_groups_of_any_sender_and_priority() -> None:
    rows: list[Row] = [
        (0, 0x98FECA00, b"a"),
        (1, 0x80FECA17, b"b"),
        (2, 0x18FECA00, b"11 bits never have this"),
        (3, 0x99FECA00, b"data page 1"),
        (4, 0x98FECB00, b"DM2"),
        (5, 0xD8FECA00, b"remote"),
    ]
    assert rows_of(batch(rows), {DM1}).tolist() == [0, 1]


def test_addressed_groups_have_any_destination() -> None:
    frames = batch([single(0, PROPRIETARY_A, 1, b"x", 0x2A), single(1, PROPRIETARY_A, 1, b"x", 0xFF)])
    assert rows_of(frames, {PROPRIETARY_A}).tolist() == [0, 1]
    assert [m.destination for m in messages_of(frames, [], {PROPRIETARY_A})] == [0x2A, 0xFF]


def test_remote_and_error_frames_carry_nothing() -> None:
    frames = batch([single(0, DM1, 1, b"x"), single(1, DM1, 1, b"x")])
    frames.flags[:] = [Flag.REMOTE, Flag.ERROR]
    assert rows_of(frames, {DM1}).tolist() == []


def test_two_senders_of_a_group_short_and_long_in_order_of_time() -> None:
    rows = [*broadcast(0, DM1, 0x21, BODY), single(10, DM1, 0x03, b"\0" * 8), single(10**6, DM1, 0x03, b"\1" * 8)]
    frames = batch(rows, channel=1)
    found = messages_of(frames, reassemble(frames)[0], {DM1})
    assert [(m.ts, m.source) for m in found] == [(10, 0x03), (150_000, 0x21), (10**6, 0x03)]
    assert found[0] == LongMessage(10, 1, DM1, 0x03, 0xFF, b"\0" * 8)
    assert found[1].data == BODY


def test_a_message_asked_for_is_found_too() -> None:
    frames = batch(request_to_send(0, DM1, 0x21, 0xF9, BODY))
    (found,) = messages_of(frames, reassemble(frames)[0], {DM1})
    assert (found.source, found.destination, found.data) == (0x21, 0xF9, BODY)


@pytest.mark.parametrize("pgns", [(), (DM1,), (DM1, CLAIM)])
def test_no_frames(pgns: tuple[int, ...]) -> None:
    assert messages_of(batch([]), [], pgns) == []


def test_every_id_as_the_groups_say() -> None:
    ids = np.random.default_rng(0).integers(0, 1 << 29, 20_000).astype(np.uint32)
    rows = [(i, 0x8000_0000 | int(number), b"") for i, number in enumerate(ids)]
    pgns = {(n >> 8) & (0x3FFFF if n >> 16 & 0xFF >= 240 else 0x3FF00) for n in ids[:500].tolist()}
    expected = [
        i for i, n in enumerate(ids.tolist()) if (n >> 8) & (0x3FFFF if n >> 16 & 0xFF >= 240 else 0x3FF00) in pgns
    ]
    assert rows_of(batch(rows), pgns).tolist() == expected

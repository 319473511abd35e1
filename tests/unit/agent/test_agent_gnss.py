"""Positions from frames: what cantools reads from the same bytes, and what canboat published for NMEA 2000."""

from __future__ import annotations

import math
from typing import Any

import cantools
import numpy as np
import pytest
from agent_frames import T, batch

from agent.drafts import Draft
from agent.gnss import GnssFrames
from agent.gnss_frames import FastPacket, position_data
from duco_workbench.model import ERROR, EXTENDED, REMOTE, SECOND, FrameBatch

DBC = """
VERSION ""
BU_: GNSS
BO_ 2566845438 VP: 8 GNSS
 SG_ Latitude : 0|32@1+ (1E-07,-210) [-210|211.1] "deg" GNSS
 SG_ Longitude : 32|32@1+ (1E-07,-210) [-210|211.1] "deg" GNSS
BO_ 2566842622 VDS: 8 GNSS
 SG_ Bearing : 0|16@1+ (0.0078125,0) [0|501.99] "deg" GNSS
 SG_ Speed : 16|16@1+ (0.00390625,0) [0|250.996] "km/h" GNSS
 SG_ Pitch : 32|16@1+ (0.0078125,-200) [-200|301.99] "deg" GNSS
 SG_ Altitude : 48|16@1+ (0.125,-2500) [-2500|5531.875] "m" GNSS
BO_ 2583167486 Rapid: 8 GNSS
 SG_ Latitude : 0|32@1- (1E-07,0) [-90|90] "deg" GNSS
 SG_ Longitude : 32|32@1- (1E-07,0) [-180|180] "deg" GNSS
BO_ 2583167742 CogSog: 8 GNSS
 SG_ SID : 0|8@1+ (1,0) [0|252] "" GNSS
 SG_ Reference : 8|2@1+ (1,0) [0|3] "" GNSS
 SG_ COG : 16|16@1+ (0.0001,0) [0|6.2832] "rad" GNSS
 SG_ SOG : 32|16@1+ (0.01,0) [0|655.32] "m/s" GNSS
BO_ 2582647038 Time: 8 GNSS
 SG_ SID : 0|8@1+ (1,0) [0|252] "" GNSS
 SG_ Source : 8|4@1+ (1,0) [0|15] "" GNSS
 SG_ Date : 16|16@1+ (1,0) [0|65532] "d" GNSS
 SG_ Time : 32|32@1+ (0.0001,0) [0|86400] "s" GNSS
"""
DB = cantools.database.load_string(DBC, "dbc")
PLACE = {"Latitude": 48.1370001, "Longitude": -11.5750009}
MOVE = {"Bearing": 271.5, "Speed": 83.5, "Pitch": 0, "Altitude": 519.25}
NONE32, NONE16 = b"\xff\xff\xff\xff", b"\xff\xff"


def told(name: str, ts: int = 0, sender: int = 0x1C, **values: float) -> tuple[int, int, bytes]:
    """A frame of the database's message, as cantools writes it."""
    message = DB.get_message_by_name(name)
    return ts, message.frame_id & 0x1FFF_FF00 | sender | EXTENDED, message.encode(values)


def raw(name: str, data: bytes, ts: int = 0) -> tuple[int, int, bytes]:
    return ts, DB.get_message_by_name(name).frame_id & 0x1FFF_FF00 | 0x1C | EXTENDED, data


def test_the_ids_of_the_database_are_the_groups_we_mean() -> None:
    groups = {m.name: (m.frame_id >> 8) & 0x3FFFF for m in DB.messages}
    assert groups == {"VP": 65267, "VDS": 65256, "Rapid": 129025, "CogSog": 129026, "Time": 126992}


def fields(draft: Draft) -> dict[str, Any]:
    position = draft.payload
    return {f: getattr(position, f) for f in position.__struct_fields__ if getattr(position, f) is not None}


def test_place_and_movement_of_j1939_become_one_position() -> None:
    drafts = GnssFrames().on_frames(batch(told("VDS", 10, **MOVE), told("VP", 20, **PLACE)))
    assert [(d.msg_type, d.ts) for d in drafts] == [("vehicle_position", T + 20)]
    assert fields(drafts[0]) == pytest.approx(
        {"lat": 48.1370001, "lon": -11.5750009, "alt": 519.25, "speed": 83.5, "heading": 271.5}, abs=1e-7
    )


def test_place_and_movement_of_nmea_2000_become_one_position() -> None:
    rows = (told("CogSog", SID=1, Reference=0, COG=math.pi / 2, SOG=10), told("Rapid", 5, **PLACE))
    (draft,) = GnssFrames().on_frames(batch(*rows))
    assert fields(draft) == pytest.approx(
        {"lat": 48.1370001, "lon": -11.5750009, "speed": 36.0, "heading": 90.0}, abs=0.01
    )


def test_what_is_not_available_is_left_out() -> None:
    rows = (raw("VDS", NONE16 + b"\x00\xfe" + NONE16 * 2), told("VP", 5, **PLACE))
    (draft,) = GnssFrames().on_frames(batch(*rows))
    assert set(fields(draft)) == {"lat", "lon"}
    magnetic = told("CogSog", SID=1, Reference=1, COG=1, SOG=0)
    (draft,) = GnssFrames().on_frames(batch(magnetic, told("Rapid", 5, **PLACE)))
    assert fields(draft).keys() == {"lat", "lon", "speed"}


@pytest.mark.parametrize(
    "row",
    [
        raw("VP", NONE32 * 2),
        raw("VP", b"\0\0\0\xfe" * 2),
        raw("VP", b"\0\0\0\x70" + NONE32),
        raw("VP", bytes(8)),  # -210 degrees
        raw("VP", b"\0\0\0\x70\0"),  # cut off
        raw("Rapid", b"\xff\xff\xff\x7f" * 2),
        (0, 0x98FEF31C | REMOTE, b""),
        (0, 0x98FEF31C | ERROR, bytes(8)),
        (0, 0x18FEF31C & 0x7FF, told("VP", **PLACE)[2]),
    ],
)
def test_no_place_no_position(row: tuple[int, int, bytes]) -> None:
    assert GnssFrames().on_frames(batch(row)) == []


def test_at_most_one_a_second_and_none_of_a_second_is_lost_to_jitter() -> None:
    watcher = GnssFrames()
    many = [told("Rapid", i * 100_000, **PLACE) for i in range(101)]
    times = [d.ts - T for part in range(0, 101, 7) for d in watcher.on_frames(batch(*many[part : part + 7]))]
    assert times == [i * SECOND for i in range(11)]
    jitter = np.random.default_rng(4).integers(-15_000, 15_000, 50)
    slow = [told("VP", i * SECOND + int(jitter[i]), **PLACE) for i in range(50)]
    assert len(GnssFrames().on_frames(batch(*slow))) == 50


def test_old_speed_is_not_told_with_a_new_place() -> None:
    rows = (told("VDS", 0, **MOVE), told("VP", 10, **PLACE), told("VP", 10 * SECOND, **PLACE))
    drafts = GnssFrames().on_frames(batch(*rows))
    assert ["speed" in fields(d) for d in drafts] == [True, False]


def test_of_two_receivers_one_is_listened_to_until_it_is_silent() -> None:
    far = {"Latitude": -33.0, "Longitude": 151.0}
    both = [
        row for s in range(0, 8 * SECOND, SECOND) for row in (told("VP", s, 1, **PLACE), told("VP", s + 9, 2, **far))
    ]
    alone = [told("VP", s * SECOND, 2, **far) for s in range(8, 16)]
    south = [d.ts - T for d in GnssFrames().on_frames(batch(*both, *alone)) if d.payload.lat < 0]
    assert south[0] > 12 * SECOND - 100
    assert len(south) >= 3


def test_only_the_bus_it_was_told() -> None:
    frames = FrameBatch.concat(
        [batch(told("VP", 0, **PLACE), channel="can0"), batch(told("VP", 5, **PLACE), channel="can1")]
    )
    assert [d.ts - T for d in GnssFrames("can1").on_frames(frames)] == [5]
    assert [d.ts - T for d in GnssFrames("*").on_frames(frames)] == [0]
    assert GnssFrames("can9").on_frames(frames) == []


def test_satellites_time_is_told_a_vehicle_s_clock_is_not() -> None:
    heard: list[tuple[int, int]] = []
    day = 20_000
    rows = (
        told("Time", 7, SID=1, Source=0, Date=day, Time=3600.5),
        told("Time", 8, SID=1, Source=5, Date=day, Time=1),
        raw("Time", b"\1\xf0" + NONE16 + NONE32),
    )
    assert GnssFrames(on_time=lambda utc, ts: heard.append((utc, ts))).on_frames(batch(*rows)) == []
    assert heard == [((day * 86_400 + 3600) * SECOND + SECOND // 2, T + 7)]


# As canboat's samples have it: 2017-04-15 14:57:56.895, DGNSS fix, 18 satellites, altitude not available.
GNSS_DATA = bytes.fromhex("9b774336f61c20002ecf33600c6c05ff49105dae7363f5ffffffffffffff7f23fc124100ff7fffffff7f00")


def fast(data: bytes, sequence: int, ts: int = 0) -> list[tuple[int, int, bytes]]:
    """The frames that a fast-packet sender cuts a message into."""
    whole = bytes([len(data)]) + data
    parts = [whole[:7], *(whole[i : i + 7] for i in range(7, len(whole), 7))]
    return [
        (ts + 500 * i, 0x8DF80523 | EXTENDED, bytes([sequence << 5 | i]) + part.ljust(7, b"\xff"))
        for i, part in enumerate(parts)
    ]


def test_the_long_position_of_nmea_2000_over_several_calls() -> None:
    heard: list[tuple[int, int]] = []
    watcher, drafts = GnssFrames(on_time=lambda utc, ts: heard.append((utc, ts))), []
    rows = fast(GNSS_DATA, 3)
    for row in rows:
        drafts += watcher.on_frames(batch(row))
    (draft,) = drafts
    assert draft.ts == T + rows[-1][0]
    assert fields(draft) == pytest.approx({"lat": 39.0700875, "lon": -76.4640319, "fix": 2, "sats": 18}, abs=1e-7)
    assert heard == [(1_492_268_276_895_000, draft.ts)]


def test_a_long_position_with_a_frame_missing_is_given_up_and_the_next_is_read() -> None:
    rows = fast(GNSS_DATA, 3)
    watcher = GnssFrames()
    assert watcher.on_frames(batch(*rows[:2], *rows[3:])) == []
    assert watcher.on_frames(batch(*rows[3:])) == []
    assert len(watcher.on_frames(batch(*fast(GNSS_DATA, 4)))) == 1


def test_no_fix_is_no_place() -> None:
    no_fix = GNSS_DATA[:31] + b"\x03" + GNSS_DATA[32:]
    assert position_data(no_fix).lat is None
    assert position_data(no_fix).fix == 0


def test_any_bytes_are_read_or_left() -> None:
    random = np.random.default_rng(7)
    watcher, packet = GnssFrames(), FastPacket()
    for _ in range(300):
        data = random.integers(0, 256, int(random.integers(0, 9)), np.uint8).tobytes()
        number = int(random.choice([0x98FEF31C, 0x98FEE81C, 0x8DF8051C, 0x89F8011C, 0x89F8021C, 0x8DF0101C]))
        for draft in watcher.on_frames(batch((0, number, data))):
            assert abs(draft.payload.lat) <= 90
        packet.add(data)

"""The decoder against cantools, value by value, and what it does at the edges."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import cantools_oracle as oracle
import numpy as np
import pytest
from decoder_cases import layouts
from hypothesis import example, given, settings
from hypothesis import strategies as st

import duco_workbench
from duco_workbench import parsing
from duco_workbench.errors import ConfigError, DataError
from duco_workbench.model import EXTENDED, Flag, FrameBatch
from duco_workbench.parsing import Database, Decoder, Message, Signal, load_text, warm_up

MUX = """VERSION ""
BO_ 256 Plain: 8 A
 SG_ Sel M : 0|8@1+ (1,0) [0|0] "" A
 SG_ Common : 8|8@1- (0.5,-3) [0|0] "V" A
 SG_ One m1 : 16|16@1+ (0.1,0) [0|0] "" A
 SG_ Two m2 : 23|24@0- (1,0) [0|0] "" A
 SG_ Late m2 : 56|8@1+ (1,0) [0|0] "" A
BO_ 512 Nested: 8 A
 SG_ Top M : 3|4@0+ (1,0) [0|0] "" A
 SG_ Inner m2M : 8|4@1+ (1,0) [0|0] "" A
 SG_ Deep m3 : 16|12@1- (0.25,7) [0|0] "" A
 SG_ Deeper m4 : 31|32@0+ (1,0) [0|0] "" A
 SG_ Flat m1 : 16|32@1+ (1,0) [0|0] "" A
 SG_ Always : 56|8@1+ (1,0) [0|0] "" A
SG_MUL_VAL_ 512 Inner Top 2-2, 5-7;
SG_MUL_VAL_ 512 Deep Inner 3-3, 9-11;
SG_MUL_VAL_ 512 Deeper Inner 4-4;
SG_MUL_VAL_ 512 Flat Top 1-1, 7-7;
VAL_ 256 Common 4 "four" 5 "five";
"""
J1939 = """VERSION ""
BO_ 2364540158 EEC1: 8 X
 SG_ EngineSpeed : 16|16@1+ (0.125,0) [0|8031.875] "rpm" X
 SG_ Mode : 0|4@1+ (1,0) [0|15] "" X
 SG_ Lamp : 6|2@1+ (1,0) [0|3] "" X
 SG_ Torque : 8|8@1+ (1,-125) [-125|125] "%" X
 SG_ Total : 32|32@1+ (0.05,0) [0|1] "h" X
BO_ 2348810494 TSC1: 8 X
 SG_ Requested : 8|16@1+ (0.125,0) [0|8031.875] "rpm" X
BO_ 2566841854 LFC: 12 X
 SG_ Trip : 0|32@1+ (0.5,0) [0|1] "l" X
 SG_ Beyond : 64|32@1+ (0.5,0) [0|1] "l" X
BO_ 2566843646 VI: 8 X
 SG_ VIN : 0|1600@1+ (1,0) [0|0] "" X
BO_ 2566843390 CI: 8 X
 SG_ Make : 0|40@1+ (1,0) [0|0] "" X
 SG_ Model : 0|1600@1+ (1,0) [0|0] "" X
BO_ 1 Eleven: 8 X
 SG_ Byte : 0|8@1+ (1,0) [0|0] "" X
BA_DEF_ BO_ "VFrameFormat" ENUM "StandardCAN","ExtendedCAN","reserved","J1939PG";
BA_DEF_DEF_ "VFrameFormat" "J1939PG";
"""
EEC1 = 0x8CF00400


def batch(rows: list[tuple[int, int, int, bytes]], width: int = 8, flags: int = 0) -> FrameBatch:
    """Frames of (ts, channel number, arbitration id, data)."""
    n = len(rows)
    data = np.zeros((n, width), np.uint8)
    for i, row in enumerate(rows):
        data[i, : len(row[3])] = list(row[3])
    return FrameBatch(
        np.array([r[0] for r in rows], np.int64),
        np.array([r[2] for r in rows], np.uint32),
        np.array([len(r[3]) for r in rows], np.uint8),
        np.full(n, flags, np.uint8),
        data,
        np.array([r[1] for r in rows], np.uint8),
        ("can0", "can1"),
    )


def one(data: bytes, arbitration_id: int = EEC1) -> FrameBatch:
    return batch([(1, 0, arbitration_id, data)])


def values(decoder: Decoder, frames: FrameBatch) -> dict[str, tuple[float, int]]:
    samples = decoder.decode(frames)
    return {
        samples.signals[k]: (value, status)
        for k, value, status in zip(
            samples.series.tolist(), samples.value.tolist(), samples.status.tolist(), strict=True
        )
    }


def assert_equals_cantools(
    text: str, frames: FrameBatch, decoder: Decoder | None = None, may_refuse: bool = False
) -> int:
    samples = (decoder or Decoder(load_text(text))).decode(frames)
    wanted = oracle.expected(oracle.frame_rows(frames), oracle.load(text))
    assert may_refuse or not wanted.refused
    missing, extra = oracle.difference(samples, wanted)
    assert not missing
    assert not extra
    order = np.lexsort((samples.ts, samples.series))
    assert (samples.ts[order] == samples.ts).all(), "rows are not sorted by (series, ts)"
    assert (samples.series[order] == samples.series).all()
    return len(samples)


SHARED = Decoder(load_text(J1939))


@settings(max_examples=150, deadline=None)
@given(layouts(), st.data())
def test_any_layout_and_payload_is_what_cantools_says(layout: tuple[str, int], data: st.DataObject) -> None:
    text, length = layout
    payloads = data.draw(st.lists(st.binary(min_size=0, max_size=64 if length > 8 else 8), min_size=1, max_size=12))
    payloads += [bytes(length), b"\xff" * length, b"\x80" + b"\x00" * (length - 1)]
    frames = batch([(i, 0, 100, payload) for i, payload in enumerate(payloads)], 64 if length > 8 else 8)
    assert_equals_cantools(text, frames)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([256, 512]), st.binary(max_size=8)), min_size=1, max_size=30))
def test_plain_nested_and_extended_multiplexing(rows: list[tuple[int, bytes]]) -> None:
    small = [
        (i, 0, number, bytes([payload[0] % 8, *payload[1:]]) if payload else b"")
        for i, (number, payload) in enumerate(rows)
    ]
    assert_equals_cantools(MUX, batch(small), may_refuse=True)


def test_every_multiplexer_value_of_a_real_tree() -> None:
    rows = [(i, i % 2, 512, bytes([i & 15, i >> 4, 1, 2, 3, 4, 5, 250])) for i in range(256)]
    assert assert_equals_cantools(MUX, batch(rows), may_refuse=True) > 400


def test_an_unknown_multiplexer_value_keeps_the_common_signals() -> None:
    assert values(Decoder(load_text(MUX)), one(bytes([77, 4, 0, 0, 0, 0, 0, 0]), 256)) == {
        "Plain.Sel": (77.0, 0),
        "Plain.Common": (-1.0, 0),  # a named value stays the number
    }


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([EEC1, 0x8CF004FE, 0x98F00431, 0x8C000021, 0x8C00FF22, 0x98FEE503, 1, 0x80000001, 0x7FF]),
            st.binary(max_size=8).flatmap(
                lambda b: st.sampled_from([b, b"\xff" * len(b), b.replace(b"\x00", b"\xfe")])
            ),
            st.integers(0, 1),
            st.integers(0, 50),
        ),
        min_size=1,
        max_size=40,
    )
)
def test_j1939_matching_sources_and_validity(rows: list[tuple[int, bytes, int, int]]) -> None:
    frames = batch([(ts, channel, number, payload) for number, payload, channel, ts in rows])  # times in any order
    assert_equals_cantools(J1939, frames)


@pytest.mark.parametrize(
    ("data", "signal", "value", "status"),
    [
        ("0000200000000000", "EngineSpeed", 4.0, 0),
        ("000000fa00000000", "EngineSpeed", 8000.0, 0),
        ("000000fb00000000", "EngineSpeed", 8032.0, 0),  # parameter specific: a value
        ("000034fc00000000", "EngineSpeed", None, 3),
        ("000000fe00000000", "EngineSpeed", None, 2),
        ("0000ffff00000000", "EngineSpeed", None, 1),
        ("00ff000000000000", "Torque", None, 1),
        ("00fe000000000000", "Torque", None, 2),
        ("00fd000000000000", "Torque", None, 3),
        ("00fb000000000000", "Torque", 126.0, 0),
        ("c000000000000000", "Lamp", None, 1),
        ("8000000000000000", "Lamp", None, 2),
        ("0e00000000000000", "Mode", None, 2),
        ("0f00000000000000", "Mode", None, 1),
        ("00000000000000fe", "Total", None, 2),
    ],
)
def test_readings_that_are_not_numbers(data: str, signal: str, value: float | None, status: int) -> None:
    got, judged = values(Decoder(load_text(J1939)), one(bytes.fromhex(data)))[f"EEC1.{signal}"]
    assert judged == status
    assert np.isnan(got) if value is None else got == value


def test_validity_can_be_switched_off_for_all_or_for_one_signal() -> None:
    frames = one(b"\xff" * 8)
    assert values(Decoder(load_text(J1939), validity=False), frames)["EEC1.EngineSpeed"] == (8191.875, 0)
    chosen = load_text(J1939, overrides={"EEC1.Torque": {"validity": "none"}, "Eleven.Byte": {"validity": "j1939"}})
    got = values(Decoder(chosen), frames)
    assert got["EEC1.Torque"] == (130.0, 0)
    assert got["EEC1.EngineSpeed"][1] == 1
    assert values(Decoder(load_text(J1939)), one(b"\xff" * 8, 1))["Eleven.Byte"] == (255.0, 0)
    assert values(Decoder(chosen), one(b"\xff" * 8, 1))["Eleven.Byte"][1] == 1


def test_overrides_change_scale_offset_and_unit() -> None:
    change = {"EEC1.EngineSpeed": {"scale": 2.0, "offset": -1, "unit": "1/min"}}
    samples = Decoder(load_text(J1939, overrides=change)).decode(one(bytes.fromhex("0000100000000000")))
    at = samples.signals.index("EEC1.EngineSpeed")
    assert samples.units[at] == "1/min"
    assert samples.value[samples.series == at].tolist() == [31.0]


def test_senders_of_one_group_are_series_of_their_own() -> None:
    rows = [(i, i % 2, EEC1 + i % 3, bytes(8)) for i in range(60)]
    samples = Decoder(load_text(J1939)).decode(batch(rows))
    speeds = sorted(s for s, n in zip(samples.sources, samples.signals, strict=True) if n == "EEC1.EngineSpeed")
    assert speeds == ["can0:00", "can0:01", "can0:02", "can1:00", "can1:01", "can1:02"]
    assert_equals_cantools(J1939, batch(rows))


def test_diagnostics_over_29_bit_ids_are_not_judged_as_j1939_parameters() -> None:
    text = J1939.replace("BO_ 1 Eleven", "BO_ 2564485397 Eleven")  # 0x18DAF115
    assert values(Decoder(load_text(text)), one(b"\xff" * 8, 0x98DAF110))["Eleven.Byte"] == (255.0, 0)


def test_ids_of_11_and_29_bits_do_not_collide() -> None:
    text = 'VERSION ""\nBO_ 100 Short: 1 A\n SG_ X : 0|8@1+ (1,0) [0|0] "" A\n'
    assert values(Decoder(load_text(text)), one(b"\x01", 100 | EXTENDED)) == {}


def test_remote_and_error_frames_hold_nothing() -> None:
    decoder = Decoder(load_text(J1939))
    marked = [one(bytes(8), EEC1 | 0x4000_0000), one(bytes(8), EEC1 | 0x2000_0000)]
    for frames in [
        *marked,
        batch([(1, 0, EEC1, bytes(8))], flags=Flag.REMOTE),
        batch([(1, 0, EEC1, b"")], flags=Flag.ERROR),
    ]:
        decoded = decoder.decode_all(frames)
        assert len(decoded.samples) == 0
        assert decoded.counts["skipped"] == 1


def test_a_name_repeated_in_a_message_gives_two_series() -> None:
    text = """VERSION ""
BO_ 2364540158 ET: 8 X
 SG_ Temp : 0|8@1+ (1,0) [0|0] "C" X
 SG_ Temp : 8|8@1+ (2,1) [0|0] "C" X
 SG_ Temp : 39|16@0- (0.5,0) [0|0] "K" X
BA_DEF_ BO_ "VFrameFormat" ENUM "StandardCAN","ExtendedCAN","reserved","J1939PG";
BA_DEF_DEF_ "VFrameFormat" "J1939PG";
"""
    frames = batch([(i, 0, EEC1, bytes([i, 2 * i, 3, 4, i, 6, 7, 8])) for i in range(100)])
    assert assert_equals_cantools(text, frames) == 300
    assert set(Decoder(load_text(text)).decode(frames).signals) == {"ET.Temp", "ET.Temp#2", "ET.Temp#3"}


def test_one_name_under_different_multiplexer_values_is_one_series() -> None:
    text = MUX.replace("Two m2 : 23|24@0-", "One m2 : 23|24@0-")
    rows = [(i, 0, 256, bytes([1 + i % 2, 0, i, 0, 0, 0, 0, 0])) for i in range(10)]
    samples = Decoder(load_text(text)).decode(batch(rows))
    assert samples.signals.count("Plain.One") == 1
    assert samples.ts[samples.series == samples.signals.index("Plain.One")].tolist() == list(range(10))


@pytest.mark.parametrize("compiled", [True, False])
def test_a_frame_of_an_unknown_multiplexer_value_may_be_dropped(compiled: bool) -> None:
    rows = [(i, 0, 256, bytes([value, 0, i, 0, 0, 0, 0, 0])) for i, value in enumerate([1, 2, 77, 1])]
    dropping = Decoder(load_text(MUX), compiled=compiled, unknown_multiplexer="drop").decode(batch(rows))
    keeping = Decoder(load_text(MUX), compiled=compiled).decode(batch(rows))
    assert set(dropping.ts.tolist()) == {0, 1, 3}
    assert set(keeping.ts.tolist()) == {0, 1, 2, 3}
    assert oracle.sample_rows(dropping) == oracle.sample_rows(keeping[keeping.ts != 2])
    with pytest.raises(ConfigError, match="keep"):
        Decoder(load_text(MUX), unknown_multiplexer="ignore")  # type: ignore[arg-type]


def test_integers_wider_than_float64_are_rounded_once() -> None:
    text = 'VERSION ""\nBO_ 100 M: 8 A\n SG_ X : 0|63@1+ (1,1) [0|0] "" A\n'
    signed = text.replace("63@1+ (1,1)", "64@1- (1,0)")
    scaled = text.replace("63@1+ (1,1)", "60@1+ (3,1)")
    unsigned = text.replace("63@1+ (1,1)", "64@1+ (1,0)")
    shifted = text.replace("63@1+ (1,1)", "61@1+ (-3,0.1)")
    shifted_unsigned = text.replace("63@1+ (1,1)", "64@1+ (1,0.5)")
    rng = np.random.default_rng(1)
    frames = batch([(i, 0, 100, rng.bytes(8)) for i in range(500)])
    for variant in (text, signed, scaled, unsigned, shifted, shifted_unsigned):
        assert assert_equals_cantools(variant, frames) == 500


@settings(max_examples=300, deadline=None)
@given(
    st.integers(0, 2**64 - 1),
    st.booleans(),
    st.integers(-(2**62), 2**62).filter(bool),
    st.integers(-(2**62), 2**62) | st.just(0.5),
)
@example(raw=1, is_signed=False, scale=-(2**54 - 937), offset=1)  # a scale that float64 does not hold
def test_integers_that_outgrow_64_bits_are_rounded_once(raw: int, is_signed: bool, scale: int, offset: float) -> None:
    signal = Signal("S", 0, 64, is_signed=is_signed, scale=scale, offset=offset)
    database = Database((Message("M", 1, False, False, 8, (signal,)),))
    frames = one(raw.to_bytes(8, "little"), 1)
    number = raw - (1 << 64) if is_signed and raw >> 63 else raw
    wanted = float(number * scale) + offset if offset == 0.5 else float(number * scale + int(offset))
    for compiled in (True, False):
        assert Decoder(database, compiled=compiled).decode(frames).value.tolist() == [wanted], compiled


@pytest.mark.parametrize(
    ("pattern", "value"),
    [("0000", 0.0), ("003c", 1.0), ("00c0", -2.0), ("0100", 2.0**-24), ("ff7b", 65504.0), ("007c", np.inf)],
)
def test_half_precision(pattern: str, value: float) -> None:
    # DBC files cannot say float16; SYM and ARXML can. numpy is the second opinion.
    from duco_workbench.parsing import Database, Message, Signal

    database = Database((Message("M", 1, False, False, 2, (Signal("H", 0, 16, is_float=True),)),))
    assert values(Decoder(database), one(bytes.fromhex(pattern), 1))["M.H"] == (value, 0)
    assert np.frombuffer(bytes.fromhex(pattern), np.float16)[0] == value


def test_a_signal_over_nine_bytes_of_a_wide_frame() -> None:
    lines = (
        ' SG_ A : 4|64@1+ (1,0) [0|0] "" A\n SG_ B : 131|64@0- (1,0) [0|0] "" A\n SG_ C : 500|12@1+ (1,0) [0|0] "" A\n'
    )
    rng = np.random.default_rng(2)
    frames = batch([(i, 0, 100, rng.bytes(64)) for i in range(50)], 64)
    assert assert_equals_cantools(f'VERSION ""\nBO_ 100 M: 64 A\n{lines}', frames) == 150


def test_a_fuzzed_bus_changes_nothing_for_the_real_ids() -> None:
    rng = np.random.default_rng(3)
    noise = rng.choice(np.arange(0x80000000, 0x9FFFFFFF, 17, dtype=np.uint32), 9000, replace=False)
    rows = [(i, 0, int(number), rng.bytes(8)) for i, number in enumerate(noise)]
    rows += [(9000 + i, i % 2, EEC1 | i % 256, rng.bytes(8)) for i in range(2000)]
    decoder = Decoder(load_text(J1939))
    first = decoder.decode_all(batch(rows))
    assert_equals_cantools(J1939, batch(rows), decoder)
    again = decoder.decode_all(batch(rows))
    assert first.counts == again.counts
    assert oracle.sample_rows(first.samples) == oracle.sample_rows(again.samples)
    known = sum(oracle.expected(oracle.frame_rows(batch(rows)), oracle.load(J1939)).rows.values())
    assert known == len(first.samples)
    assert first.counts["unknown_ids"] > 8000


def test_more_ids_than_the_table_keeps() -> None:
    decoder = Decoder(load_text(J1939))
    for part in range(3):
        numbers = np.arange(part * 40_000, (part + 1) * 40_000, dtype=np.uint32) | np.uint32(EXTENDED | 0x1000_0000)
        n = len(numbers)
        zeros = np.zeros(n, np.uint8)
        frames = FrameBatch(np.arange(n), numbers, zeros, zeros, np.zeros((n, 8), np.uint8), zeros)
        assert decoder.decode_all(frames).counts["unknown_ids"] + decoder.decode_all(frames).counts["decoded"] == n
    assert len(decoder._engine._state.slots) <= 1 << 17
    assert values(decoder, one(bytes(8)))["EEC1.Torque"] == (-125.0, 0)


def test_long_messages_decode_through_the_same_plan() -> None:
    body = bytes.fromhex("0a000000 00000000 14000000")
    vin = b"1FUJGLDR8CLBP8834*"
    rows = bam(0, 0x21, 0xFEE5, body) + bam(100, 0x21, 0xFEEC, vin) + bam(200, 5, 0xFEEB, b"VOLVO*FH16*")
    decoded = Decoder(load_text(J1939)).decode_all(batch(rows))
    assert oracle.sample_rows(decoded.samples) == {
        ("LFC.Trip", "can0:21", 2, 5.0, "ok"): 1,
        ("LFC.Beyond", "can0:21", 2, 10.0, "ok"): 1,
    }
    assert [(t.ts, t.signal, t.source, t.text) for t in decoded.texts] == [
        (103, "VI.VIN", "can0:21", "1FUJGLDR8CLBP8834"),
        (202, "CI.Make", "can0:05", "VOLVO"),
        (202, "CI.Model", "can0:05", "FH16"),
    ]
    assert decoded.counts["tp_done"] == 3
    assert decoded.counts["transport"] == len(rows)


def test_a_series_from_single_frames_and_long_messages_is_one_in_order_of_time() -> None:
    single = [(t, 0, 0x98FEE521, bytes.fromhex("02000000ffffffff")) for t in (0, 50, 150)]
    rows = sorted(single + bam(60, 0x21, 0xFEE5, bytes(12)), key=lambda row: row[0])
    samples = Decoder(load_text(J1939)).decode(batch(rows))
    assert samples.signals.count("LFC.Trip") == 1
    of_trip = samples.series == samples.signals.index("LFC.Trip")
    assert samples.ts[of_trip].tolist() == [0, 50, 62, 150]
    assert samples.value[of_trip].tolist() == [1.0, 1.0, 0.0, 1.0]
    assert (np.diff(samples.series) >= 0).all()


def test_a_short_text_comes_in_one_frame() -> None:
    decoded = Decoder(load_text(J1939)).decode_all(one(b"MB*OM47*", 0x98FEEB11))
    assert [(t.signal, t.source, t.text) for t in decoded.texts] == [
        ("CI.Make", "can0:11", "MB"),
        ("CI.Model", "can0:11", "OM47"),
    ]
    assert Decoder(load_text(J1939)).decode_all(one(b"\xff" * 8, 0x98FEEB11)).texts == ()


@pytest.mark.parametrize("compiled", [True, False], ids=["kernels", "numpy"])
def test_sessions_texts_and_codes_are_their_machines(compiled: bool) -> None:
    """Two machines send the same at the same time, by sessions and in single frames."""
    dm1, vin = bytes([4, 0xFF, 100, 0, 3, 2, 110, 0, 4, 1]), b"5GZCZ43D13S812715*"
    rows = [
        *bam(0, 0x21, 0xFECA, dm1),
        *bam(10, 5, 0xFEEC, vin),
        (20, 0, 0x98FECA05, dm1[:6]),
        (30, 0, 0x98FEEB05, b"ABC*"),
    ]
    both = batch([row for row in rows for _ in range(2)])
    frames = replace(both, machine=np.arange(len(both), dtype=np.uint16) % 2, machines=("m1", "m2"))
    decoded = Decoder(load_text(J1939), compiled=compiled).decode_all(frames)
    alone = Decoder(load_text(J1939), compiled=compiled).decode_all(batch(rows))
    assert len(alone.dtcs) == 3
    assert len(alone.texts) > 1
    for machine in frames.machines:
        assert [replace(d, machine="") for d in decoded.dtcs if d.machine == machine] == list(alone.dtcs)
        assert tuple(replace(t, machine="") for t in decoded.texts if t.machine == machine) == alone.texts
    assert parsing.dtcs(frames) == list(decoded.dtcs)


def bam(ts: int, source: int, pgn: int, body: bytes) -> list[tuple[int, int, int, bytes]]:
    packets = [body[i : i + 7].ljust(7, b"\xff") for i in range(0, len(body), 7)]
    head = bytes([32, len(body) & 255, len(body) >> 8, len(packets), 255]) + pgn.to_bytes(3, "little")
    rows = [(ts, 0, 0x9CECFF00 | source, head)]
    return rows + [(ts + i, 0, 0x9CEBFF00 | source, bytes([i]) + p) for i, p in enumerate(packets, 1)]


def test_counts_add_up() -> None:
    rows = [(1, 0, EEC1, bytes(8)), (2, 0, 5, b""), (3, 0, 6, b""), (4, 0, 6, b""), (5, 0, 0x4000_0005, b"")]
    counts = Decoder(load_text(J1939)).decode_all(batch(rows + bam(6, 1, 0xFEE5, bytes(9)))).counts
    names = ("frames", "decoded", "transport", "unknown", "unknown_ids", "skipped")
    assert [counts[name] for name in names] == [8, 1, 3, 3, 2, 1]


def test_no_frames_and_no_messages() -> None:
    assert len(Decoder(load_text(J1939)).decode(FrameBatch.empty())) == 0
    from duco_workbench.parsing import Database

    assert Decoder(Database(())).decode_all(one(bytes(8))).counts["unknown"] == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"ts": np.zeros(1, np.float64)},
        {"ts": np.zeros(2, np.int64)},
        {"arbitration_id": np.zeros(1, np.int64)},
        {"dlc": np.full(1, 9, np.uint8)},
        {"dlc": np.zeros(1, np.int64)},
        {"flags": np.zeros(2, np.uint8)},
        {"data": np.zeros((1, 7), np.uint8)},
        {"data": np.zeros(8, np.uint8)},
        {"data": np.zeros((2, 8), np.uint8)},
        {"data": np.zeros((1, 8), np.int8)},
        {"channel": np.full(1, 1, np.uint8)},
        {"channel": np.zeros(0, np.uint8)},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_wrong_columns_are_an_error_not_a_crash(wrong: dict[str, Any]) -> None:
    good = {
        "ts": np.zeros(1, np.int64),
        "arbitration_id": np.full(1, EEC1, np.uint32),
        "dlc": np.full(1, 8, np.uint8),
        "flags": np.zeros(1, np.uint8),
        "data": np.zeros((1, 8), np.uint8),
        "channel": np.zeros(1, np.uint8),
    }
    decoder = Decoder(load_text(J1939))
    with pytest.raises(DataError, match="bad_frames") as caught:
        decoder.decode(FrameBatch(**{**good, **wrong}))
    assert caught.value.reason == "bad_frames"
    assert len(decoder.decode(FrameBatch(**good))) == 5  # the next batch is not harmed


ANY_COLUMN = st.builds(
    lambda kind, shape, low, step: np.full(shape, low, kind)[::step],
    st.sampled_from(["u1", "i1", "u2", "u4", ">u4", "i8", ">i8", "f8"]),
    st.sampled_from([(0,), (3,), (4,), (3, 8), (3, 64), (3, 7), (3, 0), (0, 8), (4, 8), (3, 256), (3, 264), (3, 8, 1)]),
    st.integers(0, 120),
    st.sampled_from([1, -1]),
)


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_columns_of_any_kind_are_taken_or_refused(data: st.DataObject) -> None:
    """Most columns are right, so that the wrong one gets as far as it can."""
    right = {
        "ts": np.arange(3, dtype=np.int64),
        "arbitration_id": np.full(3, EEC1, np.uint32),
        "dlc": np.full(3, 8, np.uint8),
        "flags": np.zeros(3, np.uint8),
        "data": np.zeros((3, 8), np.uint8),
        "channel": np.zeros(3, np.uint8),
    }
    wrong = data.draw(st.dictionaries(st.sampled_from([*right, "machine"]), ANY_COLUMN, max_size=2))
    machines = data.draw(st.sampled_from([(), ("a",), ("a", "b")]))
    frames = FrameBatch(**{**right, **wrong}, machines=machines)  # type: ignore[arg-type]
    with contextlib.suppress(DataError):
        assert set(SHARED.decode(frames).ts.tolist()) <= set(frames.ts.tolist())


def test_read_only_strided_and_unaligned_columns_are_taken() -> None:
    frames = batch([(i, 0, EEC1, bytes([i] * 8)) for i in range(20)])
    wide = np.zeros((20, 24), np.uint8)
    wide[:, 5:13] = frames.data
    for column in (frames.ts, frames.arbitration_id):
        column.flags.writeable = False
    odd = FrameBatch(frames.ts, frames.arbitration_id, frames.dlc, frames.flags, wide[:, 5:13], frames.channel)
    assert oracle.sample_rows(Decoder(load_text(J1939)).decode(odd[::2])) == oracle.sample_rows(
        Decoder(load_text(J1939)).decode(frames[::2])
    )


def test_results_outlive_the_next_call() -> None:
    decoder = Decoder(load_text(J1939))
    kept = decoder.decode(one(bytes(8)))
    before = oracle.sample_rows(kept)
    decoder.decode(batch([(i, 0, EEC1, b"\x11" * 8) for i in range(5000)]))
    assert oracle.sample_rows(kept) == before


def test_one_decoder_in_several_threads() -> None:
    decoder = Decoder(load_text(J1939))
    batches = [batch([(i, 0, EEC1 + k, bytes([k] * 8)) for i in range(500)]) for k in range(4)]
    wanted = [oracle.sample_rows(Decoder(load_text(J1939)).decode(b)) for b in batches]
    wrong: list[int] = []

    def work(k: int) -> None:
        for _ in range(20):
            if oracle.sample_rows(decoder.decode(batches[k])) != wanted[k]:
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_warm_up_compiles_all_a_batch_needs() -> None:
    from duco_workbench.parsing import batches
    from duco_workbench.parsing import values as value_kernels

    warm_up()
    Decoder(load_text(J1939)).decode(batch([*bam(0, 1, 0xFEE5, bytes(20)), (9, 1, EEC1, bytes(8))]))
    for kernel in (batches.decode, value_kernels.fill):
        assert len(kernel.signatures) == 1  # type: ignore[attr-defined]


def test_a_kernel_that_was_kept_is_compiled_anew_when_another_file_changes(tmp_path: Path) -> None:
    shutil.copytree(Path(duco_workbench.__file__).parent, tmp_path / "duco_workbench")
    parsing = tmp_path / "duco_workbench" / "parsing"
    (parsing / "caller.py").write_text(
        "from .called import two\nfrom ..jit import kernel\n\n\n@kernel\ndef four():\n    return 2 * two()\n"
    )

    def four(two: int) -> str:
        (parsing / "called.py").write_text(f"from ..jit import kernel\n\n\n@kernel\ndef two():\n    return {two}\n")
        script = "from duco_workbench.parsing.caller import four; print(four(), sum(four.stats.cache_hits.values()))"
        return subprocess.run(
            [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout.strip()

    assert four(2) == "4 0"
    assert four(2_000) == "4000 0"

"""The simulated machine: a pure function of (seed, time), and believable."""

import hashlib
import itertools
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duco_workbench.local.simulation import SimulatedMachine
from duco_workbench.local.simulation.schedule import VARIANTS, faults
from duco_workbench.local.simulation.state import Model
from duco_workbench.model import EXTENDED, SECOND, FrameBatch

HOUR = 3600 * SECOND
T0 = 1_790_000_000 * SECOND // HOUR * HOUR  # a whole hour in September 2026
COLUMNS = ("ts", "arbitration_id", "dlc", "flags", "data", "channel")


@pytest.fixture(scope="module")
def machine():
    return SimulatedMachine("wl-1", seed=1)


@pytest.fixture(scope="module")
def six_hours(machine):
    return [machine.frames(T0 + h * HOUR, T0 + (h + 1) * HOUR) for h in range(6)]


def same(a: FrameBatch, b: FrameBatch) -> bool:
    return a.channels == b.channels and all(np.array_equal(getattr(a, c), getattr(b, c)) for c in COLUMNS)


def of(frames: FrameBatch, pgn: int, sender: int) -> FrameBatch:
    """Single frames of one PGN and sender on the powertrain bus."""
    wanted = (frames.arbitration_id & 0x03FFFFFF) == (pgn << 8 | sender)
    return frames[wanted & (frames.channel == 0)]


def number(frames: FrameBatch, byte: int, kind: str) -> np.ndarray:
    """Raw Intel integers at a byte (from 1) of each frame."""
    width = np.dtype(kind).itemsize
    return np.ascontiguousarray(frames.data[:, byte - 1 : byte - 1 + width]).view(kind)[:, 0].astype(np.int64)


def messages_by_transport(frames: FrameBatch) -> list[tuple[int, int, int, bytes]]:
    """(ts of the announcement, sender, pgn, payload) of each broadcast that is whole; written from J1939-21 alone."""
    open_sessions, done = {}, []
    for ts, identifier, data in zip(frames.ts, frames.arbitration_id, frames.data, strict=True):
        sender, pf = int(identifier) & 0xFF, int(identifier) >> 16 & 0xFF
        if pf == 0xEC and data[0] == 32:
            assert sender not in open_sessions, "two broadcasts of one sender at a time"
            size, count = int(data[1]) | int(data[2]) << 8, int(data[3])
            pgn = int(data[5]) | int(data[6]) << 8 | int(data[7]) << 16
            open_sessions[sender] = (int(ts), pgn, size, count, [], int(ts))
        elif pf == 0xEB and sender in open_sessions:
            begun, pgn, size, count, parts, last = open_sessions.pop(sender)
            assert data[0] == len(parts) + 1
            assert 10_000 <= int(ts) - last <= 200_000  # J1939-21: 50 to 200 ms, 10 allowed since 2006
            parts.append(data[1:].tobytes())
            if len(parts) == count:
                done.append((begun, sender, pgn, b"".join(parts)[:size]))
            else:
                open_sessions[sender] = (begun, pgn, size, count, parts, int(ts))
    return done


# ---------------------------------------------------------------- a pure function of (seed, time)


@given(
    start=st.integers(T0 - 40 * HOUR, T0 + 40 * HOUR),
    lengths=st.lists(st.integers(0, 40 * SECOND), min_size=1, max_size=6),
)
@settings(max_examples=40, deadline=None)
def test_the_frames_of_adjacent_intervals_are_those_of_the_whole(machine, start, lengths):
    cuts = np.cumsum([start, *lengths]).tolist()
    parts = [machine.frames(a, b) for a, b in itertools.pairwise(cuts)]
    for part, a, b in zip(parts, cuts[:-1], cuts[1:], strict=True):
        assert ((part.ts >= a) & (part.ts < b)).all()
    assert same(FrameBatch.concat(parts), machine.frames(cuts[0], cuts[-1]))


def test_live_second_by_second_equals_history_in_one_piece_over_an_hour_s_end(machine):
    start, end = T0 + HOUR - 400 * SECOND, T0 + HOUR + 400 * SECOND
    whole = machine.frames(start, end)
    live = FrameBatch.concat([machine.frames(t, t + SECOND) for t in range(start, end, SECOND)])
    assert same(live, whole)
    cuts = [start, start + 123_456_789, T0 + HOUR - 1, T0 + HOUR, T0 + HOUR + 17, end]
    assert same(FrameBatch.concat([machine.frames(a, b) for a, b in itertools.pairwise(cuts)]), whole)


def test_an_interval_ends_before_its_end_to_the_microsecond(machine):
    some = machine.frames(T0, T0 + 10 * SECOND).ts
    assert machine.frames(int(some[50]), int(some[60])).ts.tolist() == some[50:60].tolist()
    assert len(machine.frames(T0 + 5, T0 + 5)) == 0


def test_a_seed_is_one_machine_in_every_process_and_whatever_was_asked_before(machine):
    code = (
        "import hashlib; from duco_workbench.local.simulation import SimulatedMachine as M\n"
        f"f = M('wl-1', 1).frames({T0 + 30 * SECOND}, {T0 + 40 * SECOND})\n"
        "print(hashlib.sha256(f.ts.tobytes() + f.data.tobytes()).hexdigest())"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    here = machine.frames(T0 + 30 * SECOND, T0 + 40 * SECOND)
    assert hashlib.sha256(here.ts.tobytes() + here.data.tobytes()).hexdigest() == there


def test_another_seed_is_another_machine(machine):
    other = SimulatedMachine("wl-2", seed=2)
    assert other.vin != machine.vin
    assert not same(other.frames(T0, T0 + 60 * SECOND), machine.frames(T0, T0 + 60 * SECOND))
    assert SimulatedMachine("wl-2").vin != SimulatedMachine("wl-3").vin  # the name is the seed
    assert other.position(T0 + 600 * SECOND) != machine.position(T0 + 600 * SECOND)


def test_any_time_works(machine):
    for ts in (0, 951_782_400 * SECOND, 4_102_444_800 * SECOND):
        assert 2000 < len(machine.frames(ts + 60 * SECOND, ts + 70 * SECOND)) < 4000


def test_a_caller_may_change_what_it_got(machine):
    before = machine.frames(T0, T0 + SECOND)
    kept = before.data.copy()
    before.data[:] = 0
    assert np.array_equal(machine.frames(T0, T0 + SECOND).data, kept)


# ---------------------------------------------------------------- the buses


def test_frame_rate_and_silence(six_hours):
    silent = 0
    for hour, frames in enumerate(six_hours):
        a_second = np.bincount((frames.ts - T0 - hour * HOUR) // SECOND, minlength=3600)
        assert 250 <= a_second[a_second > 0].mean() <= 400
        assert a_second.max() <= 400
        silent += (a_second == 0).sum()
        assert (a_second == 0).sum() <= 60
    assert silent > 0  # some hour ends with the key off


def test_frames_are_in_order_and_never_meet_on_a_bus(six_hours):
    for frames in six_hours[:2]:
        assert (np.diff(frames.ts) >= 0).all()
        for bus in frames.channels:
            assert np.diff(frames.of(bus).ts).min() > 100  # microseconds


def test_both_kinds_of_identifier_and_two_senders(six_hours):
    frames = six_hours[0][:20_000]
    powertrain, implement = frames.of("can0"), frames.of("can1")
    assert (powertrain.arbitration_id & EXTENDED).all()
    assert set((implement.arbitration_id & EXTENDED) != 0) == {True, False}
    assert {int(i) & 0xFF for i in powertrain.arbitration_id} == {0x00, 0x03, 0x0B, 0x21, 0x3D}
    assert len(of(powertrain, 65265, 0x00)) == pytest.approx(len(of(powertrain, 65265, 0x0B)), abs=1)


def test_vehicle_identification_goes_by_broadcast(machine, six_hours):
    sessions = messages_by_transport(six_hours[0][:30_000])
    assert {payload for _, sender, pgn, payload in sessions if (sender, pgn) == (0, 65260)} == {
        machine.vin.encode() + b"*"
    }
    assert len(machine.vin) == 17
    assert {(pgn, len(p)) for _, _, pgn, p in sessions} >= {(65251, 28), (64920, 36)}


# ---------------------------------------------------------------- faults


def test_any_twelve_hours_have_a_fault_and_two_at_once():
    for seed in range(20):
        for first in (0, 5, 480_003):
            counts = [len(faults(seed, h)) for h in range(first, first + 12)]
            assert 1 in counts
            assert 2 in counts


def double_fault(machine) -> tuple[int, list]:
    hour = next(h for h in range(T0 // HOUR, T0 // HOUR + 12) if len(faults(machine.seed, h)) == 2)
    return hour, list(faults(machine.seed, hour))


def test_two_faults_go_by_broadcast_and_one_in_a_frame(machine):
    hour, (first, second) = double_fault(machine)
    frames = machine.frames(hour * HOUR, (hour + 1) * HOUR).of("can0")
    single, several = of(frames, 65226, 0), [m for m in messages_by_transport(frames) if m[1:3] == (0, 65226)]
    assert {len(payload) for *_, payload in several} == {10}
    begin, end = second.start, min(first.end, second.end)
    seconds = np.array([m[0] for m in several]) / SECOND - hour * 3600
    assert seconds.min() == pytest.approx(begin, abs=0.1)
    assert len(several) == end - begin
    payload = several[0][3]
    expected = {(f.spn, f.fmi) for f in (first, second)}
    found = {(c[0] | c[1] << 8 | c[2] >> 5 << 16, c[2] & 31) for c in (payload[2:6], payload[6:10])}
    assert found == expected
    alone = single[(single.data[:, 2:6] != 0).any(axis=1)]
    assert len(alone) == max(first.end, second.end) - first.start - len(several)
    quiet = single[(single.data[:, 2:6] == 0).all(axis=1)]
    assert set(map(bytes, quiet.data)) == {bytes([0, 0xFF, 0, 0, 0, 0, 0xFF, 0xFF])}


def test_dtcs_and_events_say_what_dm1_says(machine):
    hour, (first, second) = double_fault(machine)
    now = hour * HOUR + int((second.start + 5) * SECOND)
    assert [c["spn"] for c in machine.dtcs(now)["dtcs"]] == [first.spn, second.spn]
    assert "on" in machine.dtcs(now)["lamps"].values()
    assert machine.dtcs(now - HOUR // 10)["dtcs"] == []
    happened = machine.events(hour * HOUR, (hour + 1) * HOUR)
    started = [(ts, data["spn"]) for ts, name, _, data in happened if name == "fault_active"]
    assert started == [(hour * HOUR + int(f.start * SECOND), f.spn) for f in (first, second)]


@pytest.mark.parametrize(
    ("kind", "pgn", "byte", "wrong"),
    [
        ("coolant_hot", 65262, 1, lambda raw: raw - 40 >= 98),
        ("charge_air_sensor", 65270, 3, lambda raw: raw == 0xFE),
        ("oil_pressure_low", 65263, 4, lambda raw: raw * 4 < 230),
        ("voltage_low", 65271, 5, lambda raw: raw * 0.05 < 26),
    ],
)
def test_signals_go_wrong_while_a_code_is_active(machine, kind, pgn, byte, wrong):
    hour, fault = next(
        (h, f) for h in range(T0 // HOUR, T0 // HOUR + 200) for f in faults(machine.seed, h) if f.kind == kind
    )
    when = hour * HOUR + int(fault.start * SECOND)
    width = "<u2" if kind == "voltage_low" else "u1"
    during = of(machine.frames(when + 2 * SECOND, hour * HOUR + int(fault.end * SECOND)), pgn, 0)
    before = of(machine.frames(when - 300 * SECOND, when - 120 * SECOND), pgn, 0)
    assert wrong(number(during, byte, width)).all()
    assert wrong(number(before, byte, width)).mean() < 0.5


def test_a_sensor_drops_to_error_for_some_seconds_in_fault_hours(machine):
    hour, _ = double_fault(machine)
    fuel_temperature = number(of(machine.frames(hour * HOUR, (hour + 1) * HOUR), 65262, 0), 2, "u1")
    assert 5 <= (fuel_temperature == 0xFE).sum() <= 18


# ---------------------------------------------------------------- believable


def test_totals_never_fall_and_join_from_hour_to_hour(six_hours):
    frames = FrameBatch.concat([f.of("can0") for f in six_hours])
    distance = number(of(frames, 65217, 0x21), 1, "<u4")  # 5 m
    hours = number(of(frames, 65253, 0), 1, "<u4")  # 0.05 h
    fuel = number(of(frames, 64777, 0), 5, "<u4")  # ml
    turns = number(of(frames, 65253, 0), 5, "<u4")
    for total, per_second in ((distance, 3), (hours, 1), (fuel, 16), (turns, 1)):
        assert (np.diff(total) >= 0).all()
        assert np.diff(total).max() <= per_second  # no jump, over an hour's end or a break either
    assert (hours[-1] - hours[0]) * 0.05 == pytest.approx(6, abs=0.15)
    assert 100 < (distance[-1] - distance[0]) * 0.005 < 200
    assert 80 < (fuel[-1] - fuel[0]) / 1000 < 150


def test_the_integral_of_speed_is_the_distance_and_of_rate_the_fuel(six_hours):
    frames = six_hours[1].of("can0")
    speed = number(of(frames, 65265, 0x0B), 2, "<u2") / 256 / 3.6
    distance = number(of(frames, 65217, 0x21), 5, "<u4")[-1] * 5
    assert speed.sum() * 0.1 == pytest.approx(distance, rel=0.01)
    rate = number(of(frames, 65266, 0), 1, "<u2") * 0.05
    used = number(of(frames, 64777, 0), 5, "<u4")
    assert rate.sum() * 0.1 / 3600 == pytest.approx((used[-1] - used[0]) / 1000, rel=0.01)


def test_ranges_and_accelerations(six_hours):
    frames = FrameBatch.concat([f.of("can0") for f in six_hours])
    rpm = number(of(frames, 61444, 0), 4, "<u2") * 0.125
    assert rpm.min() >= 0
    assert rpm.max() <= 2600
    coolant = number(of(frames, 65262, 0), 1, "u1") - 40
    assert coolant.min() >= 20
    assert coolant.max() <= 105
    wheels = of(frames, 65265, 0x0B)
    speed = number(wheels, 2, "<u2") / 256 / 3.6
    steady = np.diff(wheels.ts) < 200_000
    smooth = np.convolve(speed, np.ones(10) / 10, "valid")  # a second, so that sensor noise is no acceleration
    assert np.abs(smooth[10:] - smooth[:-10])[steady[: len(smooth) - 10]].max() <= 2.5
    assert speed.max() <= 50 / 3.6
    fuel = number(of(frames, 65276, 0x21), 2, "u1") * 0.4
    assert fuel.min() > 20
    assert fuel.max() <= 98


def test_it_stands_for_two_minutes_an_hour_at_most():
    for model in (Model("wl", seed) for seed in range(6)):
        for variant in range(VARIANTS):
            speed = model.cycle(variant).columns["speed"]
            assert (speed < 0.05).mean() * 3600 <= 120


def test_gear_fits_engine_speed_to_road_speed_while_locked_up(six_hours):
    frames = six_hours[2].of("can0")
    etc1, etc2 = of(frames, 61442, 3), of(frames, 61445, 3)
    locked = (etc1.data[:, 0] >> 2 & 3 == 1) & (etc1.data[:, 0] >> 4 & 3 == 0)
    output, turbine = number(etc1, 2, "<u2") * 0.125, number(etc1, 6, "<u2") * 0.125
    latest = np.searchsorted(etc2.ts, etc1.ts + 49_000) - 1
    ratio, gear = number(etc2, 2, "<u2")[latest] * 0.001, etc2.data[latest, 3].astype(int) - 125
    use = locked & (output > 50) & (latest > 0)
    assert use.mean() > 0.5
    assert set(np.unique(gear[use])) == {1, 2, 3, 4, 5, 6}
    error = turbine[use] / (output[use] * ratio[use]) - 1
    assert np.percentile(np.abs(error), 99) < 0.02


def test_it_warms_up_after_a_break(machine):
    on = [ts for ts, name, *_ in machine.events(T0, T0 + 12 * HOUR) if name == "key_on"]
    assert on
    frames = machine.frames(on[0], on[0] + 1500 * SECOND)
    coolant = number(of(frames, 65262, 0), 1, "u1") - 40
    pressure = number(of(frames, 65263, 0), 4, "u1")[20:] * 4
    assert coolant[0] < 50
    assert coolant[-1] > 78
    assert coolant[300] - coolant[0] > coolant[-1] - coolant[-300]  # fast at first
    assert pressure[:200].mean() > pressure[-600:].mean()
    assert number(of(frames, 61444, 0), 4, "<u2")[:20].max() == 0  # one second before the starter


def test_position_follows_speed_odometer_and_gnss(machine):
    start = T0 + 900 * SECOND
    fixes = [machine.position(start + i * SECOND) for i in range(600)]
    lat, lon = np.array([f["lat"] for f in fixes]), np.array([f["lon"] for f in fixes])
    east, north = np.diff(lon) * 111_320 * np.cos(np.radians(lat[0])), np.diff(lat) * 111_320
    moved, speed = np.hypot(east, north), np.array([f["speed"] for f in fixes]) / 3.6
    assert np.abs(moved - (speed[1:] + speed[:-1]) / 2).max() < 0.6
    heading = np.degrees(np.arctan2(east, north))
    off = (heading - np.array([f["heading"] for f in fixes])[1:] + 180) % 360 - 180
    assert np.abs(off[moved > 3]).max() < 25
    gnss = machine.frames(start, start + SECOND).of("can1")
    raw = gnss[(gnss.arbitration_id & 0x1FFFFFFF) == 0x1A000010].data[0].view("<i4") * 1e-7
    assert raw == pytest.approx([lat[0], lon[0]], abs=2e-4)
    assert {"lat", "lon", "alt", "speed", "heading", "fix", "sats"} == fixes[0].keys()


def test_events_split_as_frames_do(machine):
    whole = machine.events(T0, T0 + 8 * HOUR)
    cuts = [T0, T0 + 7, T0 + HOUR, T0 + 5 * HOUR - 1, T0 + 8 * HOUR]
    assert [e for a, b in itertools.pairwise(cuts) for e in machine.events(a, b)] == whole
    names = {name for _, name, *_ in whole}
    assert {"key_on", "key_off", "refuelled", "load_tipped", "fault_active", "fault_cleared"} == names
    assert [e[0] for e in whole] == sorted(e[0] for e in whole)


def test_performance_is_numbers_words_and_switches(machine):
    fields = machine.performance(T0)
    assert fields == machine.performance(T0)
    assert all(isinstance(v, float | int | str) for v in fields.values())

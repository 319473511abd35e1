"""The plain vehicle of ``--profile speed``."""

import cantools
import numpy as np

from duco_workbench.local.simulation import PROFILES, SpeedMachine
from duco_workbench.model import SECOND, FrameBatch

HOUR = 3600 * SECOND
T0 = 1_790_000_000 * SECOND // HOUR * HOUR


def column(frames, identifier, start, kind):
    data = frames[frames.arbitration_id == identifier].data
    width = np.dtype(kind).itemsize
    return np.ascontiguousarray(data[:, start : start + width]).view(kind)[:, 0].astype(float)


def test_it_has_the_interface_of_the_other():
    for machine in (make("x") for make in PROFILES.values()):
        assert len(machine.frames(T0, T0 + SECOND)) > 5
        assert {"lat", "lon", "speed"} <= machine.position(T0).keys()
        assert set(machine.bindings()) == set(machine.frames(T0, T0 + SECOND).channels)
        machine.events(T0, T0 + SECOND), machine.dtcs(T0), machine.performance(T0), machine.is_on(T0)


def test_speed_is_0_to_120_with_gaussian_noise_and_gentle():
    frames = SpeedMachine("v", 5).frames(T0, T0 + HOUR)
    speed, target = column(frames, 0x100, 0, "<u2") / 100, column(frames, 0x100, 2, "<u2") / 100
    assert len(speed) == 36_000
    assert 115 < speed.max() < 124
    assert (target[::600].min(), target[::600].max()) == (0, 120)
    noise = np.diff(speed)[speed[1:] > 10] / np.sqrt(2)
    assert 0.55 < noise.std() < 0.7
    assert np.abs(column(frames, 0x100, 4, "<i2")).max() / 1000 < 1.0


def test_it_is_a_function_of_seed_and_time():
    machine, again, other = SpeedMachine("v", 5), SpeedMachine("v", 5), SpeedMachine("v", 6)
    start = T0 + HOUR - 700 * SECOND
    whole = machine.frames(start, start + 1400 * SECOND)
    parts = FrameBatch.concat([again.frames(start + i * SECOND, start + (i + 7) * SECOND) for i in range(0, 1400, 7)])
    assert np.array_equal(whole.ts, parts.ts)
    assert np.array_equal(whole.data, parts.data)
    assert not np.array_equal(other.frames(start, start + SECOND).data, machine.frames(start, start + SECOND).data)


def test_the_odometer_is_the_integral_of_speed_over_an_hour_s_end():
    machine = SpeedMachine("v", 5)
    frames = machine.frames(T0 + HOUR // 2, T0 + HOUR + HOUR // 2)
    odometer = column(frames, 0x101, 0, "<u4") / 100
    speed = column(frames, 0x100, 0, "<u2") / 100
    assert (np.diff(odometer) >= 0).all()
    assert abs(odometer[-1] - odometer[0] - speed.sum() * 0.1 / 3600) < 0.2
    database = cantools.database.load_file(machine.bindings()["can0"])
    decoded = database.decode_message(0x101, frames[frames.arbitration_id == 0x101].data[0, :8].tobytes())
    assert decoded["Odometer"] == odometer[0]


def test_position_moves_as_fast_as_the_speed():
    machine = SpeedMachine("v", 5)
    places = [machine.position(T0 + HOUR - 300 * SECOND + i * SECOND) for i in range(600)]
    lat, lon = (np.array([p[k] for p in places]) for k in ("lat", "lon"))
    moved = np.hypot(np.diff(lat), np.diff(lon) * np.cos(np.radians(lat[0]))) * 111_320 * 3.6
    speed = np.array([p["speed"] for p in places])
    assert np.abs(moved - (speed[1:] + speed[:-1]) / 2).max() < 1.0

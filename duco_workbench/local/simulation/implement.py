"""What the units on the implement bus send (implement.dbc): one function a message, physical values by signal."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from . import noise
from .encoder import Values
from .state import TICK, State
from .vehicle import G
from .work import Phase

WHEELBASE = 3.3  # m
PACK = (42.0, 1.9e-4)  # Ah; share of charge one (m/s)² of speed is worth
CELLS = 18
WHEELS = ("FrontLeft", "FrontRight", "RearLeft", "RearRight")

Column = NDArray[np.float64]


def boom_angles(m: State) -> Values:
    return {
        "BoomAngle": m["boom"] + m.noise("boom", 0.03),
        "BucketAngle": m["bucket"] + m.noise("bucket", 0.04),
        "ArticulationAngle": np.degrees(np.arctan(WHEELBASE * m.along(m.model.route.curvature)))
        + m.noise("bend", 0.05),
        "BoomRate": m["boom_lever"] / 7,
    }


def hydraulic_pressures(m: State) -> Values:
    turning = np.minimum(m["rpm"] / 600, 1)
    weight = m["payload"] / 1000 * np.cos(np.radians(m["boom"]))
    steering = 22 + 900 * np.abs(m.along(m.model.route.curvature)) + m.noise("steering", 1.2)
    return {
        "PumpPressure": np.maximum(m["pump_pressure"] * turning + m.noise("pump", 1.0), 0),
        "BoomHeadPressure": np.maximum(38 + 17 * weight + m.noise("boom", 0.8), 0),
        "BucketHeadPressure": np.maximum(24 + 8 * weight + 0.3 * m["pump_pressure"] + m.noise("bucket", 0.8), 0),
        "SteeringPressure": np.clip(steering * turning, 0, 210),
        "TankTemperature": m["hydraulic"],
        "PressureCounter": _counter(m, 1, 16),
    }


def _counter(m: State, ticks: int, wraps: int) -> NDArray[np.int64]:
    """Counts the frames of a message sent every so many ticks."""
    return m.ticks // (TICK * ticks) % wraps


def joystick_commands(m: State) -> Values:
    return {
        "BoomLever": m["boom_lever"],
        "BucketLever": m["bucket_lever"],
        "ThirdFunctionLever": 0,
        "FloatSwitch": (m["phase"] == Phase.DIG) & (m["boom"] < -40),
        "Horn": (m["phase"] == Phase.TIP) & (m["speed"] < 0.02),
    }


def _pitch(m: State) -> Column:
    """Nose up, radians: the road, and the springs of the tyres under acceleration."""
    return np.arctan(m.along(m.model.route.grade)) + 0.012 * m["acceleration"]


def imu_acceleration(m: State) -> Values:
    shaking = 0.05 + 0.05 * m["speed"]  # gravel
    sideways = m["speed"] ** 2 * m.along(m.model.route.curvature)
    return {
        "AccelX": m["acceleration"] + G * np.sin(_pitch(m)) + m.noise("x", 0.5) * shaking,
        "AccelY": sideways + m.noise("y", 0.5) * shaking,
        "AccelZ": G * np.cos(_pitch(m)) + m.noise("z", 1.0) * shaking,
        "ImuTemperature": m.ambient + 17 + m.noise("temperature", 0.02),
    }


def imu_rates(m: State) -> Values:
    route = m.model.route
    shaking = 0.1 + 0.12 * m["speed"]
    return {
        "RollRate": m.noise("roll", 1.2) * shaking,
        "PitchRate": m.noise("pitch", 0.8) * shaking,
        "YawRate": np.degrees(m["speed"] * m.along(route.curvature)) + m.noise("yaw", 0.08),
        "PitchAngle": np.degrees(_pitch(m)) + m.noise("angle", 0.05),
    }


def implement_status(m: State) -> Values:
    # Buckets of this hour: one for each time the hopper was passed.
    tipped = np.floor((m["distance"] - m.model.route.dump) / m.model.route.length + 1)
    return {
        "WorkPhase": m["phase"],
        "BucketLoaded": m["payload"] > 1500,
        "BoomRaised": m["boom"] > 0,
        "QuickCoupler": 1,
        "LoadCounter": tipped,
        "LoadTotal": tipped * 5.9,
        "StatusCounter": _counter(m, 4, 256),
    }


def payload_scale(m: State) -> Values:
    weighed = np.maximum(m["payload"] + m.noise("weigh", 18), 0)
    arm = 2.6 * np.cos(np.radians(m["boom"])) + 0.6
    return {"Payload": weighed, "TippingMoment": (weighed + 1900) * G / 1000 * arm}


def battery_pack(m: State) -> Values:
    amperes = _pack_current(m)
    return {
        "PackVoltage": CELLS * _cell_volts(m) + m.noise("volt", 0.02),
        "PackCurrent": amperes + m.noise("current", 0.15),
        "StateOfCharge": _charge(m),
        "PackState": 2,
        "InsulationResistance": 2400 + m.noise("insulation", 12),
    }


def _charge(m: State) -> Column:
    """Percent: the storage holds what the speed does not."""
    return 66.0 - 100 * PACK[1] * m["speed"] ** 2


def _pack_current(m: State) -> Column:
    """Amperes, positive discharges: the change of :func:`_charge`."""
    return PACK[0] * 3600 * PACK[1] * 2 * m["speed"] * m["acceleration"]


def _cell_volts(m: State) -> Column:
    return 3.42 + 0.0045 * (_charge(m) - 40) - 0.00035 * _pack_current(m)


def battery_cells(m: State) -> Values:
    values: dict[str, Column] = {}
    for cell in range(3 * m.page + 1, 3 * m.page + 4):
        own = noise.between(-9, 9, m.model.seed, "cell", cell)
        values[f"Cell{cell:02d}Voltage"] = 1000 * _cell_volts(m) + own + m.noise(f"cell{cell}", 0.4)
    return values | {f"Group{m.page + 1}Temperature": m.ambient + 11 + 0.8 * m.page + 0.05 * (m["gearbox"] - 70)}


def tyre_monitor(m: State) -> Values:
    wheel = WHEELS[m.page]
    warm = 14 * (1 - m.hour.is_cold * np.exp(-m.seconds / 900))
    temperature = m.ambient + warm + 0.7 * m.page
    own = noise.between(-8, 8, m.model.seed, "tyre", wheel)
    load = 0.004 * m["payload"] * wheel.startswith("Front")
    return {
        f"{wheel}Temperature": temperature + m.noise(wheel, 0.05),
        f"{wheel}Pressure": 345 + own + 1.3 * (temperature - 20) + load,
    }


def gnss_position(m: State) -> Values:
    route = m.model.route
    metre = 1 / 111_320
    return {
        "Latitude": m.along(route.lat) + m.noise("lat", 0.02 * metre),
        "Longitude": m.along(route.lon) + m.noise("lon", 0.033 * metre),
    }


def gnss_velocity(m: State) -> Values:
    return {
        "SpeedOverGround": np.maximum(3.6 * m["speed"] + m.noise("speed", 0.05), 0),
        "Heading": np.mod(np.degrees(m.along(m.model.route.heading)) + m.noise("heading", 0.2), 360),
    }


def gnss_info(m: State) -> Values:
    route = m.model.route
    return {
        "FixType": np.where(satellites(m) < 9, 4, 5),
        "Satellites": satellites(m),
        "Hdop": 1.6 - 0.04 * satellites(m),
        "Altitude": m.along(route.altitude) + m.noise("altitude", 0.04),
        "VerticalSpeed": m["speed"] * m.along(route.grade),
    }


def satellites(m: State) -> Column:
    """Fewer down in the pit."""
    seen = 15 + 4 * np.sin(m.ticks / 1.3e9) - 4 * (m.along(m.model.route.altitude) < 38)
    return np.asarray(np.rint(seen))


MESSAGES: dict[str, Callable[[State], Values]] = {
    "BoomAngles": boom_angles,
    "HydraulicPressures": hydraulic_pressures,
    "JoystickCommands": joystick_commands,
    "ImuAcceleration": imu_acceleration,
    "ImuRates": imu_rates,
    "ImplementStatus": implement_status,
    "PayloadScale": payload_scale,
    "TyreMonitor": tyre_monitor,
    "BatteryPack": battery_pack,
    "BatteryCells": battery_cells,
    "GnssPosition": gnss_position,
    "GnssVelocity": gnss_velocity,
    "GnssInfo": gnss_info,
}

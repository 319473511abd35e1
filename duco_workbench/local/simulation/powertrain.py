"""What the units on the powertrain bus send (powertrain.dbc): one function a message, physical values by signal;
texts and trouble codes are in diagnostics.py.

NaN is sent as not available, infinity as the error indicator; a signal left out is not available.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from . import vehicle
from .encoder import Values
from .state import State

ENGINE, TRANSMISSION, BRAKES, BODY, AFTERTREATMENT = 0x00, 0x03, 0x0B, 0x21, 0x3D
SENDERS = {
    "ETC1": (TRANSMISSION,),
    "ETC2": (TRANSMISSION,),
    "TRF1": (TRANSMISSION,),
    "EBC1": (BRAKES,),
    "CCVS1": (ENGINE, BRAKES),
    "VEP1": (ENGINE, BODY),
    "AMB": (BODY,),
    "DD1": (BODY,),
    "VDHR": (BODY,),
    "AT1HI1": (AFTERTREATMENT,),
}  # all others: the engine


def eec1(m: State) -> Values:
    torque = m["torque"] + m.noise("torque", 0.3)
    starting = (m["rpm"] < 400) & (m["rpm"] > 50)
    return {
        "EngTorqueMode": np.where(m["pedal"] > 1, 1, 0),
        "DriversDemandEngPercentTorque": 0.96 * m["pedal"],
        "ActualEngPercentTorque": torque,
        "EngSpeed": np.maximum(m["rpm"] + m.noise("rpm", 2.5) * (m["rpm"] > 50), 0),
        "SrcAddrOfCtrllngDvcForEngCtrl": ENGINE,
        "EngStarterMode": np.where(starting, 1, np.where(m["rpm"] > 50, 3, 0)),
        "EngDemandPercentTorque": torque + 1,
    }


def eec2(m: State) -> Values:
    pedal = np.clip(m["pedal"] + m.noise("pedal", 0.15) * (m["pedal"] > 1), 0, 100)
    return {
        "AccelPedal1LowIdleSwitch": pedal < 1,
        "RoadSpeedLimitStatus": 1,
        "AccelPedalPos1": pedal,
        "EngPercentLoadAtCurrentSpeed": m["load"],
        "ActMaxAvailEngPercentTorque": 100 * vehicle.max_torque(m["rpm"]) / vehicle.REFERENCE_TORQUE,
    }


def eec3(m: State) -> Values:
    cold = np.clip(85 - m["oil"], 0, 70)
    return {
        "NominalFrictionPercentTorque": 7 + m["rpm"] / 450 + 0.07 * cold,
        "EngDesiredOperatingSpeed": m.model.traits.idle_rpm + np.clip(cold - 20, 0, 50) * 2,
    }


def ebc1(m: State) -> Values:
    brake = np.where(m["brake"] > 1, m["brake"] + m.noise("brake", 0.2), 0)
    return {
        "ASREngCtrlActive": 0,
        "ASRBrakeCtrlActive": 0,
        "ABSActive": 0,
        "EBSBrakeSwitch": brake > 1,
        "BrakePedalPos": brake,
    }


def etc1(m: State) -> Values:
    wheels = m["speed"] * m.model.traits.rpm_per_speed
    turbine = np.where(m["locked"] > 0, m["rpm"], np.minimum(wheels * _ratio(m), m["rpm"]))
    slip = 100 * (1 - turbine / np.maximum(m["rpm"], 1))
    return {
        "TransDrivelineEngaged": m["gear"] > 0,
        "TorqueConverterLockupEngaged": m["locked"],
        "TransShiftInProcess": m["shifting"],
        "TransOutputShaftSpeed": wheels * vehicle.FINAL_DRIVE,
        "PercentClutchSlip": np.clip(slip, 0, 100),
        "TransInputShaftSpeed": turbine,
    }


def _ratio(m: State) -> NDArray[np.float64]:
    """Wheel to engine in the gear engaged."""
    return np.asarray(vehicle.RATIOS[np.maximum(m["gear"].astype(np.int64), 1) - 1])


def etc2(m: State) -> Values:
    return {
        "TransSelectedGear": m["gear"],
        "TransActualGearRatio": _ratio(m) / vehicle.FINAL_DRIVE,
        "TransCurrentGear": m["gear"],
    }


def ccvs1(m: State) -> Values:
    # The gearbox knows the tyre's nominal size only; wheel sensors are better and noisier.
    speed = 3.6 * m["speed"] * (1 if m.sender == BRAKES else 1.006)
    noisy = np.where(speed > 0.3, speed + m.noise("speed", 0.03 if m.sender == BRAKES else 0.012), 0)
    return {
        "ParkingBrakeSwitch": m["gear"] == 0,
        "WheelBasedVehicleSpeed": noisy,
        "CruiseCtrlActive": 0,
        "CruiseCtrlEnableSwitch": 0,
        "BrakeSwitch": m["brake"] > 1,
    }


def lfe1(m: State) -> Values:
    rate = np.maximum(m["fuel_rate"] * (1 + m.noise("rate", 0.008)), 0)
    traits = m.model.traits
    driven = (traits.base_odometer + m.total("distance")) / 1000
    return {
        "EngFuelRate": rate,
        "EngInstantaneousFuelEconomy": np.minimum(3.6 * m["speed"] / np.maximum(rate, 0.1), 125),
        "EngAverageFuelEconomy": driven / (traits.base_fuel + m.total("fuel")),
    }


def ic1(m: State) -> Values:
    outside, boost = m.ambient, np.maximum(m["boost"] + m.noise("boost", 0.7), 0)
    charge = outside + 14 + 0.16 * m["boost"] + m.noise("charge", 0.3)
    broken = np.asarray(m.fault("charge_air_sensor")) > 0.99
    return {
        "EngTurboBoostPress": boost,
        "EngIntakeManifold1Temp": np.where(broken, np.inf, charge),
        "EngAirIntakePress": 98 - 0.012 * m.along(m.model.route.altitude) - 0.02 * m["boost"],
        "EngAirFilter1DiffPress": 0.6 + 0.019 * m["boost"],
        "EngExhaustTemp": m["exhaust"] - 130 * m.hour.is_cold * np.exp(-m.seconds / 40) + m.noise("exhaust", 0.8),
    }


def eflp1(m: State) -> Values:
    turning = np.minimum(m["rpm"] / 600, 1)
    thick = 1 + 0.006 * np.clip(100 - m["oil"], -10, 70)
    pressure = (85 + 0.17 * m["rpm"]) * thick * turning * (1 - 0.62 * np.asarray(m.fault("oil_pressure_low")))
    return {
        "EngFuelDeliveryPress": (480 + 0.05 * m["rpm"]) * turning + m.noise("delivery", 4),
        "EngOilLevel": 87 + m.noise("level", 0.3),
        "EngOilPress": np.maximum(pressure + m.noise("oil", 3) * turning, 0),
        "EngCrankcasePress": 0.4 + 0.012 * m["load"] + m.noise("crankcase", 0.03),
        "EngCoolantLevel": 96 + m.noise("coolant", 0.2),
    }


def et1(m: State) -> Values:
    fuel = m.ambient + 12 + 0.25 * (m["coolant"] - m.ambient)
    if m.hour.glitch:
        start, end = m.hour.glitch
        fuel = np.where((m.seconds >= start) & (m.seconds < end), np.inf, fuel)
    return {
        "EngCoolantTemp": np.minimum(m["coolant"] + 15 * np.asarray(m.fault("coolant_hot")), 104.4),
        "EngFuelTemp1": fuel,
        "EngOilTemp1": m["oil"] + 8 * np.asarray(m.fault("coolant_hot")) + m.noise("oil", 0.08),
        "EngIntercoolerTemp": m.ambient + 10 + 0.1 * m["boost"],
    }


def trf1(m: State) -> Values:
    return {
        "TransClutchPress": np.where(m["gear"] > 0, 1800, 900) * np.minimum(m["rpm"] / 600, 1),
        "TransOilLevel1": 82 + m.noise("level", 0.3),
        "TransOilPress": 1600 * np.minimum(m["rpm"] / 700, 1) + m.noise("pressure", 8),
        "TransOilTemp1": m["gearbox"] + m.noise("oil", 0.08),
    }


def vep1(m: State) -> Values:
    low = np.asarray(m.fault("voltage_low"))
    turning = m["rpm"] > 500
    charging = np.where(turning, 28.1 - 0.004 * (m.ambient - 20) - 4.2 * low, 24.7 - 5.5 * (m["rpm"] > 50))
    here = charging - (0.15 if m.sender == BODY else 0.0) + m.noise("volt", 0.03)
    return {
        "NetBatteryCurrent": np.where(turning, 6 - 41 * low, -22) + m.noise("current", 0.8),
        "AlternatorCurrent": np.where(turning, 62 * (1 - low), 0),
        "ChargingSystemPotential": charging,
        "BatteryPotentialPowerInput1": here,
        "KeyswitchBatteryPotential": here - 0.2,
    }


def amb(m: State) -> Values:
    cab = 21.5 + 0.04 * (m.ambient - 20)
    return {
        "BarometricPress": 101.2 - 0.012 * m.along(m.model.route.altitude),
        "CabInteriorTemp": cab + (m.ambient - cab) * m.hour.is_cold * np.exp(-m.seconds / 300),
        "AmbientAirTemp": m.ambient + m.noise("air", 0.05),
        "EngAirIntakeTemp": m.ambient + 4,
    }


def dd1(m: State) -> Values:
    slosh = 0.5 * np.clip(m["acceleration"], -1, 1) + m.noise("slosh", 0.15)
    return {
        "WasherFluidLevel": 64,
        "FuelLevel1": m.fuel_level + slosh,
        "EngFuelFilterDiffPress": 18 + 0.3 * m["fuel_rate"],
        "EngOilFilterDiffPress": 12 + m["rpm"] / 150,
    }


def hours(m: State) -> Values:
    traits = m.model.traits
    return {
        "EngTotalHoursOfOperation": traits.base_hours + m.total("running") / 3600,
        "EngTotalRevolutions": traits.base_hours * 83_000 + m.total("turns"),
    }


def vdhr(m: State) -> Values:
    return {
        "HighResolutionTotalVehicleDistance": (m.model.traits.base_odometer + m.total("distance")) / 1000,
        "HighResolutionTripDistance": m["distance"] / 1000,
    }


def lfc1(m: State) -> Values:
    return {"EngTripFuel": m.trip_fuel, "EngTotalFuelUsed": m.model.traits.base_fuel + m.total("fuel")}


def hrlfc(m: State) -> Values:
    return {
        "HighResolutionEngineTripFuel": m.trip_fuel,
        "HighResolutionEngineTotalFuelUsed": m.model.traits.base_fuel + m.total("fuel"),
    }


def ec1(m: State) -> Values:
    values: dict[str, float] = {"EngSpeedAtIdlePoint1": m.model.traits.idle_rpm, "EngPercentTorqueAtIdlePoint1": 58}
    for point, rpm in enumerate((1000, 1300, 1600, 2000), 2):
        torque = float(vehicle.max_torque(np.array([float(rpm)]))[0])
        values |= {
            f"EngSpeedAtPoint{point}": rpm,
            f"EngPercentTorqueAtPoint{point}": 100 * torque / vehicle.REFERENCE_TORQUE,
        }
    return values | {
        "EngSpeedAtHighIdlePoint6": 2200,
        "EngGainOfEndspeedGovernor": 0.25,
        "EngReferenceTorque": vehicle.REFERENCE_TORQUE,
        "EngSpeedCtrlRangeLowerLimit": 700,
        "EngSpeedCtrlRangeUpperLimit": 2200,
        "EngTorqueCtrlRangeLowerLimit": 0,
        "EngTorqueCtrlRangeUpperLimit": 100,
    }


def at1hi1(m: State) -> Values:
    driven = m.model.traits.base_hours * 3600 + m.total("running")  # seconds the engine has run
    return {
        "Aftrtrtmnt1TotalFuelUsed": driven * 1.2e-4,
        "Aftrtrtmnt1TotalRegenerationTime": driven * 0.021,
        "Aftertreatment1TotalNumberOfActiveRegenerations": np.floor(driven / 86_000),
        "DPF1TotalPassiveRegenTime": driven * 0.34,
        "DPF1TotalPassiveRegens": np.floor(driven / 9_000),
        "DPF1TotalRegenInhibitRequests": np.floor(driven / 900_000),
        "DPF1TotalRegenManualRequests": 3,
        "DPF1AvgTimeBetweenRegens": 86_000,
    }


MESSAGES: dict[str, Callable[[State], Values]] = {
    "EEC1": eec1,
    "EEC2": eec2,
    "EEC3": eec3,
    "EBC1": ebc1,
    "ETC1": etc1,
    "ETC2": etc2,
    "CCVS1": ccvs1,
    "LFE1": lfe1,
    "IC1": ic1,
    "EFLP1": eflp1,
    "ET1": et1,
    "TRF1": trf1,
    "VEP1": vep1,
    "AMB": amb,
    "DD1": dd1,
    "HOURS": hours,
    "VDHR": vdhr,
    "LFC1": lfc1,
    "HRLFC": hrlfc,
    "EC1": ec1,
    "AT1HI1": at1hi1,
}

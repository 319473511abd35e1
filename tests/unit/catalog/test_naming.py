"""Names a person reads, and how a signal's values add up."""

from __future__ import annotations

import pytest

from duco_workbench.catalog.naming import kind_of, propose, readable
from duco_workbench.catalog.types import Signal


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("EngineSpeed", "Engine speed"),
        ("ENGINE_SPEED", "Engine speed"),
        ("Engine_Coolant_Temperature", "Engine coolant temperature"),
        ("WheelBasedVehicleSpeed", "Wheel based vehicle speed"),
        ("DPF_SootLoad", "DPF soot load"),
        ("EngRPM", "Eng RPM"),
        ("Temp1", "Temp 1"),
        ("S01PID0C_EngineRPM", "S01PID0C engine RPM"),
        ("speed", "Speed"),
        ("Öltemperatur", "Öltemperatur"),
        ("already readable", "Already readable"),
        ("___", "___"),
    ],
)
def test_readable(name: str, shown: str) -> None:
    assert readable(name) == shown


@pytest.mark.parametrize(
    ("kind", "signal"),
    [
        ("gauge", Signal("M", "EngineSpeed", "rpm", length=16)),
        ("increasing", Signal("M", "EngTotalHours", "hr", length=32)),
        ("increasing", Signal("M", "TotalVehicleDistance", "km", length=32)),
        ("increasing", Signal("M", "Odo", "km", long_name="Odometer", length=24)),
        ("increasing", Signal("M", "EngineTotalFuelUsed", "L", length=32)),
        ("increasing", Signal("M", "MotorEnergy", "kWh", length=32)),
        ("gauge", Signal("M", "TotalTorque", "%", length=16)),  # a share does not accumulate
        ("gauge", Signal("M", "Hours", "hr", length=8)),  # of a clock
        ("gauge", Signal("M", "TotalHoursRemaining", "h", length=32)),
        ("gauge", Signal("M", "TripAverageFuelRate", "L/h", length=16)),
        ("state", Signal("M", "BrakeSwitch", length=2)),
        ("state", Signal("M", "Gear", length=8, choices={0: "N", 1: "first"})),
        ("gauge", Signal("M", "Coolant", "degC", length=8, choices={255: "not available"})),
        ("state", Signal("M", "Page", length=8, is_multiplexer=True)),
        ("state", Signal("M", "VIN", length=136)),
    ],
)
def test_kind(kind: str, signal: Signal) -> None:
    assert kind_of(signal) == kind


def test_a_variable_keeps_what_the_file_knows() -> None:
    signal = Signal("EEC1", "EngSpd", "rpm", 190, "crankshaft", "EngineSpeed", 0.0, 8031.875, 16, {1: "one"})
    (variable,) = propose([signal], ())
    assert (variable.name, variable.signal, variable.unit) == ("Engine speed", "EEC1.EngSpd", "1/min")
    assert (variable.spn, variable.description) == (190, "crankshaft")
    assert (variable.minimum, variable.maximum, variable.choices) == (0.0, 8031.875, {1: "one"})


def test_names_are_told_apart() -> None:
    signals = [Signal("A", "Temp"), Signal("B", "Temp"), Signal("A", "temp"), Signal("C", "Load")]
    names = [v.name for v in propose(signals, {"Temp (A)", "Load"})]
    assert names == ["Temp (A) 2", "Temp (B)", "Temp (A) 3", "Load (C)"]


def test_a_signal_that_a_message_repeats_is_one_variable() -> None:
    assert len(propose([Signal("A", "Temp"), Signal("A", "Temp")], ())) == 1

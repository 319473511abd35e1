"""Chart groups of any file: themed, bounded, one unit each."""

from __future__ import annotations

from pathlib import Path

import canmatrix
import pytest

from duco_workbench.catalog.contents import read
from duco_workbench.catalog.naming import propose as name_all
from duco_workbench.catalog.proposals import MOST_CURVES, MOST_GROUPS, propose
from duco_workbench.catalog.types import Signal


def groups_of(signals: list[Signal]) -> dict[str, tuple[str, ...]]:
    return {group.name: group.variables for group in propose(name_all(signals, ()))}


def test_a_machine(machine_dbc: str) -> None:
    groups = {g.name: g for g in propose(name_all(read(machine_dbc, "dbc", "machine").signals, ()))}
    assert groups["Engine speed"].variables == ("Engine speed",)
    assert groups["Engine speed"].unit == "1/min"
    assert groups["Engine load and torque"].variables == ("Actual engine torque",)
    assert groups["Vehicle speed"].unit == "km/h"
    temperatures = ("Engine coolant temp", "Temperature (ET1)", "Temperature (CabClimate)")
    assert groups["Temperatures"].variables == temperatures
    assert groups["Cab climate"].variables == ("Fan duty",)  # no theme takes it, so its message does
    drawn = [name for g in groups.values() for name in g.variables]
    assert len(drawn) == len(set(drawn))
    assert not {"Brake switch", "Heater mode", "Eng total hours", "Page"} & set(drawn)


def test_what_engineers_ask_for_first_comes_first() -> None:
    plain = [Signal("M", f"Temp{i}", "degC", length=8) for i in range(20)]
    groups = groups_of([*plain, Signal("ET1", "Oil", "degC", 175, length=16), Signal("ET1", "Water", "degC", 110)])
    assert groups["Temperatures"][0] == "Oil"  # 110 has no length: not a number
    assert len(groups["Temperatures"]) == MOST_CURVES


def test_units_do_not_share_an_axis() -> None:
    signals = [Signal("M", f"Pressure{i}", unit, length=16) for i, unit in enumerate(["kPa", "bar", "bar"])]
    groups = propose(name_all(signals, ()))
    assert [(g.name, g.unit, len(g.variables)) for g in groups] == [("Pressures", "bar", 2), ("M", "kPa", 1)]


def test_bounds_hold_for_a_large_file() -> None:
    signals = [Signal(f"Msg{i}", f"Sig{j}", length=16) for i in range(300) for j in range(10)]
    groups = propose(name_all(signals, ()))
    assert len(groups) == MOST_GROUPS
    assert {len(g.variables) for g in groups} == {MOST_CURVES}


@pytest.mark.parametrize("unit", ["", "km"])
def test_two_messages_that_read_alike_make_one_group(unit: str) -> None:
    signals = [Signal("fooBar", "a", unit, length=16), Signal("Foo_Bar", "b", unit, length=16)]
    assert groups_of(signals) == {"Foo bar": ("A",)}


def test_no_signal_no_group() -> None:
    assert propose([]) == []


def test_a_standard_database_without_units() -> None:
    path = Path(canmatrix.__file__).parent / "j1939.dbc"
    groups = propose(name_all(read(path.read_text("cp1252"), "dbc", "j1939").signals, ()))
    assert groups[0].variables[0].startswith("Engine speed")
    assert len(groups) == MOST_GROUPS

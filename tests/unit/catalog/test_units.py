"""One spelling per unit."""

from __future__ import annotations

import pytest

from duco_workbench.catalog.units import normalise

SPELLINGS = {
    "degC": ["°C", "deg C", "degC", "Deg C", "℃", "Celsius", "C", "\ufffdC", "degrees C"],
    "1/min": ["rpm", "RPM", "1/min", "r/min", "min-1", "U/min"],
    "km/h": ["km/h", "KM/H", "kph", "KPH", "kmph", "km/hr"],
    "%": ["%", "percent", "Pct"],
    "V": ["V", "volts", "Volt"],
    "mV": ["mV"],
    "L/h": ["L/h", "l/h", "l/hr", "L per h"],
    "kPa": ["kPa", "KPa", "kpa"],
    "MPa": ["MPa"],
    "m/s2": ["m/s^2", "m/s²"],
    "Nm": ["Nm", "N.m", "nm"],
    "h": ["h", "hr", "hours"],
    "s": ["sec", "s", "seconds"],
    "": ["", " ", "-", "none", "ratio"],
    "furlong / fortnight": ["  furlong /   fortnight "],
}


@pytest.mark.parametrize(("unit", "text"), [(unit, text) for unit, row in SPELLINGS.items() for text in row])
def test_spelling(unit: str, text: str) -> None:
    assert normalise(text) == unit


@pytest.mark.parametrize("unit", list(SPELLINGS))
def test_a_normal_unit_stays(unit: str) -> None:
    assert normalise(unit) == unit


def test_case_decides_where_it_must() -> None:
    assert [normalise(u) for u in ("mW", "MW", "mA", "A", "M", "m", "MM")] == ["mW", "MW", "mA", "A", "m", "m", "mm"]


def test_no_unit() -> None:
    assert normalise(None) == ""

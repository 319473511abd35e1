"""Variables and charts: filled as a database is bound, frozen at first use, a person's word is final."""

from __future__ import annotations

from dataclasses import replace

import pytest

from duco_workbench.catalog import charts, variables
from duco_workbench.catalog.contents import read
from duco_workbench.catalog.engine import Catalog
from duco_workbench.catalog.publishing import put_database, put_manifest
from duco_workbench.catalog.refusals import Conflict, Unknown
from duco_workbench.catalog.registry import add_device
from duco_workbench.catalog.types import ChartGroup
from duco_workbench.errors import ConfigError
from duco_workbench.model import Variable


def named(catalog: Catalog, chassis_id: str = "m1") -> dict[str, Variable]:
    with catalog.reading() as session:
        return {v.name: v for v in variables.of_device(session, "demo", chassis_id)}


def groups(catalog: Catalog, chassis_id: str = "m1") -> dict[str, ChartGroup]:
    with catalog.reading() as session:
        return {g.name: g for g in charts.of_device(session, "demo", chassis_id)}


def put(catalog: Catalog, variable: Variable, name: str | None = None) -> Variable:
    with catalog.writing() as session:
        return variables.put(session, "demo", name or variable.name, variable)


def bind(catalog: Catalog, name: str, text: str, chassis_id: str = "m1") -> None:
    put_database(catalog, "demo", name, text, read=read)
    with catalog.writing() as session:
        put_manifest(session, "demo", chassis_id, {"can0": name})


def test_binding_fills_them(bound: Catalog) -> None:
    found = named(bound)
    speed = found["Engine speed"]
    assert (speed.signal, speed.unit, speed.spn, speed.kind) == ("EEC1.EngineSpeed", "1/min", 190, "gauge")
    assert (speed.description, speed.minimum, speed.maximum) == ("Crankshaft speed", 0.0, 8031.875)
    assert found["Heater mode"].choices == {0: "off", 1: "on", 7: "defrost"}
    assert {n for n, v in found.items() if v.kind == "increasing"} == {"Eng total hours", "Total vehicle distance"}
    assert {n for n, v in found.items() if v.kind == "state"} == {"Brake switch", "Heater mode", "Page"}
    assert "Temperature (ET1)" in found
    assert "Temperature (CabClimate)" in found
    messages = [v.signal.partition(".")[0] for v in found.values()]
    assert list(dict.fromkeys(messages)) == ["EEC1", "CCVS", "ET1", "CabClimate", "HOURS"]  # in the file's order


def test_an_unbound_device_has_none(bound: Catalog) -> None:
    with bound.writing() as session:
        add_device(session, "demo", "m2")
    assert named(bound, "m2") == {}
    assert groups(bound, "m2") == {}


def test_another_database_never_renames(bound: Catalog, machine_dbc: str) -> None:
    before = named(bound)
    other = machine_dbc.replace('"rpm"', '"1/s"').replace("ET1", "ET2").replace("Crankshaft", "Another")
    with bound.writing() as session:
        add_device(session, "demo", "m2")
    bind(bound, "other", other, "m2")
    assert named(bound) == before
    second = named(bound, "m2")
    assert second["Engine speed"] == before["Engine speed"]  # one series, one name
    assert second["Engine coolant temp (ET2)"].signal == "ET2.EngineCoolantTemp"


def test_a_new_text_refreshes_facts_and_keeps_names(bound: Catalog, machine_dbc: str) -> None:
    before = named(bound)
    put_database(
        bound, "demo", "machine", machine_dbc.replace('"rpm"', '"Hz"').replace("Crankshaft", "Shaft"), read=read
    )
    assert named(bound) == before  # not yet bound
    with bound.writing() as session:
        put_manifest(session, "demo", "m1", {"can0": "machine"})
    speed = replace(before["Engine speed"], unit="Hz", description="Shaft speed")
    assert named(bound) == {**before, "Engine speed": speed}
    assert groups(bound)["EEC1"].variables == ("Engine speed",)  # no theme for Hz


def test_what_a_person_put_stays(bound: Catalog, machine_dbc: str) -> None:
    mine = replace(named(bound)["Engine speed"], unit="RPM", description="mine", aliases=("n",), source="can0:00")
    stored = put(bound, mine)
    assert stored.unit == "1/min"  # normalised
    bind(bound, "machine", machine_dbc.replace('"rpm"', '"1/s"').replace("Crankshaft speed", "new"))
    assert named(bound)["Engine speed"] == stored


def test_renaming_reaches_charts_and_outlives_a_binding(bound: Catalog, machine_dbc: str) -> None:
    put(bound, replace(named(bound)["Engine speed"], name="n"), "Engine speed")
    assert groups(bound)["Engine speed"].variables == ("n",)
    bind(bound, "machine", machine_dbc + "\n")
    assert "Engine speed" not in named(bound)
    assert named(bound)["n"].spn == 190


def test_a_name_is_used_once(bound: Catalog) -> None:
    with pytest.raises(Conflict):
        put(bound, replace(named(bound)["Engine speed"], name="Brake switch"), "Engine speed")
    assert named(bound)["Brake switch"].signal == "CCVS.BrakeSwitch"


def test_a_signal_of_no_database_is_every_devices(bound: Catalog) -> None:
    put(bound, Variable("Height", "Position.alt", unit="meters"))
    assert named(bound)["Height"].unit == "m"
    with bound.writing() as session:
        add_device(session, "demo", "m2")
    assert set(named(bound, "m2")) == {"Height"}


def test_removing_one(bound: Catalog, machine_dbc: str) -> None:
    with bound.writing() as session:
        variables.remove(session, "demo", "Engine speed")
        with pytest.raises(Unknown):
            variables.remove(session, "demo", "Engine speed")
    assert "Engine speed" not in named(bound)
    assert groups(bound)["Engine speed"].variables == ()
    bind(bound, "machine", machine_dbc + "\n")
    assert "Engine speed" in named(bound)


@pytest.mark.parametrize(
    "wrong",
    [
        Variable("", "M.S"),
        Variable("x", "nodot"),
        Variable("x", ".S"),
        Variable("x", "M.S", kind="sum"),
        Variable("x", "M.S", unit="a\0b"),
        Variable("x", "M.S", minimum=float("nan")),
    ],
)
def test_a_variable_that_is_refused(bound: Catalog, wrong: Variable) -> None:
    with pytest.raises(ConfigError):
        put(bound, wrong, "x")


def test_charts_are_proposed_until_a_person_arranges_them(bound: Catalog, machine_dbc: str) -> None:
    proposed = groups(bound)
    assert {"Engine speed", "Vehicle speed", "Temperatures"} <= set(proposed)
    mine = [ChartGroup("Mine", ("Engine speed",)), ChartGroup("Mixed", ("Engine speed", "Eng total hours"))]
    with bound.writing() as session:
        stored = charts.put(session, "demo", "m1", mine)
    assert [g.unit for g in stored] == ["1/min", ""]
    bind(bound, "machine", machine_dbc + "\n")
    assert list(groups(bound)) == ["Mine", "Mixed"]
    with bound.writing() as session:
        charts.reset(session, "demo", "m1")
    assert groups(bound) == proposed


def test_charts_that_are_refused(bound: Catalog) -> None:
    twice = [ChartGroup("a", ()), ChartGroup("a", ())]
    for wrong in ([], twice, [ChartGroup("", ())], [ChartGroup("a", ("nothing",))]):
        with pytest.raises(ConfigError), bound.writing() as session:
            charts.put(session, "demo", "m1", wrong)
    assert "Engine speed" in groups(bound)

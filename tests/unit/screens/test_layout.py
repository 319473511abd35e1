from __future__ import annotations

from duco_workbench.model import Variable
from duco_workbench.screens.layout import MOST_LINES, Arrangement, Group, charts, client_charts, lines, position

UNITS = {
    ("Eng.Speed", "can0:00"): "rpm",
    ("Eng.Torque", "can0:00"): "%",
    ("Eng.Temp", "can0:00"): "degC",
    ("Body.Gear", "can1"): "",
    ("Body.Speed", "can1:03"): "km/h",
    ("Body.Speed", "can1:0b"): "km/h",
}


def titles(arrangement: Arrangement, alive: set[tuple[str, str]] | None = None) -> list[tuple[str, list[str]]]:
    found = charts(arrangement, lines(arrangement, UNITS), set(UNITS) if alive is None else alive)
    return [(chart.title, [line.label for line in chart.lines]) for chart in found]


def test_without_a_catalog_messages_are_charts_of_two_units_at_most() -> None:
    assert titles(Arrangement()) == [
        ("Body", ["Gear", "Speed (can1:03)", "Speed (can1:0b)"]),
        ("Eng", ["Speed", "Torque"]),
        ("Eng", ["Temp"]),
    ]


def test_what_never_gave_a_value_gets_no_chart_that_nobody_asked_for() -> None:
    assert titles(Arrangement(), {("Eng.Temp", "can0:00")}) == [("Eng", ["Temp"])]


def test_chart_groups_come_first_with_the_names_and_units_of_the_catalog() -> None:
    variables = (
        Variable("Engine speed", "Eng.Speed", unit="1/min"),
        Variable("Coolant", "Eng.Temp", unit="degC"),
        Variable("Gear", "Body.Gear", kind="state"),
        Variable("Not sent", "Eng.Other"),
    )
    groups = (Group("Engine", ("Engine speed", "Not sent", "Coolant", "No such")), Group("Nothing", ("Not sent",)))
    arrangement = Arrangement(3, variables, groups)
    found = charts(arrangement, lines(arrangement, UNITS), set(UNITS))
    assert (found[0].title, found[0].units) == ("Engine", ("1/min", "°C"))
    assert [chart.title for chart in found[1:]] == ["Body", "Eng"]
    assert found[1].lines[0].step
    assert [line.label for line in found[2].lines] == ["Torque"]


def test_a_preferred_source_is_the_only_one_drawn_while_it_sends() -> None:
    variable = Variable("Speed", "Body.Speed", source="can1:0b")
    one = Arrangement(1, (variable,), (Group("Vehicle", ("Speed",)),))
    assert titles(one)[0] == ("Vehicle", ["Speed (can1:0b)"])
    other = Arrangement(1, (Variable("Speed", "Body.Speed", source="can9"),), one.groups)
    assert titles(other)[0] == ("Vehicle", ["Speed (can1:03)", "Speed (can1:0b)"])


def test_a_chart_holds_as_many_lines_as_there_are_colours() -> None:
    units = {(f"M.S{n:02}", "can0"): "V" for n in range(20)}
    found = charts(Arrangement(), lines(Arrangement(), units), set(units))
    assert [len(chart.lines) for chart in found] == [MOST_LINES, MOST_LINES, 20 - 2 * MOST_LINES]


def test_client_metrics_have_charts_of_their_own_by_the_units_in_their_names() -> None:
    names = ("cpu_percent", "can0_load_percent", "memory_mb", "disk_free_mb", "board_temperature_degC", "uptime_s")
    units = {(f"Client.{name}", "client"): "" for name in (*names, "can0_frames_per_s", "load_1min", "software")}
    known = lines(Arrangement(), UNITS | units)
    alive = set(known) - {("Client.software", "client")}  # a text
    found = [(chart.title, [(line.label, line.unit) for line in chart.lines]) for chart in client_charts(known, alive)]
    assert found == [
        ("Client: load", [("can0 load", "%"), ("CPU", "%")]),
        ("Client: memory", [("Memory", "MB")]),
        ("Client: rates", [("can0 frames", "1/s")]),
        ("Client: temperature", [("Board temperature", "°C")]),
        ("Client: disk", [("Disk free", "MB")]),
        ("Client: counts and states", [("Load 1min", "")]),
    ]
    assert known["Client.load_1min", "client"].step
    assert [chart.title for chart in charts(Arrangement(), known, alive)] == ["Body", "Eng", "Eng"]


def test_the_position_is_that_of_position_messages_not_of_a_bus() -> None:
    bus = {("Position.lat", "can1"): "deg", ("Position.lon", "can1"): "deg"}
    assert position(bus) == {}
    assert [title for title, _ in titles_of(bus)] == ["Position"]
    gnss = {("Position.lat", "gnss"): "deg", ("Position.lon", "gnss"): "deg", ("Position.speed", "gnss"): "km/h"}
    assert position(gnss) == {"lat": ("Position.lat", "gnss"), "lon": ("Position.lon", "gnss"), "speed": SPEED}
    assert titles_of(gnss) == []
    assert position({("Position.lat", "gnss"): "deg"}) == {}


SPEED = ("Position.speed", "gnss")


def titles_of(units: dict[tuple[str, str], str]) -> list[tuple[str, list[str]]]:
    found = charts(Arrangement(), lines(Arrangement(), units), set(units))
    return [(chart.title, [line.label for line in chart.lines]) for chart in found]

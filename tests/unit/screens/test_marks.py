from __future__ import annotations

import random
from typing import Any

from duco_workbench.columns import Event
from duco_workbench.model import SECOND, Dtc, Variable
from duco_workbench.screens.marks import LOOK_BACK, MOST, QUIET, SELDOM, Marks, Reports, spn_names

T = 1_760_000_000 * SECOND


def code(second: float, spn: int = 110, lamps: str = "amber-warning:on", oc: int | None = None) -> Dtc:
    return Dtc(T + round(second * SECOND), "can0:00", spn, 0, oc, 0, lamps)


def event(second: float, name: str = "key_on", severity: str = "info", data: str = "{}") -> tuple[str, Event]:
    return f"m1:1:{second}", Event(T + round(second * SECOND), name, severity, data)


def items(marks: Marks, second: float) -> list[dict[str, Any]]:
    found = marks.news(T + round(second * SECOND))
    assert found is not None
    return found


def test_the_reports_of_an_active_code_are_one_mark_whatever_their_order() -> None:
    told = [code(n + part) for n in range(60) for part in (0.25, 0.25)]  # by the bus, and by the agent once more
    random.Random(1).shuffle(told)
    marks = Marks({110: "Engine coolant temperature"})
    for dtc in told:
        marks.take(Reports((dtc,)))
    [item] = items(marks, 60)
    assert (item["t"], item["state"], item["until"]) == ((T + SECOND // 4) / 1000, "active", None)
    assert (item["title"], item["text"]) == ("SPN 110 FMI 0", "Engine coolant temperature: above normal, most severe")
    marks.take(Reports((code(60.25),)))
    assert marks.news(T + 61 * SECOND) is None  # still active is no news


def test_a_code_that_is_quiet_is_cleared_and_may_come_again() -> None:
    marks = Marks()
    marks.take(Reports((code(0), code(1))))
    assert items(marks, 2)[0]["state"] == "active"
    assert marks.news(T + SECOND + QUIET) is None
    [cleared] = items(marks, 1 + QUIET / SECOND + 0.1)
    assert (cleared["state"], cleared["until"]) == ("cleared", (T + SECOND) / 1000)
    marks.take(Reports((code(60),)))
    assert [(i["state"], i["t"]) for i in items(marks, 60)] == [
        ("active", (T + 60 * SECOND) / 1000),
        ("cleared", T / 1000),
    ]


def test_a_code_that_is_told_each_minute_stays_active_in_between() -> None:
    marks = Marks()
    marks.take(Reports((code(0), code(60))))
    [item] = items(marks, 60 + SELDOM / SECOND)
    assert (item["state"], item["t"]) == ("active", T / 1000)


def test_older_reports_move_a_mark_to_where_the_code_appeared() -> None:
    marks = Marks()
    marks.take(Reports((code(30), code(31))))
    assert items(marks, 31)[0]["t"] == (T + 30 * SECOND) / 1000
    marks.take(Reports(tuple(code(n) for n in range(0, 30, 10))))
    assert [item["t"] for item in items(marks, 31)] == [T / 1000]


def test_the_lamps_of_a_message_are_those_of_its_worst_code() -> None:
    marks = Marks()
    both = "red-stop:on,amber-warning:on"
    marks.take(Reports((code(0, 168), code(1, 168, both), code(1, 100, both), code(0, 7, ""), code(0, 8, "red:off"))))
    found = {item["title"]: item["severity"] for item in items(marks, 2)}
    assert found == {
        "SPN 100 FMI 0": "error",
        "SPN 168 FMI 0": "warning",
        "SPN 7 FMI 0": "warning",
        "SPN 8 FMI 0": "warning",
    }


def test_events_and_log_lines_are_listed_once_after_the_active_codes() -> None:
    marks = Marks()
    fault = event(5, "fault_active", "error", '{"fmi": 0, "spn": 110, "text": "engine coolant too hot"}')
    line = event(6, "uplink", "WARN", "no link for 412 ms")
    marks.take(Reports((code(1), code(2)), (fault, line, fault)))
    marks.take(Reports(events=(line, event(7))))
    found = items(marks, 8)
    assert [(i["kind"], i["title"], i["severity"]) for i in found] == [
        ("code", "SPN 110 FMI 0", "warning"),
        ("event", "key on", "info"),
        ("log", "uplink", "warning"),
        ("event", "fault active", "error"),
    ]
    assert found[2]["text"] == "no link for 412 ms"
    assert found[3]["text"] == "engine coolant too hot · FMI 0, SPN 110"


def test_what_is_kept_is_bounded_by_time_and_number() -> None:
    marks = Marks()
    marks.take(Reports((code(0), code(1)), tuple(event(n / 10) for n in range(5 * MOST))))
    assert len(items(marks, 40)) == MOST
    assert items(marks, 41 + LOOK_BACK / SECOND) == []


def test_names_of_parameters_come_from_the_catalog() -> None:
    assert spn_names([Variable("Speed", "EEC1.EngineSpeed", spn=190), Variable("Other", "A.B")]) == {190: "Speed"}

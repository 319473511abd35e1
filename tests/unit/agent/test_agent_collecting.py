"""What is told of a bus: when it goes and when it comes back, not that it is being opened."""

from __future__ import annotations

import logging

from agent.collecting import Buses
from agent.drafts import OPENING
from duco_workbench.model import FrameBatch


class Bus:
    name, ended, dropped, state = "can0", False, 0, OPENING

    def open(self) -> None:
        self.state = OPENING

    def read(self) -> FrameBatch:
        return FrameBatch.empty()

    def close(self) -> None: ...


def test_a_bus_that_opens_is_no_news_one_that_goes_away_is() -> None:
    bus, events = Bus(), []
    buses = Buses([bus], [], lambda draft: None, lambda *event: events.append(event), logging.getLogger("test"))
    buses.open()
    for state in (OPENING, "up", "can0: away", OPENING, "can0: away", "up", "up"):
        bus.state = state
        buses.read()
    assert [(name, severity) for name, severity, _ in events] == [("bus_down", "warning"), ("bus_up", "info")]


def test_frames_a_bus_lost_are_told_as_often_as_their_number_grows() -> None:
    bus, events = Bus(), []
    buses = Buses([bus], [], lambda draft: None, lambda *event: events.append(event), logging.getLogger("test"))
    buses.open()
    for dropped in (0, 3, 3, 5):
        bus.dropped = dropped
        buses.read()
    assert [data["count"] for name, _, data in events if name == "drop"] == [3, 2]
    assert buses.dropped == {"can0": 5}

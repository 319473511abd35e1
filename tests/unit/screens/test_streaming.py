from __future__ import annotations

import threading
import time

from duco_workbench.errors import ServiceError
from duco_workbench.live import Machine
from duco_workbench.screens.streaming import EVERY_S, LINGER_S, RETRY_S, STARTING_S, State, Streaming, Watches

M1, M2 = Machine("demo", "m1"), Machine("demo", "m2")


def test_a_machine_is_asked_once_for_all_its_pages_and_again_each_minute() -> None:
    watches = Watches()
    watches.add(M1)
    watches.add(M1)
    assert watches.due(0) == [(M1, True)]
    assert watches.due(1) == []  # under way
    watches.answered(M1, True, "", 2)
    assert watches.due(1 + EVERY_S) == []
    assert watches.due(2 + EVERY_S) == [(M1, True)]


def test_it_is_stopped_a_moment_after_the_last_page_closed() -> None:
    watches = Watches()
    watches.add(M1)
    watches.add(M1)
    watches.due(0)
    watches.answered(M1, True, "", 0)
    watches.remove(M1, 10)
    assert watches.due(20) == []
    watches.remove(M1, 20)
    assert watches.due(20 + LINGER_S - 0.1) == []
    assert watches.due(20 + LINGER_S) == [(M1, False)]
    watches.answered(M1, False, "", 30)
    assert watches.due(31) == []
    assert watches.state(M1, 31) == State()


def test_a_page_that_is_loaded_again_stops_nothing() -> None:
    watches = Watches()
    watches.add(M1)
    watches.due(0)
    watches.answered(M1, True, "", 0)
    watches.remove(M1, 10)
    watches.add(M1)
    assert watches.due(11 + LINGER_S) == []


def test_who_returns_while_it_is_being_stopped_has_it_started_again() -> None:
    watches = Watches()
    watches.add(M1)
    watches.due(0)
    watches.answered(M1, True, "", 0)
    watches.remove(M1, 10)
    assert watches.due(10 + LINGER_S) == [(M1, False)]
    watches.add(M1)
    watches.answered(M1, False, "", 17)
    assert watches.due(17) == [(M1, True)]


def test_one_that_refused_is_asked_again_soon_and_is_not_stopped() -> None:
    watches = Watches()
    watches.add(M1)
    watches.due(0)
    assert watches.state(M1, 0) == State("starting")
    watches.answered(M1, True, "m1 is not connected", 1)
    assert watches.state(M1, 2) == State("refused", "m1 is not connected")
    assert watches.due(1 + RETRY_S) == [(M1, True)]
    watches.answered(M1, True, "", 12)
    assert watches.state(M1, 12) == State("starting")
    assert watches.state(M1, 12 + STARTING_S) == State("on")
    watches.due(12 + EVERY_S)
    watches.answered(M1, True, "the hub is away", 80)
    watches.remove(M1, 81)
    assert watches.due(100) == [(M1, False)]  # it agreed once, and may stream still


def test_calls_are_made_beside_the_pages_and_one_that_hangs_holds_up_no_other() -> None:
    asked: list[tuple[Machine, bool]] = []
    hangs, reached = threading.Event(), threading.Event()

    def ask(machine: Machine, on: bool) -> None:
        asked.append((machine, on))
        if machine == M1:
            hangs.wait(20)
        else:
            reached.set()
            raise ServiceError("m2 is not connected: 404103")

    streaming = Streaming(ask)
    try:
        streaming.watch(M1)
        streaming.watch(M2)
        assert reached.wait(10)
        deadline = time.monotonic() + 10
        while streaming.state(M2).word != "refused" and time.monotonic() < deadline:
            time.sleep(0.01)
        assert streaming.state(M2) == State("refused", "m2 is not connected")
        assert streaming.state(M1) == State("starting")
        assert sorted(asked) == [(M1, True), (M2, True)]
    finally:
        hangs.set()
        streaming.close()

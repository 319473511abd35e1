"""What status makes of what was read: Azure's twins, words for people, and one reader for all who look."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from duco_workbench import health
from duco_workbench.errors import ServiceError
from duco_workbench.health.agents import agent_of
from duco_workbench.health.loss import Held
from duco_workbench.health.numbers import Epoch
from duco_workbench.health.report import Seen, report
from duco_workbench.health.stored import Stored
from duco_workbench.health.watch import Watch
from duco_workbench.hops import Mark, Which
from duco_workbench.local.status import print_status
from duco_workbench.model import SECOND
from duco_workbench.screens import status_view
from duco_workbench.sequences import Run

NOW = 1_760_000_100_000_000
EPOCH = 1_760_000_000_000_000


def twin(at: str = "2025-10-09T08:54:00.1234567Z", **reported: Any) -> dict[str, Any]:
    """As Azure writes it, seven digits of a second included. ``at`` is a minute before NOW."""
    queue = {"epoch": EPOCH, "seq": 10, "acknowledged": 10, "depth": 0}
    properties = {"queue": queue, **reported, "$metadata": {"$lastUpdated": at}, "$version": 3}
    tags = {"tenant": "demo"}
    return {"deviceId": "m1", "connectionState": "Disconnected", "tags": tags, "properties": {"reported": properties}}


def seen(**changes: Any) -> Seen:
    """Number 5 of ten is missing; the hub keeps no count."""
    found = Stored(
        {Epoch("demo", "m1", EPOCH): Held(1, 10, 9)},
        {Which("demo", "m1", "vehicle_can"): Mark(EPOCH, 10, NOW - 3 * SECOND, 9)},
        {Epoch("demo", "m1", EPOCH): [Run(5, 5)]},
    )
    known: dict[str, Any] = {
        "agents": [agent_of(twin(), "demo")],
        "hops": {"raw": {}, "parsed": {}, "distributed": {}},
        "is_stored": True,
        "pulses": {"ingestor": {"realtime_dropped": 4}},
        "ingestors": [{"behind": 0, "hub_partitions": 2, "partitions": ["0", "1"]}],
        "stored": found,
    }
    return Seen(**{**known, **changes})


def test_a_twins_report_is_dated_by_the_hub() -> None:
    agent = agent_of(twin(), "other")
    assert (agent.tenant, NOW - agent.at) == ("demo", 59_876_544)
    assert agent.report is not None
    assert agent.report.waits_from == 11
    bare = agent_of({"deviceId": "new", "tags": None, "properties": {}}, "other")
    assert (bare.tenant, bare.at, bare.report) == ("other", 0, None)


@pytest.mark.parametrize(
    ("later", "changes", "lost"),
    [
        (0, {}, 0),  # the report is too fresh to say that all of it has passed
        (300 * SECOND, {}, 1),
        (300 * SECOND, {"ingestors": [{"behind": 3}]}, 0),
        (300 * SECOND, {"ingestors": [{"behind": None}]}, 0),
        (300 * SECOND, {"ingestors": []}, 0),
        (300 * SECOND, {"ingestors": [{"behind": 0, "hub_partitions": 2, "partitions": ["1"]}]}, 0),
        (300 * SECOND, {"ingestors": [{"behind": 0, "hub_partitions": 2, "partitions": [p]} for p in "01"]}, 1),
        (300 * SECOND, {"is_stored": False}, 0),  # a drop that is told may be there
    ],
)
def test_without_a_count_from_the_hub_a_quiet_machine_is_judged_when_all_is_read(
    later: int, changes: dict[str, Any], lost: int
) -> None:
    found = report(seen(**changes), NOW + later)
    assert (found["lost"], found["in_flight"]) == (lost, 1 - lost)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, "–"), (-2.0, "0 s"), (3.4, "3 s"), (300, "5 min"), (9000, "2.5 h"), (864_000, "10 days")],
)
def test_ages_are_short(seconds: float | None, words: str) -> None:
    assert health.in_words(seconds) == words


TIMES = 7  # of a process, of the machine in its row, in three sentences, in its trouble and its drops


def found_with_markup() -> dict[str, Any]:
    """Everything a machine can choose is markup, for a browser and for a console."""
    evil = "<b>[red]m&1</b>"
    found = report(
        seen(agents=[agent_of({**twin(trouble=evil, drops={evil: 2}), "deviceId": evil}, "demo")]), NOW + 400 * SECOND
    )
    process = {"state": "FATAL", "said": evil}
    return {"processes": {"hub": process}, "addresses": {"log_url": "redis://[::1]:6390/0"}, **found}


def test_the_page_escapes_what_comes_from_outside() -> None:
    text = status_view.page(found_with_markup())
    assert "<b>[red]" not in text
    assert text.count("&lt;b&gt;[red]m&amp;1&lt;/b&gt;") == TIMES
    assert 'href="live?machine=%3Cb%3E%5Bred%5Dm%261%3C%2Fb%3E&amp;tenant=demo"' in text
    assert "<script" not in status_view.message("<script>", "<script>")


def test_the_shell_shows_what_comes_from_outside_as_it_is() -> None:
    out = io.StringIO()
    print_status(found_with_markup(), Console(file=out, width=200, highlight=False))
    said = out.getvalue()
    assert said.count("<b>[red]m&1</b>") == TIMES
    assert "lost 1" in said
    assert f"m1 lost 1 of its messages: {EPOCH}:5" in said
    assert "4 messages were not shown live" in said
    assert "redis://[::1]:6390/0" in said


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def test_one_thread_reads_for_all_and_pauses_when_nobody_asks() -> None:
    threads, fails = set(), threading.Event()

    def read() -> dict[str, Any]:
        threads.add(threading.get_ident())
        if fails.is_set():
            raise ServiceError("all is away")
        return {"lost": 0}

    watch = Watch(read, every_s=0.01, idle_s=0.2)
    assert watch._thread is None
    until(lambda: (reading := watch.latest()) is not None and reading.number > 3)
    until(lambda: watch._latest is None)  # nobody asked: paused, and what it had is forgotten
    count = watch._count
    time.sleep(0.1)
    assert watch._count == count
    fails.set()
    until(lambda: (reading := watch.latest()) is not None and reading.error == "all is away")
    assert len(threads) == 1

"""What a live page asks of the real store: codes, events and samples in the form in which the stream has them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import live_feed
import pytest

from duco_workbench.columns import Event
from duco_workbench.live import Machine
from duco_workbench.local.store.process import running
from duco_workbench.model import SECOND, Dtc
from duco_workbench.schema import migrate
from duco_workbench.screens.gaps import shows
from duco_workbench.screens.marks import Marks, Reports
from duco_workbench.screens.stored import HistoryStore
from duco_workbench.sinks.clickhouse import SampleTable, connect

M1 = Machine("demo", "m1")
T = 1_760_000_000 * SECOND
EVENT = Event(T + 30 * SECOND, "load_tipped", "info", '{"payload_kg": 6713}')


def dtc(ts: int, spn: int = 110) -> Dtc:
    return Dtc(ts, "can0:00", spn, 0, 2, 0, "amber-warning:on")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HistoryStore]:
    """A minute of a machine: a code from second 10 to 40, told by bus and agent, an event, a log line."""
    messages = []
    for n in range(60):
        codes = (dtc(T + n * SECOND),) if 10 <= n <= 40 else ()
        events = (EVENT, Event(EVENT.ts, "agent", "warning", "a line")) if n == 30 else ()
        messages.append(live_feed.message(2 * n, T + n * SECOND, dtcs=codes, events=events))
        messages.append(live_feed.message(2 * n + 1, T + n * SECOND, dtcs=codes))
    messages.append(live_feed.message(1, T, chassis_id="m2", dtcs=(dtc(T, 999),)))
    with running(tmp_path_factory.mktemp("store")) as server:
        migrate(connect(server.url))
        asyncio.run(SampleTable(server.url).write(messages))
        yield HistoryStore(server.url)


def test_codes_and_events_of_the_store_are_those_of_the_stream(store: HistoryStore) -> None:
    stored = store.reports(M1, T, T + 60 * SECOND)
    assert len(stored.dtcs) <= 2 * 4  # both ends of each ten seconds, however often it was told
    assert {d.ts for d in stored.dtcs} >= {T + 10 * SECOND, T + 40 * SECOND}
    streamed = Reports(tuple(dtc(T + n * SECOND) for n in range(10, 41)), (("m1:1:60", EVENT),))
    marks = Marks()
    marks.take(stored)
    alone = marks.news(T + 60 * SECOND)
    assert alone is not None
    assert [(m["title"], m["state"], m["t"], m["until"]) for m in alone] == [
        ("agent", "", EVENT.ts / 1000, None),
        ("load tipped", "", EVENT.ts / 1000, None),
        ("SPN 110 FMI 0", "cleared", T / 1000 + 10_000, T / 1000 + 40_000),
    ]
    marks.take(streamed)
    assert marks.news(T + 60 * SECOND) is None  # all of it was known


def test_only_what_lies_in_the_range_is_asked_for(store: HistoryStore) -> None:
    assert store.reports(M1, T + 41 * SECOND, T + 60 * SECOND) == Reports()
    assert store.reports(Machine("demo", "no such"), T, T + 60 * SECOND) == Reports()
    assert store.reports(Machine("stranger", "m1"), T, T + 60 * SECOND) == Reports()


def test_the_store_shows_how_far_it_has_come(store: HistoryStore) -> None:
    """Times and names come back as they went in, to the microsecond."""
    stored = store.samples(M1, ["Engine.Speed"], T + 50 * SECOND, T + 70 * SECOND)
    assert shows(stored, live_feed.message(1, T + 59 * SECOND).samples)
    assert not shows(stored, live_feed.message(1, T + 60 * SECOND).samples)

"""A live page without its browser, on a real Valkey: what is sent to the board, and when the page is drawn anew."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from typing import Any

import live_feed
import numpy as np
import pytest

from duco_workbench.columns import Samples
from duco_workbench.errors import ServiceError
from duco_workbench.live import LiveReader, Machine
from duco_workbench.model import SECOND, Variable
from duco_workbench.screens.directory import Directory
from duco_workbench.screens.layout import Arrangement, Group
from duco_workbench.screens.live_session import LiveSession
from duco_workbench.screens.rows import BREAK
from duco_workbench.sinks.live import LiveSink
from duco_workbench.sinks.snapshot import Latest, SnapshotSink

M1 = Machine("demo", "m1")


class Catalog:
    """The port of the catalog, with an answer the test changes."""

    def __init__(self) -> None:
        self.answer = Arrangement(1, (Variable("Speed", "Engine.Speed", unit="1/min"),), (Group("Engine", ("Speed",)),))

    def machines(self) -> list[Machine]:
        return [M1]

    def arrangement(self, machine: Machine, have: Arrangement) -> Arrangement:
        return have if have.revision == self.answer.revision else self.answer


class Away:
    """A store that does not answer."""

    def samples(self, machine: Machine, signals: Sequence[str], start: int, end: int) -> Samples:
        raise ServiceError("the store does not answer")

    def latest(self, machine: Machine) -> dict[str, Latest]:
        raise ServiceError("the store does not answer")


class Old(Away):
    """A store that has the machine's last minutes of an hour ago."""

    ts = int((time.time() - 3600) * SECOND)

    def samples(self, machine: Machine, signals: Sequence[str], start: int, end: int) -> Samples:
        whole = live_feed.message(1, self.ts - 60 * SECOND, 60 * SECOND, n=600).samples
        return whole[(whole.ts >= start) & (whole.ts < end)]

    def latest(self, machine: Machine) -> dict[str, Latest]:
        return {"Engine.Speed@can0:00": Latest(self.ts, 0, 0, 1234.5, "ok", 0)}


class Page:
    """A session, the messages its board was sent, and the browser's answer that it is ready."""

    def __init__(self, reader: LiveReader, store: Any = None) -> None:
        self.catalog = Catalog()
        self.directory = Directory(self.catalog, reader)
        self.session = LiveSession(reader, self.directory, store or Away())
        self.sent: list[dict[str, Any]] = []

    def open(self) -> None:
        self.picture = self.session.load(M1)
        self.board = self.session.show(self.picture, lambda: None)
        self.board.feed = self.sent.append

    def ready(self) -> None:
        self.board._handle_msg({"what": "ready"})

    def points(self, signal: str) -> list[tuple[float, float]]:
        """(time, status) of every row of a series, in the order sent."""
        number = next(n for (name, _), n in self.picture.numbers.items() if name == signal)
        rows = np.concatenate([message["rows"].reshape(-1, 4) for message in self.sent])
        return [(t, status) for n, t, _, status in rows.tolist() if n == number]


@pytest.fixture
def reader(fresh_valkey: str) -> Iterator[LiveReader]:
    opened = LiveReader(fresh_valkey)
    yield opened
    opened.close()


async def write(url: str, *items: Any) -> None:
    for sink in (LiveSink(url), SnapshotSink(url)):
        await sink.open()
        await sink.write(items)
        await sink.close()


def test_past_and_ticks_join_without_gap_or_duplicate(fresh_valkey: str, reader: LiveReader) -> None:
    seq, ts = live_feed.write_past(fresh_valkey, seconds=30, hz=1)
    page = Page(reader)
    page.open()
    asyncio.run(write(fresh_valkey, live_feed.message(seq, ts)))  # before the browser is ready
    assert not page.session.tick()
    assert page.sent == []
    page.ready()
    asyncio.run(write(fresh_valkey, live_feed.message(seq + 1, ts + SECOND)))
    time.sleep(0.6)
    page.session.tick()

    times = [t for t, _ in page.points("Engine.Speed")]
    assert len(times) == len(set(times))
    assert times[0] == pytest.approx(ts / 1000 - (seq - 1) * 1000)
    assert times[-1] == pytest.approx((ts + 2 * SECOND - SECOND / 10) / 1000)
    assert max(np.diff(times)) <= 250
    assert page.sent[0]["missing"] == "the store does not answer"
    assert page.sent[-1]["rate"][0] > 0
    assert page.sent[-1]["trouble"] == ""


def test_a_silence_breaks_the_curves(fresh_valkey: str, reader: LiveReader) -> None:
    ts = int((time.time() - 40) * SECOND)
    asyncio.run(write(fresh_valkey, live_feed.message(1, ts), live_feed.message(2, ts + 20 * SECOND)))
    page = Page(reader)
    page.open()
    page.ready()
    asyncio.run(write(fresh_valkey, live_feed.message(3, ts + 35 * SECOND)))
    time.sleep(0.6)
    page.session.tick()
    breaks = [t for t, status in page.points("Engine.Speed") if status == BREAK]
    ends = [ts + SECOND * 9 // 10, ts + 20 * SECOND + SECOND * 9 // 10]
    assert breaks == pytest.approx([end / 1000 + 0.001 for end in ends], abs=1e-3)


def test_a_change_in_the_catalog_draws_the_page_anew_only_if_it_shows(fresh_valkey: str, reader: LiveReader) -> None:
    live_feed.write_past(fresh_valkey, seconds=5, hz=1)
    page = Page(reader)
    page.open()
    page.ready()
    assert page.picture.charts[0].title == "Engine"
    page.catalog.answer = Arrangement(2, page.catalog.answer.variables, page.catalog.answer.groups)
    page.directory._poll()
    assert not page.session.tick()
    page.catalog.answer = Arrangement(3, (Variable("Speed", "Engine.Speed", unit="rpm"),), page.catalog.answer.groups)
    page.directory._poll()
    assert page.session.tick()
    page.open()
    assert page.picture.charts[0].units == ("rpm",)


def test_a_machine_silent_for_long_shows_what_the_store_has(reader: LiveReader) -> None:
    page = Page(reader, Old())
    page.open()
    page.ready()
    points = page.points("Engine.Speed")
    assert points[-1][0] == pytest.approx(Old.ts / 1000, abs=200)
    assert points[-1][0] - points[0][0] > 59_000
    assert page.sent[0]["heard"] is None


def test_a_closed_session_is_not_watching(fresh_valkey: str, reader: LiveReader) -> None:
    page = Page(reader)
    page.open()
    assert reader._tails
    page.session.close()
    assert not reader._tails
    assert not page.session.tick()

"""A live page without its browser, on a real Valkey: what is sent to the board, and when the page is drawn anew."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import live_feed
import numpy as np
import pytest

from duco_workbench.columns import Event, Parsed, Samples
from duco_workbench.errors import ServiceError
from duco_workbench.live import LiveReader, Machine
from duco_workbench.model import SECOND, Dtc, Variable
from duco_workbench.screens import catch_up
from duco_workbench.screens.directory import Directory
from duco_workbench.screens.layout import Arrangement, Group
from duco_workbench.screens.live_session import LiveSession
from duco_workbench.screens.marks import Reports
from duco_workbench.screens.rows import BREAK
from duco_workbench.screens.streaming import Streaming
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

    def reports(self, machine: Machine, start: int, end: int) -> Reports:
        raise ServiceError("the store does not answer")

    def latest(self, machine: Machine) -> dict[str, Latest]:
        raise ServiceError("the store does not answer")


class Old(Away):
    """A store that has the machine's last minutes of an hour ago."""

    ts = int((time.time() - 3600) * SECOND)

    def samples(self, machine: Machine, signals: Sequence[str], start: int, end: int) -> Samples:
        whole = live_feed.message(1, self.ts - 60 * SECOND, 60 * SECOND, n=600).samples
        return whole[(whole.ts >= start) & (whole.ts < end)]

    def reports(self, machine: Machine, start: int, end: int) -> Reports:
        return Reports((Dtc(self.ts, "can0:00", 110, 0, 1, 0),))

    def latest(self, machine: Machine) -> dict[str, Latest]:
        return {"Engine.Speed@can0:00": Latest(self.ts, 0, 0, 1234.5, "ok", 0)}


class Late(Away):
    """A store that takes a machine's messages in their order, but some time after the stream has them."""

    def __init__(self) -> None:
        self.messages: list[Parsed] = []
        self.questions = 0

    def samples(self, machine: Machine, signals: Sequence[str], start: int, end: int) -> Samples:
        self.questions += 1
        whole = Samples.concat([item.samples for item in self.messages])
        return whole[(whole.ts >= start) & (whole.ts < end)]

    def reports(self, machine: Machine, start: int, end: int) -> Reports:
        return Reports(
            tuple(dtc for item in self.messages for dtc in item.dtcs if start <= dtc.ts < end),
            tuple((m.record.message_id, e) for m in self.messages for e in m.events if start <= e.ts < end),
        )

    def latest(self, machine: Machine) -> dict[str, Latest]:
        return {}


class Page:
    """A session, the messages its board was sent, and the browser's answer that it is ready."""

    def __init__(self, reader: LiveReader, store: Any = None, streaming: Streaming | None = None) -> None:
        self.catalog = Catalog()
        self.directory = Directory(self.catalog, reader)
        self.session = LiveSession(reader, self.directory, store or Away(), streaming)
        self.sent: list[dict[str, Any]] = []

    def open(self) -> None:
        self.picture = self.session.load(M1)
        self.board = self.session.show(self.picture, lambda: None)
        self.board.feed = self.sent.append

    def ready(self) -> None:
        self.board._handle_msg({"what": "ready"})

    def tick_until(self, true: Callable[[], Any], seconds: float = live_feed.PATIENCE_S) -> None:
        deadline = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < deadline, "it did not come"
            self.session.tick()
            time.sleep(0.1)

    def drawn(self, signal: str, breaks: bool = False) -> list[float]:
        """Times (ms) of a curve as the browser has it, each once, in order; or of its breaks that nothing filled."""
        number = next(n for (name, _), n in self.picture.numbers.items() if name == signal)
        times: dict[float, float] = {}
        for message in self.sent:
            start, end = message.get("fill", (0, 0))
            times = {t: s for t, s in times.items() if not (s == BREAK and start <= t <= end)}
            for n, t, _, status in message["rows"].reshape(-1, 4).tolist():
                if n == number:
                    times.setdefault(t, status)
        return sorted(t for t, status in times.items() if (status == BREAK) == breaks)

    def marks(self) -> list[dict[str, Any]]:
        return next((message["marks"] for message in reversed(self.sent) if "marks" in message), [])

    def points(self, signal: str) -> list[tuple[float, float]]:
        """(time, status) of every row of a series, in the order sent."""
        number = next(n for (name, _), n in self.picture.numbers.items() if name == signal)
        rows = np.concatenate([message["rows"].reshape(-1, 4) for message in self.sent])
        return [(t, status) for n, t, _, status in rows.tolist() if n == number]


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    live_feed.lose_nothing(monkeypatch)


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
    page.tick_until(lambda: page.drawn("Engine.Speed")[-1] > (ts + SECOND) / 1000)

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
    page.tick_until(lambda: page.drawn("Engine.Speed")[-1] > (ts + 35 * SECOND) / 1000)
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


def test_the_gap_between_store_and_stream_is_closed(
    fresh_valkey: str, reader: LiveReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Normal messages under way when the stream begins: the store has them only seconds after the first entry."""
    store, length = Late(), 10 * SECOND
    ts = int(time.time() * SECOND) - 60 * SECOND
    normal = [live_feed.message(n + 1, ts + n * length, length, n=40) for n in range(5)]
    event, dtc = Event(ts + 45 * SECOND, "load_tipped", "info", "{}"), Dtc(ts + 45 * SECOND, "can0:00", 110, 0, 1, 0)
    normal[4] = replace(normal[4], events=(event,), dtcs=(dtc,))
    store.messages = normal[:3]
    page = Page(reader, store)
    asyncio.run(_snapshot(fresh_valkey, normal[2]))
    page.open()
    page.ready()
    assert page.drawn("Engine.Speed")[-1] < (ts + 3 * length) / 1000
    live = [live_feed.message(6 + n, ts + 5 * length + n * SECOND) for n in range(3)]
    asyncio.run(write(fresh_valkey, *live))
    page.tick_until(lambda: page.drawn("Engine.Speed")[-1] > (ts + 5 * length) / 1000)
    page.tick_until(lambda: store.questions >= 3)  # asked again while the store is behind
    assert len(page.drawn("Engine.Speed", breaks=True)) == 1  # and no line is drawn across what is missing
    assert page.marks() == []
    store.messages = normal
    asyncio.run(write(fresh_valkey, live_feed.message(9, ts + 5 * length + 3 * SECOND)))
    page.tick_until(lambda: len(page.drawn("Engine.Speed")) >= 5 * 40)
    store.messages = normal + live
    page.tick_until(lambda: not page.picture.runs.gaps(0))

    times = page.drawn("Engine.Speed")
    assert page.drawn("Engine.Speed", breaks=True) == []
    assert max(np.diff(times)) <= 250.5
    assert times[0] == pytest.approx(ts / 1000, abs=1)
    assert [(mark["kind"], mark["t"]) for mark in page.marks()] == [
        ("code", dtc.ts / 1000),
        ("event", event.ts / 1000),
    ]
    monkeypatch.setattr(catch_up, "SILENT_S", 60)  # after which it would be asked though nothing is missing
    asked = store.questions
    page.session.tick()
    time.sleep(1.5)
    page.session.tick()
    assert store.questions == asked  # the store is left alone as long as the stream is whole


async def _snapshot(url: str, item: Parsed) -> None:
    sink = SnapshotSink(url)
    await sink.open()
    await sink.write([item])
    await sink.close()


def test_an_entry_the_stream_lost_is_taken_from_the_store(fresh_valkey: str, reader: LiveReader) -> None:
    """Before the page was opened, and while it is open."""
    store, ts = Late(), int(time.time() * SECOND) - 12 * SECOND
    messages = [live_feed.message(n, ts + n * SECOND) for n in range(12)]
    store.messages = messages[:8]
    asyncio.run(write(fresh_valkey, *(messages[n] for n in (1, 2, 3, 5, 6, 7))))
    page = Page(reader, store)
    page.open()
    page.ready()
    assert max(np.diff(page.drawn("Engine.Speed"))) <= 250.5  # at first sight
    store.messages = messages
    asyncio.run(write(fresh_valkey, *(messages[n] for n in (8, 10, 11))))
    page.tick_until(lambda: page.drawn("Engine.Speed")[-1] > messages[11].record.ts / 1000)
    page.tick_until(lambda: not page.picture.runs.gaps(0))
    assert max(np.diff(page.drawn("Engine.Speed"))) <= 250.5


def test_what_stream_and_store_both_tell_is_one_mark(fresh_valkey: str, reader: LiveReader) -> None:
    """The bus and the agent report a code with one time; both are in the stream and in the store."""
    store, ts = Late(), int(time.time() * SECOND) - 8 * SECOND
    item = live_feed.message(1, ts, dtcs=(Dtc(ts, "can0:00", 110, 0, 1, 0, "red-stop:on"),))
    origin = replace(item.record, msg_type="vehicle_dtc", message_id="m1:1:2")
    event = Event(ts + SECOND, "fault_active", "error", '{"text": "too hot"}')
    told = Parsed(origin, True, 0, Samples.empty(), (), item.dtcs, (event,))
    store.messages = [item, told]
    asyncio.run(write(fresh_valkey, item, told))
    page = Page(reader, store)
    page.open()
    page.ready()
    assert [(m["kind"], m["state"], m["t"]) for m in page.marks()] == [
        ("code", "active", ts / 1000),
        ("event", "", (ts + SECOND) / 1000),
    ]
    asyncio.run(write(fresh_valkey, replace(told, record=replace(origin, message_id="m1:1:2"))))  # once more
    time.sleep(0.6)
    page.session.tick()
    assert len(page.marks()) == 2
    later = live_feed.message(3, ts + 2 * SECOND, events=(Event(ts + 2 * SECOND, "agent", "warning", "a line"),))
    asyncio.run(write(fresh_valkey, later))
    page.tick_until(lambda: len(page.marks()) == 3)
    assert page.marks()[1]["kind"] == "log"


def test_a_machine_in_normal_mode_is_read_from_the_store(fresh_valkey: str, reader: LiveReader) -> None:
    store, length = Late(), 10 * SECOND
    ts = int(time.time() * SECOND) - 30 * SECOND
    first, second = (live_feed.message(n, ts + n * length, length, n=40) for n in (1, 2))
    store.messages = [first]
    asyncio.run(_snapshot(fresh_valkey, first))
    page = Page(reader, store)
    page.open()
    page.ready()
    store.messages = [first, second]
    asyncio.run(_snapshot(fresh_valkey, second))
    page.tick_until(lambda: page.drawn("Engine.Speed")[-1] > (ts + 2 * length) / 1000)
    assert max(np.diff(page.drawn("Engine.Speed"))) <= 250.5
    assert all(message["heard"] is None for message in page.sent)


def test_a_machine_streams_while_a_page_shows_it(fresh_valkey: str, reader: LiveReader) -> None:
    asked: list[tuple[Machine, bool]] = []
    streaming = Streaming(lambda machine, on: asked.append((machine, on)))
    try:
        page = Page(reader, Late(), streaming)
        page.open()
        page.ready()
        page.tick_until(lambda: asked == [(M1, True)])
        assert {"word": "starting", "why": ""} in [m.get("streaming") for m in page.sent]
        page.open()  # Refresh
        page.session.close()
        page.tick_until(lambda: asked == [(M1, True), (M1, False)])
    finally:
        streaming.close()

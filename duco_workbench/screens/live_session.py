"""One open live page: which machine it shows, what of it was sent to the browser, and what comes next.

Nothing here is Panel but the board it is given: the page (``live_page``) says when to load, show, tick and close.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ..columns import Samples
from ..live import Entry, LiveReader, Machine, Subscription
from ..model import SECOND
from .board import LiveBoard, board, field
from .catch_up import CatchUp, Found
from .directory import Directory
from .layout import Series, charts, client_charts, lines, position
from .marks import reports
from .picture import SILENCE, Picture, load, series_of, silences, snapshot_rows, snapshot_texts, text_rows, wanted
from .rows import break_rows, on_screen, pack, thin_for_screen
from .stored import Store
from .streaming import State, Streaming

RATE_OVER = 10 * SECOND
RELOAD_EVERY_S = 3.0
FIRST_CHARTS, ALL_CHARTS = 12, 200


class LiveSession:
    """``load`` blocks and is called in a thread; everything else is called where the page lives and does not block."""

    def __init__(
        self,
        reader: LiveReader,
        directory: Directory,
        store: Store,
        streaming: Streaming | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._reader, self._directory, self._store, self._clock = reader, directory, store, clock
        self._streaming = streaming
        self._watched: Machine | None = None  # the one asked to stream
        self._subscription: Subscription | None = None
        self._board: LiveBoard | None = None
        self._picture: Picture | None = None
        self._catch_up: CatchUp | None = None
        self._positions: dict[str, tuple[int, int]] = {}
        self._arrived: deque[tuple[int, int]] = deque()  # (when, values) of the entries of the last ten seconds
        self._told: dict[str, Any] = {}  # what the browser knows of trouble and streaming
        self._ready = False
        self._counted, self._loaded = 0, 0.0  # series known when the page was last loaded, and when that was
        self.most = FIRST_CHARTS

    def load(self, machine: Machine) -> Picture:
        """Asks the machine to stream, subscribes, then reads the past: what comes meanwhile waits."""
        self._leave()
        self._watch(machine)
        self._subscription = self._reader.subscribe(machine.tenant, machine.chassis_id)
        return load(machine, self._reader, self._directory, self._store, self.most)

    def show(self, picture: Picture, on_more: Callable[[], None]) -> LiveBoard:
        """The board of what was loaded; it is fed from the moment the browser is ready for it."""
        self._picture, self._ready = picture, False
        self._positions, self._told = {}, {}
        self._arrived.clear()
        self._note(picture.entries)
        self._catch_up = CatchUp(picture, self._reader, self._store)
        self._counted, self._loaded = len(picture.numbers), self._clock()
        self._board = board(picture, {"ready": self._begin, "more": on_more})
        return self._board

    def tick(self) -> bool:
        """Send what came since the last tick. True when the page must be loaded anew: the catalog changed what is
        drawn, a new message appeared that belongs on a chart, or the queue ran over."""
        if not (self._subscription and self._board and self._picture and self._catch_up and self._ready):
            return False
        picture = self._picture
        entries = self._new(self._subscription.take())
        self._catch_up.take(entries)
        found = self._catch_up.poll()
        if found is not None:
            self._board.feed(self._of_store(picture, found))
        news = self._news(picture, entries)
        if entries or news:
            self._board.feed({**self._of_stream(picture, entries), **news})
        return self._subscription.dropped > 0 or self._grown(picture) or self._outdated(picture)

    def reconnect(self) -> None:
        """New connections to the live server, for all pages of this process."""
        self._reader.reconnect()

    def close(self) -> None:
        self._leave()
        self._watch(None)

    def _leave(self) -> None:
        if self._subscription is not None:
            self._subscription.close()
        self._subscription = self._board = self._picture = self._catch_up = None
        self._ready = False

    def _watch(self, machine: Machine | None) -> None:
        if self._streaming is None or machine == self._watched:
            return
        before, self._watched = self._watched, machine
        if before is not None:
            self._streaming.unwatch(before)
        if machine is not None:
            self._streaming.watch(machine)

    def _begin(self) -> None:
        """The browser has drawn the empty board: the two minutes go out once and are not kept here."""
        if self._picture is None or self._board is None or self._ready:
            return
        self._ready = True
        picture = self._picture
        heard = max((e.arrived for e in picture.entries), default=None)
        news = self._news(picture, ())
        words = {"texts": picture.texts, "trouble": picture.trouble, "missing": picture.missing}
        self._board.feed({**self._message(picture.rows, heard), **news, **words})
        self._told["trouble"] = picture.trouble
        picture.rows, picture.texts, picture.entries = np.empty((0, 4)), [], ()

    def _news(self, picture: Picture, entries: Sequence[Entry]) -> dict[str, Any]:
        """What changed beside the curves: marks, how the live server is, whether the machine was asked to stream."""
        picture.marks.take(reports(entries))
        newest = max([picture.newest, *(int(e.parsed.samples.ts.max(initial=0)) for e in entries)])
        marks = picture.marks.news(newest)
        state = self._streaming.state(self._watched) if self._streaming and self._watched else State()
        now = {"trouble": self._reader.trouble, "streaming": {"word": state.word, "why": state.why}}
        changed = {name: value for name, value in now.items() if self._told.get(name) != value}
        self._told |= now
        return changed if marks is None else {**changed, "marks": marks}

    def _outdated(self, picture: Picture) -> bool:
        """Only words and units are drawn; a factor shows by itself in the values that come."""
        now = self._directory.arrangement(picture.machine)
        if now.revision == picture.arrangement.revision:
            return False
        units = {series: line.unit for series, line in picture.lines.items()}
        same = lines(now, units) == picture.lines and now.groups == picture.arrangement.groups
        if same:
            picture.arrangement = now
        return not same

    def _grown(self, picture: Picture) -> bool:
        """Whether series seen since loading belong on a chart; asked rarely, for loading anew redraws everything."""
        if len(picture.numbers) == self._counted or self._clock() - self._loaded < RELOAD_EVERY_S:
            return False
        self._counted = len(picture.numbers)
        known = picture.lines
        found = charts(picture.arrangement, known, known.keys())[: self.most]
        return not wanted((*found, *client_charts(known, known.keys())), position(known)) <= picture.drawn

    def _new(self, entries: Sequence[Entry]) -> list[Entry]:
        """Those that neither the past nor an earlier tick had: within a stream ids only rise."""
        return [entry for entry in entries if _order(entry.id) > self._positions.get(entry.stream, (0, 0))]

    def _note(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            self._positions[entry.stream] = max(_order(entry.id), self._positions.get(entry.stream, (0, 0)))
            self._arrived.append((entry.arrived, len(entry.parsed.samples)))

    def _of_stream(self, picture: Picture, entries: Sequence[Entry]) -> dict[str, Any]:
        self._note(entries)
        fields = self._number_new(picture, [e.parsed.samples for e in entries], _text_series(entries))
        rows = [self._rows(picture, entry) for entry in entries]
        heard = max((e.arrived for e in entries), default=None)
        message = self._message(np.concatenate(rows) if rows else np.empty((0, 4)), heard)
        texts = text_rows(entries, picture.numbers)
        return {**message, "fields": fields, "texts": texts, "trouble": self._reader.trouble}

    def _of_store(self, picture: Picture, found: Found) -> dict[str, Any]:
        """Rows that belong before or between others; ``fill`` is the time (ms UTC) whose breaks they replace."""
        picture.marks.take(found.reports)
        samples, run = thin_for_screen(found.samples), found.run
        fields = self._number_new(picture, [samples], map(series_of, found.snapshot))
        numbers = picture.numbers
        ends = [picture.newest] if run is None else [run.left, run.begin]
        times = np.concatenate([samples.ts, [ts for ts in ends if ts and len(samples)]]).astype(np.int64)
        breaks = silences(times, [numbers[s] for s in picture.drawn])
        old = snapshot_rows(found.snapshot, numbers, picture.drawn, samples)
        rows = np.concatenate([old, pack(samples, numbers, picture.drawn), *breaks])
        picture.newest = max(picture.newest, int(samples.ts.max(initial=0)))
        message = {**self._message(rows, None), "fields": fields, "texts": snapshot_texts(found.snapshot, numbers)}
        if run is not None or found.trouble:
            message["missing"] = found.trouble
        if len(samples):
            message["fill"] = [found.start / 1000, found.end / 1000]
        return message

    def _rows(self, picture: Picture, entry: Entry) -> Any:
        samples = on_screen(entry)
        rows = pack(samples, picture.numbers, picture.drawn)
        if not len(samples):
            return rows
        silent = picture.newest and int(samples.ts.min()) - picture.newest > SILENCE
        gap = break_rows([picture.numbers[s] for s in picture.drawn], picture.newest) if silent else rows[:0]
        picture.newest = max(picture.newest, int(samples.ts.max()))
        return np.concatenate([gap, rows])

    def _number_new(
        self, picture: Picture, samples: Sequence[Samples], others: Iterable[Series]
    ) -> list[dict[str, Any]]:
        """Series not seen before get a number and a row of the table."""
        units: dict[Series, str] = dict.fromkeys(others, "")
        for table in samples:
            units |= dict(zip(zip(table.signals, table.sources, strict=True), table.units, strict=True))
        new = {series: unit for series, unit in units.items() if series not in picture.numbers}
        if not new:
            return []
        for series, line in lines(picture.arrangement, new).items():
            picture.numbers[series] = len(picture.numbers)
            picture.lines[series] = line
        return [field(picture.lines[series], picture.numbers[series]) for series in new]

    def _message(self, rows: Any, heard: int | None) -> dict[str, Any]:
        """Times in ms UTC of this server's clock, so that a browser whose clock is wrong still tells ages right."""
        now = int(self._clock() * SECOND)
        while self._arrived and self._arrived[0][0] < now - RATE_OVER:
            self._arrived.popleft()
        rate = _rate(self._arrived)
        flat = np.ascontiguousarray(rows, np.float64).ravel()
        return {"rows": flat, "rate": rate, "clock": now / 1000, "heard": None if heard is None else heard / 1000}


def _text_series(entries: Iterable[Entry]) -> Iterable[Series]:
    return ((text.signal, text.source) for entry in entries for text in entry.parsed.texts)


def _rate(arrived: Sequence[tuple[int, int]]) -> tuple[float, float]:
    """Messages and values a second, between the first and the last of these arrivals."""
    span = (max(when for when, _ in arrived) - arrived[0][0]) / SECOND if arrived else 0.0
    if span <= 0:
        return 0.0, 0.0
    return (len(arrived) - 1) / span, sum(values for _, values in list(arrived)[1:]) / span


def _order(entry_id: str) -> tuple[int, int]:
    ms, _, count = entry_id.partition("-")
    return int(ms), int(count)

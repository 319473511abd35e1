"""One open live page: which machine it shows, what of it was sent to the browser, and what comes next.

Nothing here is Panel but the board it is given: the page (``live_page``) says when to load, show, tick and close.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..live import Entry, LiveReader, Machine, Subscription
from ..model import SECOND
from .board import LiveBoard, board, field
from .directory import Directory
from .layout import Series, charts, lines
from .picture import SILENCE, Picture, load, text_rows
from .rows import break_rows, on_screen, pack
from .stored import Store

RATE_OVER = 10 * SECOND
RELOAD_EVERY_S = 3.0
FIRST_CHARTS, ALL_CHARTS = 12, 200


class LiveSession:
    """``load`` blocks and is called in a thread; everything else is called where the page lives and does not block."""

    def __init__(
        self, reader: LiveReader, directory: Directory, store: Store, clock: Callable[[], float] = time.time
    ) -> None:
        self._reader, self._directory, self._store, self._clock = reader, directory, store, clock
        self._subscription: Subscription | None = None
        self._board: LiveBoard | None = None
        self._picture: Picture | None = None
        self._positions: dict[str, tuple[int, int]] = {}
        self._arrived: deque[tuple[int, int]] = deque()  # (when, values) of the entries of the last ten seconds
        self._trouble = ""
        self._ready = False
        self._counted, self._loaded = 0, 0.0  # series known when the page was last loaded, and when that was
        self.most = FIRST_CHARTS

    def load(self, machine: Machine) -> Picture:
        """Subscribes, then reads the past: what is written meanwhile waits in the subscription."""
        self.close()
        self._subscription = self._reader.subscribe(machine.tenant, machine.chassis_id)
        return load(machine, self._reader, self._directory, self._store, self.most)

    def show(self, picture: Picture, on_more: Callable[[], None]) -> LiveBoard:
        """The board of what was loaded; it is fed from the moment the browser is ready for it."""
        self._picture, self._ready = picture, False
        self._positions, self._trouble = {}, picture.trouble
        self._arrived.clear()
        self._note(picture.entries)
        self._counted, self._loaded = len(picture.numbers), self._clock()
        answers = {"ready": self._begin, "more": on_more}
        self._board = board(picture.charts, picture.lines, picture.numbers, picture.more, answers)
        return self._board

    def tick(self) -> bool:
        """Send what came since the last tick. True when the page must be loaded anew: the catalog changed what is
        drawn, a new message appeared that belongs on a chart, or the queue ran over."""
        if self._subscription is None or self._board is None or self._picture is None or not self._ready:
            return False
        entries = self._new(self._subscription.take())
        trouble = self._reader.trouble
        if entries or trouble != self._trouble:
            self._trouble = trouble
            self._send(self._board, self._picture, entries)
        return self._subscription.dropped > 0 or self._grown(self._picture) or self._outdated(self._picture)

    def reconnect(self) -> None:
        """New connections to the live server, for all pages of this process."""
        self._reader.reconnect()

    def close(self) -> None:
        if self._subscription is not None:
            self._subscription.close()
        self._subscription = self._board = self._picture = None
        self._ready = False

    def _begin(self) -> None:
        """The browser has drawn the empty board: the two minutes go out once and are not kept here."""
        if self._picture is None or self._board is None or self._ready:
            return
        self._ready = True
        picture = self._picture
        heard = max((e.arrived for e in picture.entries), default=None)
        message = self._message(picture.rows, heard)
        words = {"texts": picture.texts, "trouble": self._trouble, "missing": picture.missing}
        self._board.feed({**message, **words})
        picture.rows, picture.texts, picture.entries = np.empty((0, 4)), [], ()

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
        found = charts(picture.arrangement, picture.lines, picture.lines.keys())[: self.most]
        return not {line.series for chart in found for line in chart.lines} <= picture.drawn

    def _new(self, entries: Sequence[Entry]) -> list[Entry]:
        """Those that neither the past nor an earlier tick had: within a stream ids only rise."""
        return [entry for entry in entries if _order(entry.id) > self._positions.get(entry.stream, (0, 0))]

    def _note(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            self._positions[entry.stream] = max(_order(entry.id), self._positions.get(entry.stream, (0, 0)))
            self._arrived.append((entry.arrived, len(entry.parsed.samples)))

    def _send(self, target: LiveBoard, picture: Picture, entries: list[Entry]) -> None:
        self._note(entries)
        fields = self._number_new(picture, entries)
        rows = [self._rows(picture, entry) for entry in entries]
        heard = max((e.arrived for e in entries), default=None)
        message = self._message(np.concatenate(rows) if rows else np.empty((0, 4)), heard)
        target.feed(
            {**message, "fields": fields, "texts": text_rows(entries, picture.numbers), "trouble": self._trouble}
        )

    def _rows(self, picture: Picture, entry: Entry) -> Any:
        samples = on_screen(entry)
        rows = pack(samples, picture.numbers, picture.drawn)
        if not len(samples):
            return rows
        silent = picture.newest and int(samples.ts.min()) - picture.newest > SILENCE
        gap = break_rows([picture.numbers[s] for s in picture.drawn], picture.newest) if silent else rows[:0]
        picture.newest = max(picture.newest, int(samples.ts.max()))
        return np.concatenate([gap, rows])

    def _number_new(self, picture: Picture, entries: Sequence[Entry]) -> list[dict[str, Any]]:
        """Series not seen before get a number and a row of the table."""
        units: dict[Series, str] = {}
        for entry in entries:
            samples = entry.parsed.samples
            units |= dict(zip(zip(samples.signals, samples.sources, strict=True), samples.units, strict=True))
            units |= {(text.signal, text.source): "" for text in entry.parsed.texts}
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


def _rate(arrived: Sequence[tuple[int, int]]) -> tuple[float, float]:
    """Messages and values a second, between the first and the last of these arrivals."""
    span = (max(when for when, _ in arrived) - arrived[0][0]) / SECOND if arrived else 0.0
    if span <= 0:
        return 0.0, 0.0
    return (len(arrived) - 1) / span, sum(values for _, values in list(arrived)[1:]) / span


def _order(entry_id: str) -> tuple[int, int]:
    ms, _, count = entry_id.partition("-")
    return int(ms), int(count)

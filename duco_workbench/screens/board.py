"""The live board as a Panel component: charts, table and badge are drawn by ``board.js`` from the rows it is sent.

Why messages and not a ColumnDataSource that the server keeps: a session-update is one message with one binary array,
nothing of it stays on the server, and the browser spreads it over the curves itself. Measured (24 series, 1 Hz), that
is 1.2 ms, against 1.3 to 1.5 ms for one synchronised source a page and 5 ms for a source a chart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import panel
import param
from bokeh.models import Range1d

from .figures import chart_figure, color, time_cursor
from .layout import Chart, Line, Series

pn: Any = panel  # half typed: its own annotations contradict what it does
HERE = Path(__file__).parent
Heard = Callable[[], None]


class LiveBoard(pn.custom.JSComponent):  # type: ignore[misc]
    """Cards with one figure each, a table of all series. Fed by :meth:`feed` once ``on_ready`` was called."""

    figures = pn.custom.Children()
    charts = param.List()
    fields = param.List()
    more = param.Integer(0)
    empty_title = param.String("")
    empty_text = param.String("")

    _esm = HERE / "board.js"
    _stylesheets = [(HERE / "board.css").read_text()]  # noqa: RUF012 (Panel's own form)

    def __init__(self, answers: Mapping[str, Heard], **params: Any) -> None:
        """``answers``: what to do when the browser says ``ready`` or ``more``."""
        super().__init__(sizing_mode="stretch_width", **params)
        self._answers = dict(answers)

    def feed(self, message: dict[str, Any]) -> None:
        """Keys: ``rows`` (n * 4 float64, flat), ``fields``, ``texts``, ``clock``, ``heard`` (ms UTC), ``rate``,
        ``trouble`` and ``missing`` (sentences)."""
        self._send_msg(message)

    def _handle_msg(self, message: dict[str, Any]) -> None:
        answer = self._answers.get(message.get("what", ""))
        if answer is not None:
            answer()


def board(
    charts: Sequence[Chart], lines: Mapping[Series, Line], numbers: Mapping[Series, int], more: int, answers: Any
) -> LiveBoard:
    """The board of a machine. All figures share one time range and one cursor."""
    x_range, cursor = Range1d(start=0, end=1), time_cursor()
    return LiveBoard(
        answers,
        figures=[pn.pane.Bokeh(chart_figure(chart, x_range, cursor), sizing_mode="stretch_width") for chart in charts],
        charts=[{"title": chart.title, "lines": _legend(chart, numbers)} for chart in charts],
        fields=[field(lines[series], number) for series, number in numbers.items()],
        more=more,
    )


def _legend(chart: Chart, numbers: Mapping[Series, int]) -> list[dict[str, Any]]:
    return [
        {"number": numbers[line.series], "label": line.label, "color": color(position)}
        for position, line in enumerate(chart.lines)
    ]


def field(line: Line, number: int) -> dict[str, Any]:
    """What the browser must know of a series; keys of ``choices`` are text because a JSON object's are."""
    return {
        "number": number,
        "label": line.label,
        "signal": line.signal,
        "source": line.source,
        "unit": line.unit,
        "choices": {str(value): word for value, word in line.choices.items()},
    }


class StatusBadge(pn.custom.JSComponent):  # type: ignore[misc]
    """Online or offline with rate and age, and the Refresh button; the board in the same window tells it."""

    _esm = HERE / "status.js"
    _stylesheets = [(HERE / "status.css").read_text()]  # noqa: RUF012

    def __init__(self, on_refresh: Heard, **params: Any) -> None:
        super().__init__(**params)
        self._on_refresh = on_refresh

    def _handle_msg(self, message: dict[str, Any]) -> None:
        if message.get("what") == "refresh":
            self._send_msg({"what": "heard"})
            self._on_refresh()

"""The live board as a Panel component: everything is drawn by the scripts in ``browser/`` from the rows they are sent.

Why messages and not a ColumnDataSource that the server keeps: a session-update is one message with one binary array,
nothing of it stays on the server, and the browser spreads it over the curves itself. Measured (24 series, 1 Hz), that
is 1.2 ms, against 1.3 to 1.5 ms for one synchronised source a page and 5 ms for a source a chart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import panel
import param
from bokeh.models import Range1d

from .figures import chart_figure, color, time_cursor, time_marks
from .layout import Chart, Line, Series
from .picture import Picture

pn: Any = panel  # half typed: its own annotations contradict what it does
HERE = Path(__file__).parent / "browser"
# One component is one script: there is no build step that would put modules together.
SCRIPTS = ("words.js", "charts.js", "table.js", "marks.js", "track.js", "board.js")
Heard = Callable[[], None]


class LiveBoard(pn.custom.JSComponent):  # type: ignore[misc]
    """Events and position, cards with one figure each, a table of all series. Fed by :meth:`feed` once it is ready."""

    figures = pn.custom.Children()
    charts = param.List()
    fields = param.List()
    track = param.Dict({})
    more = param.Integer(0)
    empty_title = param.String("")
    empty_text = param.String("")

    _esm = "\n".join((HERE / name).read_text() for name in SCRIPTS)
    _stylesheets = [(HERE / "board.css").read_text()]  # noqa: RUF012 (Panel's own form)

    def __init__(self, answers: Mapping[str, Heard], **params: Any) -> None:
        """``answers``: what to do when the browser says ``ready`` or ``more``."""
        super().__init__(sizing_mode="stretch_width", **params)
        self._answers = dict(answers)

    def feed(self, message: dict[str, Any]) -> None:
        """Keys: ``rows`` (n * 4 float64, flat), ``fields``, ``texts``, ``clock``, ``heard`` (ms UTC), ``rate``,
        ``trouble`` and ``missing`` (sentences), ``marks`` (all there are), ``streaming`` (word, why), ``fill`` (start
        and end in ms UTC: these rows came from the store, and breaks of the curves in there are gone)."""
        self._send_msg(message)

    def _handle_msg(self, message: dict[str, Any]) -> None:
        answer = self._answers.get(message.get("what", ""))
        if answer is not None:
            answer()


def board(picture: Picture, answers: Mapping[str, Heard]) -> LiveBoard:
    """The board of a machine. All figures share one time range, one cursor and the marks."""
    x_range, cursor, marks = Range1d(start=0, end=1), time_cursor(), time_marks()
    charts = (*picture.charts, *picture.client)
    figures = [chart_figure(chart, x_range, cursor, marks) for chart in charts]
    return LiveBoard(
        answers,
        figures=[pn.pane.Bokeh(figure, sizing_mode="stretch_width") for figure in figures],
        charts=[
            {"title": chart.title, "lines": _legend(chart, picture.numbers), "client": chart in picture.client}
            for chart in charts
        ],
        fields=[field(picture.lines[series], number) for series, number in picture.numbers.items()],
        track={name: picture.numbers[series] for name, series in picture.track.items()},
        more=picture.more,
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

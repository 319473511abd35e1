"""A chart as a Bokeh figure: empty sources that the page fills, one per line.

Canvas, not WebGL (which stalls without a graphics card); no axis computes its own range on the server or the client's
layout: the board sets them all at once, in the browser.
"""

from __future__ import annotations

from typing import Any

from bokeh.models import (
    BasicTicker,
    ColumnDataSource,
    CrosshairTool,
    CustomJSTickFormatter,
    DatetimeTicker,
    LinearAxis,
    NumeralTickFormatter,
    Range1d,
    VSpan,
)
from bokeh.models.annotations import Span
from bokeh.models.renderers import GlyphRenderer
from bokeh.plotting import figure

from .layout import Chart, Line

# Told apart in the light and the dark theme, and by the colour-blind (after Tableau and Okabe-Ito).
PALETTE = ("#2f7ed8", "#e8833a", "#2ca58d", "#c44e8a", "#8a6fd1", "#b0892c", "#d9534f", "#6b8aa5")
HEIGHT = 220
RIGHT = "right"

# Bokeh's time axis speaks UTC; people read the clock on their wall.
LOCAL_TIME = """
const d = new Date(tick), two = (n) => String(n).padStart(2, "0")
return `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`
"""


def color(position: int) -> str:
    return PALETTE[position % len(PALETTE)]


def time_cursor() -> Span:
    """One vertical line for all charts of a page: it stands at the same moment in each."""
    return Span(dimension="height", line_color="#8592a0", line_width=1, line_dash=[3, 3])


def time_marks() -> GlyphRenderer[Any]:
    """Vertical lines where something happened: one model for all charts of a page, for each costs 6 ms."""
    source = ColumnDataSource({"t": [], "color": []}, name="marks")
    glyph = VSpan(x="t", line_color="color", line_width=1.5, line_alpha=0.7)
    return GlyphRenderer(data_source=source, glyph=glyph, level="underlay")


def chart_figure(chart: Chart, x_range: Range1d, cursor: Span, marks: GlyphRenderer[Any]) -> Any:
    """The figure of a chart; its renderers are in the order of ``chart.lines``, then the marks. The browser writes what
    stands under the cursor itself: Bokeh's own hover has a box for every line, which cover one another."""
    plot: Any = figure(
        height=HEIGHT,
        sizing_mode="stretch_width",
        x_axis_type="datetime",
        x_range=x_range,
        y_range=Range1d(start=0, end=1),
        toolbar_location=None,
        tools="",
        output_backend="canvas",
        min_border=0,
        min_border_right=30,
        outline_line_color=None,
        lod_threshold=None,
    )
    plot.xaxis.formatter = CustomJSTickFormatter(code=LOCAL_TIME)
    plot.xaxis.ticker = DatetimeTicker(desired_num_ticks=4)
    plot.xgrid.visible = False
    plot.yaxis.formatter = NumeralTickFormatter(format="0,0.[000]")
    plot.yaxis.ticker = BasicTicker(desired_num_ticks=4)
    plot.add_tools(CrosshairTool(overlay=cursor))
    _axes(plot, chart.units)
    for position, line in enumerate(chart.lines):
        _draw(plot, line, color(position), right=line.unit != chart.units[0])
    plot.renderers.append(marks)
    return plot


def _axes(plot: Any, units: tuple[str, ...]) -> None:
    plot.yaxis.axis_label = units[0] or None
    if len(units) > 1:
        plot.extra_y_ranges = {RIGHT: Range1d(start=0, end=1)}
        axis = LinearAxis(y_range_name=RIGHT, axis_label=units[1] or None, formatter=plot.yaxis[0].formatter)
        axis.ticker = BasicTicker(desired_num_ticks=4)
        plot.add_layout(axis, RIGHT)


def _draw(plot: Any, line: Line, line_color: str, right: bool) -> None:
    source = ColumnDataSource({"t": [], "v": []}, name=f"{line.signal}@{line.source}")
    place = {"y_range_name": RIGHT} if right else {}
    style = {"line_color": line_color, "line_width": 1.6, "line_join": "round", **place}
    if line.step:
        plot.step("t", "v", source=source, mode="after", **style)
    else:
        plot.line("t", "v", source=source, **style)

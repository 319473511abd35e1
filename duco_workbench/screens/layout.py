"""Which curves stand on which chart, and what each series is called: pure functions of catalog and data seen.

The catalog's chart groups come first, in their order, with the curves the machine really sends. Where they say little
or nothing (the meta API is away, a database nobody arranged) messages are charts. What is no signal of a bus stands
apart: the position on a map of its own, client metrics (``client``) on charts after the others.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ..model import Variable
from . import client

Series = tuple[str, str]  # signal, source

MOST_LINES = 8  # on one chart: as many as the palette has colours
MOST_UNITS = 2  # one axis left, one right; what has a third unit gets a chart of its own
GNSS = "gnss"  # the source of a position message
NO_BUS = (GNSS, client.SOURCE)  # a database may have a message called Position or Client: the source tells
ENOUGH = 4  # charts; with fewer, messages without a chart group are added


@dataclass(frozen=True, slots=True)
class Group:
    """A chart group of the catalog: a title and names of variables."""

    title: str
    variables: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Arrangement:
    """What the catalog says of one machine; ``revision`` rises when any of it changes."""

    revision: int = -1
    variables: tuple[Variable, ...] = ()
    groups: tuple[Group, ...] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """One series with the words people read. ``step``: a state, which holds its value until it changes."""

    signal: str
    source: str
    label: str
    unit: str = ""
    step: bool = False
    choices: Mapping[int, str] = field(default_factory=dict)

    @property
    def series(self) -> Series:
        return self.signal, self.source


@dataclass(frozen=True, slots=True)
class Chart:
    title: str
    lines: tuple[Line, ...]

    @property
    def units(self) -> tuple[str, ...]:
        """Those of its axes, the first one left."""
        return tuple(dict.fromkeys(line.unit for line in self.lines))


def lines(arrangement: Arrangement, units: Mapping[Series, str]) -> dict[Series, Line]:
    """The line of every series seen. ``units``: what the data itself says; the catalog's unit goes first."""
    named = {v.signal: v for v in reversed(arrangement.variables)}
    senders: dict[str, int] = {}
    for signal, _ in units:
        senders[signal] = senders.get(signal, 0) + 1
    return {series: _line(series, named.get(series[0]), units[series], senders[series[0]] > 1) for series in units}


def _line(series: Series, variable: Variable | None, unit: str, ambiguous: bool) -> Line:
    signal, source = series
    label = variable.name if variable else signal.rpartition(".")[2]
    label = f"{label} ({source})" if ambiguous else label
    if variable is None and client.is_metric(series):
        metric = client.metric(signal)
        return Line(signal, source, metric.label, metric.unit, step=not metric.unit)
    if variable is None:
        return Line(signal, source, label, shown_unit(unit))
    step = variable.kind == "state" or bool(variable.choices)
    return Line(signal, source, label, shown_unit(variable.unit or unit), step, variable.choices)


def shown_unit(unit: str) -> str:
    """The catalog's spelling in the signs of print: ``degC`` is °C."""
    return _SIGNS.get(unit, unit)


_SIGNS = {"degC": "°C", "degF": "°F", "deg": "°", "m/s2": "m/s²", "m3": "m³", "Ohm": "Ω", "uV": "µV", "us": "µs"}


def charts(arrangement: Arrangement, known: Mapping[Series, Line], alive: Collection[Series]) -> tuple[Chart, ...]:
    """The charts of a machine. ``known``: every series seen; ``alive``: those that have given a value (not only
    "not available"), the only ones worth a chart nobody asked for."""
    arranged = [chart for group in arrangement.groups for chart in _arranged(group, arrangement, known, alive)]
    if len(arranged) >= ENOUGH:
        return tuple(arranged)
    drawn = {line.series for chart in arranged for line in chart.lines}
    rest = [known[s] for s in known if s in alive and s not in drawn and s[1] not in NO_BUS]
    return (*arranged, *_by_message(rest))


def client_charts(known: Mapping[Series, Line], alive: Collection[Series]) -> tuple[Chart, ...]:
    """Client metrics, a chart a unit, in the order of :data:`client.GROUPS`; those of no such unit share the last."""
    groups: dict[str, list[Line]] = {title: [] for title in (*client.GROUPS.values(), client.DISK, client.OTHERS)}
    for series in sorted(s for s in known if s in alive and client.is_metric(s)):
        if title := client.group(series, known[series].unit):
            groups[title].append(known[series])
    return tuple(chart for title, members in groups.items() for chart in _split(title, members))


def position(known: Collection[Series]) -> dict[str, Series]:
    """The series of the machine's position by name (``lat``, ``lon``, ``speed`` ...); none without lat and lon."""
    found = {signal.removeprefix("Position."): (signal, source) for signal, source in known if source == GNSS}
    return found if {"lat", "lon"} <= found.keys() else {}


def _arranged(
    group: Group, arrangement: Arrangement, known: Mapping[Series, Line], alive: Collection[Series]
) -> Iterator[Chart]:
    variables = {v.name: v for v in arrangement.variables}
    chosen = [
        line for name in group.variables if name in variables for line in _lines_of(variables[name], known, alive)
    ]
    if any(line.series in alive for line in chosen):
        yield from _split(group.title, chosen)


def _lines_of(variable: Variable, known: Mapping[Series, Line], alive: Collection[Series]) -> list[Line]:
    """The preferred source if it sends, else whichever has values, else whichever sends at all."""
    if (variable.signal, variable.source) in known:
        return [known[variable.signal, variable.source]]
    found = sorted(series for series in known if series[0] == variable.signal)
    return [known[series] for series in [s for s in found if s in alive] or found]


def _by_message(rest: Sequence[Line]) -> Iterator[Chart]:
    messages: dict[str, list[Line]] = {}
    for line in rest:
        messages.setdefault(line.signal.rpartition(".")[0], []).append(line)
    for message in sorted(messages):
        yield from _split(message, messages[message])


def _split(title: str, chosen: Iterable[Line]) -> Iterator[Chart]:
    """Charts of at most two units and eight lines."""
    by_unit: dict[str, list[Line]] = {}
    for line in chosen:
        by_unit.setdefault(line.unit, []).append(line)
    part: list[Line] = []
    for members in by_unit.values():
        for start in range(0, len(members), MOST_LINES):
            more = members[start : start + MOST_LINES]
            units = {line.unit for line in part} | {more[0].unit}
            if part and (len(units) > MOST_UNITS or len(part) + len(more) > MOST_LINES):
                yield Chart(title, tuple(part))
                part = []
            part += more
    if part:
        yield Chart(title, tuple(part))

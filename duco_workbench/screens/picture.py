"""What a page draws when it opens a machine: series, charts and the last two minutes, read without Panel."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..columns import Samples
from ..errors import DucoError
from ..live import Entry, LiveReader, Machine, merge
from ..model import SECOND, STATUS_NAMES, Status
from ..sinks.snapshot import Latest
from .directory import Directory
from .gaps import AROUND, Runs, shows
from .layout import Arrangement, Chart, Line, Series, charts, client_charts, lines, position
from .marks import LOOK_BACK, Marks, reports, spn_names
from .rows import break_rows, on_screen, pack
from .stored import Store

log = logging.getLogger(__name__)

WINDOW_S = 120
KEPT_S = 180  # what the live server keeps
SPARE_S = 5  # an entry holds what was measured before it arrived; with these the store need not be asked for its rest
SILENCE = 10 * SECOND  # after which a machine counts as offline, and a curve is broken

TextRow = tuple[int, float, str]  # number of the series, time in ms UTC, text


@dataclass(slots=True)
class Picture:
    """One machine on one page. ``numbers`` gives every series its number in the rows; ``track`` the series of the
    position by name; ``runs`` says what is missing between the store's part and the live one."""

    machine: Machine
    arrangement: Arrangement = field(default_factory=Arrangement)
    lines: dict[Series, Line] = field(default_factory=dict)
    charts: tuple[Chart, ...] = ()
    client: tuple[Chart, ...] = ()
    track: dict[str, Series] = field(default_factory=dict)
    more: int = 0
    numbers: dict[Series, int] = field(default_factory=dict)
    rows: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 4)))
    texts: list[TextRow] = field(default_factory=list)
    entries: tuple[Entry, ...] = ()
    runs: Runs = field(default_factory=Runs)
    marks: Marks = field(default_factory=Marks)
    newest: int = 0  # microseconds UTC of the newest sample
    trouble: str = ""  # what is wrong with the live server
    missing: str = ""  # why older data is not drawn
    drawn: frozenset[Series] = frozenset()  # those whose every row the browser needs


def load(machine: Machine, reader: LiveReader, directory: Directory, store: Store, most: int) -> Picture:
    """The two minutes up to the newest value there is, which is now or when the machine was last heard. Blocks while
    it reads; called in a thread. At most ``most`` charts of bus signals, ``more`` says how many others there are."""
    picture = Picture(machine, directory.arrangement(machine))
    snapshot = _read_live(picture, reader)
    if not snapshot and not picture.entries:
        snapshot = _last_stored(picture, store)
    live = merge([on_screen(e) for e in picture.entries])
    units, alive = _seen(live, snapshot, picture.entries)
    picture.lines = lines(picture.arrangement, units)
    found = charts(picture.arrangement, picture.lines, alive)
    picture.charts, picture.more = found[:most], max(0, len(found) - most)
    picture.client, picture.track = client_charts(picture.lines, alive), position(picture.lines)
    picture.drawn = wanted((*picture.charts, *picture.client), picture.track)
    picture.numbers = {series: number for number, series in enumerate(picture.lines)}
    newest = max((latest.ts for latest in snapshot.values()), default=0)
    _fill(picture, _with_stored(picture, store, live, newest), snapshot)
    _happened(picture, store)
    return picture


def wanted(drawn: Iterable[Chart], track: Mapping[str, Series]) -> frozenset[Series]:
    """The series of these charts and of the map."""
    return frozenset({line.series for chart in drawn for line in chart.lines} | set(track.values()))


def _read_live(picture: Picture, reader: LiveReader) -> dict[str, Latest]:
    machine = picture.machine
    try:
        found = reader.window(machine.tenant, machine.chassis_id, KEPT_S)
        last = max((e.arrived for e in found), default=0)
        picture.entries = tuple(e for e in found if e.arrived > last - (WINDOW_S + SPARE_S) * SECOND)
        return reader.snapshot(machine.tenant, machine.chassis_id)
    except DucoError as error:
        picture.trouble = short(str(error))
        return {}


def _last_stored(picture: Picture, store: Store) -> dict[str, Latest]:
    """The live server forgets when it restarts; the store does not."""
    try:
        return store.latest(picture.machine)
    except DucoError as error:
        picture.missing = short(str(error))
        return {}


def short(trouble: str) -> str:
    """For the page: what does not answer. Why is in the log, for those who can mend it."""
    log.warning("%s", trouble)
    return trouble.partition(": ")[0]


def series_of(field_name: str) -> Series:
    """``Message.Signal@can0:00`` as (signal, source)."""
    signal, _, source = field_name.rpartition("@")
    return signal, source


def _seen(
    live: Samples, snapshot: Mapping[str, Latest], entries: Iterable[Entry]
) -> tuple[dict[Series, str], set[Series]]:
    """Units of all series known of, and those which have given a number."""
    units = {series_of(name): "" for name in snapshot}
    units |= {(text.signal, text.source): "" for entry in entries for text in entry.parsed.texts}
    alive = {series_of(name) for name, latest in snapshot.items() if isinstance(latest.value, float | int)}
    units |= dict(zip(zip(live.signals, live.sources, strict=True), live.units, strict=True))
    for code in np.unique(live.series[live.status == Status.OK]).tolist():
        alive.add((live.signals[code], live.sources[code]))
    return units, alive


def _with_stored(picture: Picture, store: Store, live: Samples, newest: int) -> Samples:
    """``live``, and what the store has of the two minutes before the newest reading: before the live part and in its
    gaps. It is asked a little into what is live: if it knows that already, nothing is missing in between."""
    end = max(int(live.ts.max(initial=0)), newest) + 1
    start = end - WINDOW_S * SECOND
    oldest = int(live.ts.min(initial=end))
    picture.runs.take(picture.entries, 0, time.monotonic())
    gaps = picture.runs.gaps(start)
    stop = max([oldest, *(run.begin for run in gaps)])
    signals = sorted({signal for signal, _ in picture.drawn})
    if not signals or picture.missing or stop <= start:
        return live
    first = start if oldest > start or not gaps else max(start, gaps[0].left - AROUND)
    try:
        stored = store.samples(picture.machine, signals, first, min(end, stop + AROUND))
    except DucoError as error:
        picture.missing = short(str(error))
        return live
    for run in gaps:
        if shows(stored, run.witness(picture.drawn)):
            run.settle()
    return merge([live, stored])


def _happened(picture: Picture, store: Store) -> None:
    picture.marks = Marks(spn_names(picture.arrangement.variables))
    picture.marks.take(reports(picture.entries))
    if picture.missing or not picture.newest:
        return
    try:
        picture.marks.take(store.reports(picture.machine, picture.newest - LOOK_BACK, picture.newest + AROUND))
    except DucoError as error:
        picture.missing = short(str(error))


def _fill(picture: Picture, samples: Samples, snapshot: Mapping[str, Latest]) -> None:
    """Rows in the order of time, the snapshot's (which may be old) first."""
    numbers = picture.numbers
    drawn = [numbers[s] for s in picture.drawn]
    together = np.concatenate([pack(samples, numbers, picture.drawn), *silences(samples.ts, drawn)])
    together = together[np.argsort(together[:, 1], kind="stable")]
    picture.rows = np.concatenate([snapshot_rows(snapshot, numbers, picture.drawn, samples), together])
    picture.newest = int(max(together[:, 1].max(initial=0), picture.rows[:, 1].max(initial=0)) * 1000)
    picture.texts = [*snapshot_texts(snapshot, numbers), *text_rows(picture.entries, numbers)]


def silences(times: NDArray[np.int64], numbers: Sequence[int]) -> Iterable[NDArray[np.float64]]:
    """Rows that break the curves wherever ``times`` (microseconds UTC) leave more than ten seconds out."""
    ts = np.unique(times)
    return [break_rows(numbers, int(t)) for t in ts[:-1][np.diff(ts) > SILENCE]]


def snapshot_rows(
    snapshot: Mapping[str, Latest], numbers: Mapping[Series, int], drawn: frozenset[Series], samples: Samples
) -> NDArray[np.float64]:
    """The last reading of every field; of a drawn series only where the samples have none, lest its curve jump back."""
    present = {(samples.signals[c], samples.sources[c]) for c in np.unique(samples.series).tolist()}
    rows = [
        (numbers[series], latest.ts / 1000, _number(latest.value), STATUS_NAMES.index(latest.status))
        for name, latest in snapshot.items()
        if not isinstance(latest.value, str)
        and (series := series_of(name)) in numbers
        and not (series in drawn and series in present)
    ]
    return np.array(rows, np.float64).reshape(-1, 4)


def _number(value: float | str | None) -> float:
    return value if isinstance(value, float | int) else float("nan")


def snapshot_texts(snapshot: Mapping[str, Latest], numbers: Mapping[Series, int]) -> list[TextRow]:
    return [
        (numbers[series], latest.ts / 1000, latest.value)
        for name, latest in snapshot.items()
        if isinstance(latest.value, str) and (series := series_of(name)) in numbers
    ]


def text_rows(entries: Iterable[Entry], numbers: Mapping[Series, int]) -> list[TextRow]:
    """The texts of messages, for the table. One without a number yet is left out."""
    return [
        (numbers[text.signal, text.source], text.ts / 1000, text.text)
        for entry in entries
        for text in entry.parsed.texts
        if (text.signal, text.source) in numbers
    ]

"""How numbers and times are written for a person, and tables that a pipe can take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from rich.console import Console
from rich.table import Table

from .explain import Share

Code = tuple[str, int, int, int, int, int, str]  # source, SPN, FMI, reports, first and last (microseconds UTC), lamps


def percent(part: float, whole: float = 1) -> str:
    """``12.3 %``; never 100.0 or 0.0 for what is not quite all or nothing."""
    share = part / whole if whole else 0.0
    if 0 < share < 0.0005:
        return "<0.1 %"
    if 0.9995 <= share < 1:
        return ">99.9 %"
    return f"{100 * share:.1f} %"


def instant(ts: int) -> str:
    """Microseconds UTC, to the millisecond."""
    try:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=ts)
    except OverflowError:
        return f"{ts} us"
    return moment.strftime("%Y-%m-%d %H:%M:%S.") + f"{moment.microsecond // 1000:03}Z"


def span(micros: int) -> str:
    """``12.3 s``, ``4 min 05 s``, ``3 h 07 min``."""
    seconds = micros / 1e6
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60:,} h {minutes % 60:02} min"


def plain_table(*columns: str) -> Table:
    """A table without lines; a name that ends in ``>`` is a column of numbers."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in columns:
        table.add_column(name.rstrip(">"), justify="right" if name.endswith(">") else "left", no_wrap=True)
    return table


def print_table(table: Table, title: str, console: Console) -> None:
    """Nothing of a table without rows."""
    if table.row_count:
        console.print(f"\n{title}", style="bold", markup=False)
        console.print(table)


def print_zones(zones: Mapping[str, str], console: Console) -> None:
    for path, zone in zones.items():
        console.print(f"local times of {path} are those of {zone}", markup=False)


def print_codes(codes: Iterable[Code], console: Console) -> None:
    table = plain_table("source", "SPN>", "FMI>", "reports>", "first", "last", "lamps")
    for source, spn, fmi, reports, first, last, lamps in codes:
        table.add_row(source, str(spn), str(fmi), f"{reports:,}", instant(first), instant(last), lamps)
    print_table(table, "Active trouble codes (DM1)", console)


def shares(share: Share) -> tuple[str, str, str]:
    """Explained, by id, by PGN."""
    return percent(share.total), percent(share.exact), percent(share.j1939)


def page() -> Console:
    """Standard output; lines are as long as they need to be, whatever takes them: nothing is cut."""
    console = Console(highlight=False, emoji=False, markup=False)
    console.width = max(console.width, 240)
    return console

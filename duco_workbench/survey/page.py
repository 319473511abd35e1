"""The survey for a person: tables on a terminal, plain columns in a pipe."""

from __future__ import annotations

from dataclasses import astuple

from rich.console import Console

from .census import Bus
from .report import IdLine, Survey
from .words import instant, percent, plain_table, print_codes, print_table, print_zones, shares, span

SHORT = 200  # ids that are listed unless all are wanted
RATES = (250_000, 500_000, 1_000_000)  # bit/s that buses of machines have


def print_survey(s: Survey, console: Console, every_id: bool = False) -> None:
    """The buses first, what is proposed last."""
    _buses(s, console)
    _ids(s, console, every_id)
    _senders(s, console)
    _long(s, console)
    print_codes(map(astuple, s.dtcs), console)
    _shares(s, console)
    print_zones(s.zones, console)
    for warning in s.warnings:
        console.print(f"warning: {warning}")
    frames = sum(bus.frames for bus in s.buses)
    console.print(f"\n{frames:,} frames in {s.seconds:.1f} s, {frames / max(s.seconds, 1e-6):,.0f} frames/s")


def _buses(s: Survey, console: Console) -> None:
    columns = ("bus", "frames>", "from", "duration>", "frames/s>", "ids>", "error>", "remote>", "kbit/s>")
    table = plain_table(*columns, "load, stuffing estimated")
    for bus in s.buses:
        ids = sum(line.bus == bus.name for line in s.ids)
        counts = (
            f"{bus.frames / bus.seconds if bus.seconds else 0:,.0f}",
            f"{ids:,}",
            f"{bus.errors:,}",
            f"{bus.remotes:,}",
        )
        table.add_row(bus.name, f"{bus.frames:,}", instant(bus.first), span(bus.last - bus.first), *counts, *_load(bus))
    print_table(table, "Buses", console)
    for bus in s.buses:
        if bus.unlisted:
            console.print(f"{bus.name}: {bus.unlisted:,} frames of further ids are not listed; there are too many")


def _load(bus: Bus) -> tuple[str, str]:
    per_second = bus.bits / bus.seconds if bus.seconds else 0.0
    shares = (f"{percent(per_second, rate)} of {rate // 1000} k" for rate in RATES if per_second <= rate)
    return f"{per_second / 1000:,.0f}", ", ".join(shares)


def _ids(s: Survey, console: Console, every_id: bool) -> None:
    has_groups = any(line.is_extended for line in s.ids)
    groups = ("PGN>", "prio>", "from>", "to>") if has_groups else ()
    table = plain_table("bus", "id>", *groups, "message", "frames>", "period ms>", "jitter>", "bytes>", "moving bits")
    table.add_column("perhaps", no_wrap=True)
    shown = s.ids if every_id else s.ids[:SHORT]
    for line in shown:
        cells = _group_cells(line) if has_groups else ()
        bits = line.moving if len(line.moving) <= 71 else line.moving[:71] + " …"
        guess = ", ".join([*(f"counter {c}" for c in line.counters), *(f"check {c}" for c in line.checksums)])
        lengths = ",".join(map(str, line.lengths))
        timing = (_ms(line.period_ms), _ms(line.jitter_ms))
        table.add_row(line.bus, line.id, *cells, line.name, f"{line.frames:,}", *timing, lengths, bits, guess)
    print_table(table, "Ids", console)
    if len(shown) < len(s.ids):
        console.print(f"… and {len(s.ids) - len(shown):,} more; --all lists them")


def _group_cells(line: IdLine) -> tuple[str, ...]:
    if not line.is_extended:
        return ("", "", "", "")
    destination = "" if line.destination is None else f"{line.destination:02X}"
    return (str(line.pgn), str(line.priority), f"{line.source:02X}", destination)


def _ms(value: float | None) -> str:
    return "" if value is None else f"{value:,.1f}"


def _senders(s: Survey, console: Console) -> None:
    table = plain_table("bus", "address", "frames>", "ids>", "NAME", "manufacturer>", "function>")
    for line in s.senders:
        claimed = (line.name or "", *("" if v is None else str(v) for v in (line.manufacturer, line.function)))
        table.add_row(line.bus, f"{line.address:02X}", f"{line.frames:,}", f"{line.ids:,}", *claimed)
    print_table(table, "Senders (29-bit ids read as J1939)", console)


def _long(s: Survey, console: Console) -> None:
    table = plain_table("bus", "PGN>", "from>", "to>", "messages>", "bytes>")
    for m in s.long_messages:
        low, high = m.lengths
        addresses = (f"{m.source:02X}", f"{m.destination:02X}")
        table.add_row(m.bus, str(m.pgn), *addresses, f"{m.count:,}", str(low) if low == high else f"{low}..{high}")
    ended = ", ".join(f"{name.removeprefix('tp_').replace('_', ' ')} {n:,}" for name, n in s.sessions.items())
    print_table(table, f"Transport sessions: {ended}", console)


def _shares(s: Survey, console: Console) -> None:
    table = plain_table("bus", "database", "explained>", "by id>", "by PGN>", "ids>")
    for bus in s.shares:
        for share in bus.databases:
            table.add_row(bus.bus, share.database, *shares(share), f"{share.ids:,}")
    print_table(table, "Frames explained by each database", console)
    if not table.row_count:
        return
    console.print("\nProposed", style="bold")
    for p in s.proposals:
        names = " and ".join(f"{name} ({percent(gain)})" for name, gain in p.databases)
        rest = f"; {percent(1 - p.explained)} unexplained" if p.databases else "no database explains 1 % of it"
        console.print(f"  {p.bus}: {names}{rest}")
    if s.options:
        console.print("  " + " ".join(s.options), style="dim")

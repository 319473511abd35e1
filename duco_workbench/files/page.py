"""The summary for a person: tables on a terminal, plain columns in a pipe."""

from __future__ import annotations

from dataclasses import astuple

from rich.console import Console

from ..survey.words import instant, percent, plain_table, print_codes, print_table, print_zones, shares, span
from .summary import Summary


def print_summary(s: Summary, console: Console) -> None:
    """Totals first, what a person should look into last."""
    _totals(s, console)
    _shares(s, console)
    _messages(s, console)
    _unknown(s, console)
    print_codes(map(astuple, s.dtcs), console)
    _texts(s, console)
    _notes(s, console)


def _totals(s: Summary, console: Console) -> None:
    console.print(f"frames      {s.frames:,}  {instant(s.first)} .. {instant(s.last)} ({span(s.last - s.first)})")
    parts = (("decoded", s.decoded), ("transport", s.transport), ("unknown", s.unknown), ("skipped", s.skipped))
    console.print("            " + "  ".join(f"{name} {percent(n, s.frames)}" for name, n in parts))
    console.print(
        f"values      {s.values:,}  not available {percent(s.not_available, s.values)}"
        f"  error {percent(s.error, s.values)}  out of range {percent(s.out_of_range, s.values)}"
    )
    if s.transport_sessions:
        ended = (f"{name.removeprefix('tp_').replace('_', ' ')} {n:,}" for name, n in s.transport_sessions.items())
        console.print("sessions    " + "  ".join(ended))
    console.print(f"DTCs        {len(s.dtcs)}")
    console.print(f"took        {s.seconds:.1f} s, {s.frames / max(s.seconds, 1e-6):,.0f} frames/s")
    if s.output:
        console.print(f"written     {s.output}")


def _shares(s: Summary, console: Console) -> None:
    table = plain_table("log", "bus", "frames>", "database", "explained>", "by id>", "by PGN>", "ids>")
    for line in s.logs:
        for share in line.databases:
            table.add_row(line.log, line.bus, f"{line.frames:,}", share.database, *shares(share), str(share.ids))
        if not line.databases:
            table.add_row(line.log, line.bus, f"{line.frames:,}", "none", percent(0), percent(0), percent(0), "0")
    print_table(table, "Explained by each database", console)


def _messages(s: Summary, console: Console) -> None:
    table = plain_table("message", "bus", "senders>", "frames>", "Hz>", "values>", "not available>")
    for m in s.messages:
        counts = (str(m.senders), f"{m.frames:,}", f"{m.rate:,.2f}", f"{m.values:,}", percent(m.not_available))
        table.add_row(m.message, m.bus, *counts)
    print_table(table, "Messages", console)


def _unknown(s: Summary, console: Console) -> None:
    table = plain_table("bus", "id", "frames>", "of all>")
    for u in s.most_unknown:
        table.add_row(u.bus, u.id, f"{u.frames:,}", percent(u.frames, s.frames))
    print_table(table, f"Unknown ids: {s.unknown_ids:,}, the most frequent", console)


def _texts(s: Summary, console: Console) -> None:
    table = plain_table("signal", "source", "text", "first")
    for t in s.texts:
        table.add_row(t.signal, t.source, t.text, instant(t.first))
    print_table(table, "Texts", console)


def _notes(s: Summary, console: Console) -> None:
    table = plain_table("where", "why")
    for where, why in s.skipped_parts:
        table.add_row(where, why)
    print_table(table, "Parts of the databases that cannot be used", console)
    print_zones(s.zones, console)
    for warning in s.warnings:
        console.print(f"warning: {warning}", markup=False)

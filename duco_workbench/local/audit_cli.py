"""``duco audit``: is every message that a machine has numbered stored once, a dead letter, or a recorded drop?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from ..health.audit import Audit, Line

NAMED = 20  # runs of numbers that are named, of each kind
COLUMNS = ("stored", "dead", "dropped", "in_flight")
WRONG = ("missing", "unparsed", "stored and dead", "stored and dropped", "dead and dropped")

console = Console(highlight=False, markup=False, emoji=False, width=500)


def audit(
    machine: Annotated[str, typer.Option(metavar="NAME", help="this machine only")] = "",
    settled: Annotated[
        bool, typer.Option("--settled", help="nothing is under way any more: what is in flight is missing")
    ] = False,
    from_first_stored: Annotated[
        bool, typer.Option("--from-first-stored", help="count from the lowest stored number, not from 1")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="for programs")] = False,
    data: Annotated[Path, typer.Option("--data", help="where the stack keeps its state")] = Path("var"),
) -> None:
    """Account for every message: 1 to the high-water mark = stored + dead letters + recorded drops, each in one.

    Exit code 0 when that holds for every machine and epoch and no query shows anything twice, else 1. A store that is
    younger than its machines, or forgets, is audited with --from-first-stored.
    """
    from ..health.audit import Asked
    from ..health.audit import audit as look
    from .stack import settings_of

    found = look(settings_of(data), Asked(machine, settled, from_first_stored))
    if as_json:
        typer.echo(json.dumps(as_dict(found), indent=2))
    else:
        console.print(_table(found))
        for sentence in _sentences(found):
            console.print(sentence)
    raise typer.Exit(0 if found.holds else 1)


def as_dict(found: Audit) -> dict[str, Any]:
    """Keys: ``holds``, ``values_doubled``, ``unnumbered_letters``, ``notes``, ``epochs``."""
    return {
        "holds": found.holds,
        "values_doubled": found.values_doubled,
        "unnumbered_letters": found.unnumbered,
        "notes": list(found.notes),
        "epochs": [_entry(line) for line in found.lines],
    }


def _entry(line: Line) -> dict[str, Any]:
    account = line.account
    return {
        **line.where._asdict(),
        "first": account.first,
        "high_water": account.high_water,
        **{name: getattr(account, name) for name in COLUMNS},
        **{name.replace(" ", "_"): [list(run) for run in account.wrong.get(name, ())] for name in WRONG},
        "doubled": line.doubled,
        "holds": line.holds,
    }


def _table(found: Audit) -> Table:
    from ..sequences import size

    names = ("high-water", *(name.replace("_", " ") for name in COLUMNS), "missing", "in two places", "doubled")
    table = Table("machine", "epoch", *names, "verdict", box=None)
    for column in table.columns[1:-1]:
        column.justify = "right"
    for line in found.lines:
        wrong = {name: size(runs) for name, runs in line.account.wrong.items()}
        missing = wrong.pop("missing", 0) + wrong.pop("unparsed", 0)
        counts = [line.account.high_water, *(getattr(line.account, name) for name in COLUMNS), missing]
        numbers = (f"{count:,}" for count in (*counts, sum(wrong.values()), line.doubled))
        table.add_row(line.where.chassis_id, str(line.where.epoch), *numbers, "holds" if line.holds else "VIOLATED")
    return table


def _sentences(found: Audit) -> Iterator[str]:
    for line in found.lines:
        place = f"{line.where.chassis_id}:{line.where.epoch}"
        for name, runs in line.account.wrong.items():
            more = f" and {len(runs) - NAMED:,} more runs" if len(runs) > NAMED else ""
            yield f"{place} {name}: {', '.join(map(str, runs[:NAMED]))}{more}"
        if line.doubled:
            yield f"{place}: {line.doubled:,} messages too many in raw_messages"
    if found.values_doubled:
        yield f"{found.values_doubled:,} values too many in samples"
    if found.unnumbered:
        yield f"{found.unnumbered:,} dead letters have no number that could be read: `duco dead-letters list --each`"
    yield from found.notes
    violated = sum(not line.holds for line in found.lines)
    total = f"of {len(found.lines):,} epochs"
    yield (
        f"every message of {len(found.lines):,} epochs is accounted for"
        if found.holds
        else f"{violated:,} {total} violated"
    )

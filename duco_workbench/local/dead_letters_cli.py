"""``duco dead-letters``: what was refused and why, what is in it, and having it judged again."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ..errors import ServiceError

if TYPE_CHECKING:
    from ..dead_letters import Chosen, DeadLetterBox, Group, Letter, Outcome, Replayed
    from ..settings import Settings

app = typer.Typer(
    no_args_is_help=True, help="Messages that could not be used: why, what is in them, and replaying them."
)

# Names and bodies are printed as they are, whatever rich could read in them, and never cut.
console = Console(highlight=False, markup=False, emoji=False, width=500)

SHOWN = 4000  # characters of a body
GOOD = "good: the letter is closed"
Machine = Annotated[str, typer.Option(metavar="NAME", help="of this machine only")]
Reason = Annotated[str, typer.Option(metavar="CODE", help="of this reason only, e.g. no_manifest")]
Since = Annotated[str, typer.Option(metavar="T", help="that the hub took at T or later, e.g. 2026-01-31T08:00:00Z")]
Until = Annotated[str, typer.Option(metavar="T", help="that the hub took before T")]
AsJson = Annotated[bool, typer.Option("--json", help="for programs; times in microseconds UTC")]
DataOption = Annotated[Path, typer.Option("--data", help="where the stack keeps its state")]


@app.command("list")
def list_(
    machine: Machine = "",
    reason: Reason = "",
    since: Since = "",
    until: Until = "",
    each: Annotated[bool, typer.Option("--each", help="single letters, the newest first")] = False,
    limit: Annotated[int, typer.Option(min=1, help="at most so many lines")] = 100,
    as_json: AsJson = False,
    data: DataOption = Path("var"),
) -> None:
    """Open letters by reason, machine and msgType; or each of them."""
    box, chosen = _box(_settings(data)), _chosen(machine, reason, since, until)
    found = box.each(chosen, limit) if each else box.by_reason(chosen, limit)
    if as_json:
        _print_json([_flat(item) if each else asdict(item) for item in found])  # type: ignore[arg-type]
    elif not found:
        console.print("no dead letters")
    else:
        console.print(_letters(found) if each else _groups(found))  # type: ignore[arg-type]


@app.command()
def show(
    letter: Annotated[str, typer.Argument(help="its name, or the beginning of it")],
    machine: Machine = "",
    as_json: AsJson = False,
    data: DataOption = Path("var"),
) -> None:
    """Everything of one letter: how often it was judged and how, where it came from, what is in it."""
    box = _box(_settings(data))
    judged = box.judgements(letter, machine)
    if as_json:
        _print_json([_flat(one) for one in judged])
    else:
        _print_letter(judged, is_open=box.is_open(judged[-1]))


@app.command()
def replay(
    letters: Annotated[list[str], typer.Argument(metavar="[LETTER]...", help="their names; none: all that fit")] = [],  # noqa: B006
    machine: Machine = "",
    reason: Reason = "",
    since: Since = "",
    until: Until = "",
    wait: Annotated[bool, typer.Option(help="until all are judged")] = True,
    timeout: Annotated[float, typer.Option(metavar="S", help="how long to wait for that")] = 60.0,
    as_json: AsJson = False,
    data: DataOption = Path("var"),
) -> None:
    """Put letters back on the raw log, where the processor judges them by the logic of today.

    What is good then is stored and its letter closed; what is not stays a letter, with its new reason. Running this
    twice, or breaking it off and running it again, changes nothing else.
    """
    settings = _settings(data)
    box = _box(settings)
    names = [box.judgements(name, machine)[-1].letter for name in letters]
    chosen = _chosen(machine, reason, since, until, names)
    replayed, outcome = asyncio.run(_replay(box, chosen, settings, timeout if wait else 0.0))
    if as_json:
        _print_json({"replayed": replayed.count, **asdict(outcome)})
    else:
        console.print(_in_words(replayed, outcome))
    if wait and outcome.waiting:
        raise ServiceError(
            f"{outcome.waiting:,} of them, on the raw log now, were not judged in {timeout:.0f} s: see `duco status`"
        )


async def _replay(box: DeadLetterBox, chosen: Chosen, settings: Settings, timeout_s: float) -> tuple[Replayed, Outcome]:
    from ..log import log_sink
    from ..topics import RAW

    raw_log = log_sink(settings.log, RAW)
    await raw_log.open()
    try:
        replayed = await box.replay(chosen, raw_log)
    finally:
        await raw_log.close()
    return replayed, await box.outcome(replayed, timeout_s)


def _settings(data: Path) -> Settings:
    from .stack import settings_of

    return settings_of(data)


def _box(settings: Settings) -> DeadLetterBox:
    from ..dead_letters import DeadLetterBox

    return DeadLetterBox(settings.store_url)


def _chosen(machine: str, reason: str, since: str, until: str, letters: Iterable[str] = ()) -> Chosen:
    from ..dead_letters import Chosen
    from ..history.tables import microseconds

    first, last = microseconds(since or 0), microseconds(until or 1 << 62)
    assert first is not None
    assert last is not None
    return Chosen(machine, reason, first, last, tuple(letters))


# --- for a person


def _groups(found: Iterable[Group]) -> Table:
    table = Table("reason", "machine", "msgType", "letters", "first", "last", "example", "detail", box=None)
    for group in found:
        names, times = (group.reason, group.chassis_id, group.msg_type), (_when(group.first), _when(group.last))
        table.add_row(*names, f"{group.count:,}", *times, group.example, _short(group.detail))
    return table


def _letters(found: Iterable[Letter]) -> Table:
    table = Table("letter", "reason", "machine", "msgType", "enqueued", "replayed", "detail", box=None)
    for letter in found:
        names = letter.letter, letter.reason, letter.record.chassis_id, letter.record.msg_type
        table.add_row(*names, _when(letter.record.ts_enqueued), _when(letter.replayed_at), _short(letter.detail))
    return table


def _print_letter(judged: list[Letter], is_open: bool) -> None:
    letter, record = judged[-1], judged[0].record  # what a good judgement is written from has no body any more
    table = Table(box=None, show_header=False)
    table.add_row("letter", letter.letter)
    for one in judged:
        when = f"replayed {_when(one.replayed_at)}" if one.replayed_at else "at first"
        table.add_row(when, f"{one.reason}: {one.detail}" if one.reason else GOOD)
    if letter.reason and not is_open:
        table.add_row("delivered again", GOOD)
    for name in ("tenant", "chassis_id", "msg_type", "message_id", "v", "hub_partition", "hub_sequence"):
        table.add_row(name, str(getattr(record, name)))
    for name in ("ts", "ts_enqueued", "ts_ingested"):
        table.add_row(name, _when(getattr(record, name)))
    table.add_row("body", f"{len(record.body):,} bytes")
    console.print(table)
    console.print(readable(record.body))


def readable(body: bytes, most: int = SHOWN) -> str:
    """A body for the eye: JSON set out, other text as it is, else hex; no more than ``most`` characters of it."""
    shown = _text(body)
    printable = "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in shown[:most])
    return printable if len(shown) <= most else f"{printable}\n… {len(shown) - most:,} characters more"


def _text(body: bytes) -> str:
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return body.hex(" ")
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text


def _in_words(replayed: Replayed, outcome: Outcome) -> str:
    if not replayed.count:
        return "no letter was replayed: none that is open fits"
    refused = [f"{count:,} refused again ({reason})" for reason, count in outcome.refused.items()]
    waiting = [f"{outcome.waiting:,} not judged yet"] if outcome.waiting else []
    return f"{replayed.count:,} replayed: " + ", ".join([f"{outcome.passed:,} good now", *refused, *waiting])


def _when(instant: int) -> str:
    """UTC, to the second, as ``--since`` takes it; "" for never."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(instant / 1e6)) if instant else ""


def _short(text: str, most: int = 100) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"


# --- for a program


def _flat(letter: Letter) -> dict[str, Any]:
    """A body that is no UTF-8 is hex."""
    known = asdict(letter)
    record: dict[str, Any] = known.pop("record")
    body = record.pop("body")
    try:
        return {**known, **record, "body": body.decode()}
    except UnicodeDecodeError:
        return {**known, **record, "body_hex": body.hex()}


def _print_json(found: Mapping[str, Any] | list[Any]) -> None:
    typer.echo(json.dumps(found, indent=2))

"""``duco decode`` and ``duco inspect``: logs on any laptop, without a stack. They need the ``decoder`` extra only."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from .errors import ConfigError

Logs = Annotated[list[Path], typer.Argument(metavar="LOG...", help="log files, or folders of them")]
Zone = Annotated[
    str | None, typer.Option("--tz", "--zone", metavar="ZONE", help="zone of local times, e.g. Europe/Berlin")
]
Start = Annotated[str | None, typer.Option(metavar="T", help="time of the first frame, for a log without dates")]
AsJson = Annotated[bool, typer.Option("--json", help="for programs")]


def decode(
    logs: Logs,
    dbc: Annotated[
        list[str],
        typer.Option("--dbc", metavar="[BUS=]DBC", help="database of every bus, or of one; repeat for more"),
    ],
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="OUT", help="file that ends in .parquet, .csv or .mf4; none: summary only"),
    ] = None,
    signals: Annotated[
        list[str],
        typer.Option("--signals", metavar="GLOB", help="only what matches Message.Signal; repeat for more"),
    ] = [],  # noqa: B006
    wide: Annotated[
        bool, typer.Option("--wide", help="a folder OUT with one table a message, one column a signal")
    ] = False,
    tz: Zone = None,
    start: Start = None,
    force: Annotated[bool, typer.Option("--force", help="replace what OUT names")] = False,
    as_json: AsJson = False,
) -> None:
    """Decode logs with their databases into one file, and say what was in them.

    Parquet and CSV have one row a value: ts (UTC), signal (Message.Signal), source (bus, and J1939 sender), value (in
    unit; empty where status is not ok and there is no number), unit, status. An MF4 has a group a message and sender.
    A log of any size takes some 300 MB of memory (500 MB with --wide or MF4, which also needs the disk twice). Several
    logs follow each other by the time of their first frame. Of two databases of one bus the later decides.
    """
    from .files import page, target
    from .files.run import Output, decode_recording
    from .parsing.logs import find_logs
    from .survey.bindings import load_databases
    from .survey.reading import Recording

    output = Output.named(out, wide, force) if out else None
    if output:
        target.check(output.path, force, find_logs(logs), output.is_folder)
    databases, _ = load_databases(dbc)
    recording = Recording(logs, tz, instant(start) if start else None)
    try:
        with _progress("decoding") as show:
            summary = decode_recording(recording, databases, signals, output, show)
    finally:
        recording.close()
    _say(summary, as_json, page.print_summary)


def inspect(
    logs: Logs,
    dbc: Annotated[
        list[str],
        typer.Option("--dbc", metavar="[BUS=]DBC|FOLDER", help="databases to try, and folders of them; repeat"),
    ] = [],  # noqa: B006
    every_id: Annotated[bool, typer.Option("--all", help="list every id, however many there are")] = False,
    tz: Zone = None,
    start: Start = None,
    as_json: AsJson = False,
) -> None:
    """Say what is on a bus, documented or not: ids, rates, senders, moving bits, and which databases explain it.

    A log of any size takes some 250 MB of memory. Several logs are taken for one recording.
    """
    from .survey.bindings import load_databases
    from .survey.page import print_survey
    from .survey.reading import Recording
    from .survey.report import survey_recording

    recording = Recording(logs, tz, instant(start) if start else None)
    try:
        databases, refused = load_databases(dbc, tolerant=True)
        with _progress("reading") as show:
            survey = survey_recording(recording, databases, show)
    finally:
        recording.close()
    survey.warnings.extend(refused)
    _say(survey, as_json, lambda found, console: print_survey(found, console, every_id))


def _say(found: Any, as_json: bool, print_page: Callable[[Any, Console], None]) -> None:
    from .survey.words import page

    if as_json:
        sys.stdout.write(json.dumps(asdict(found), indent=2) + "\n")
    else:
        print_page(found, page())


@contextmanager
def _progress(what: str) -> Iterator[Callable[[float, int], None]]:
    """A bar on standard error, if that is a terminal."""
    console = Console(file=sys.stderr)
    columns = (
        TextColumn(what),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.fields[frames]:,} frames"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    bar = Progress(*columns, console=console, disable=not console.is_terminal, transient=True)
    with bar as progress, redirect_stdout(io.StringIO()):  # asammdf prints how fast it reads when it is kept waiting
        task = progress.add_task(what, total=1.0, frames=0)
        yield lambda share, frames: progress.update(task, completed=share, frames=frames)


def instant(text: str) -> int:
    """An ISO time with its zone, in microseconds. Raises: ConfigError."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"--start {text!r} is no ISO time; write e.g. 2024-05-01T08:00:00+02:00") from None
    if moment.tzinfo is None:
        raise ConfigError(f"--start {text!r} has no zone; write e.g. {text}+00:00 or {text}Z")
    return round(moment.timestamp() * 1_000_000)

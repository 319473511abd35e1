"""``duco``: the embedded stack and what is done to it from a shell. Every failure is one sentence and an exit code."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from . import commands
from .errors import ConfigError, DucoError, ServiceError
from .local import audit_cli, dead_letters_cli, hub_cli

if TYPE_CHECKING:
    from .settings import Settings

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__, pretty_exceptions_enable=False)
app.add_typer(hub_cli.app, name="hub")
app.add_typer(dead_letters_cli.app, name="dead-letters")
app.command()(audit_cli.audit)
app.command()(commands.decode)
app.command()(commands.inspect)
console = Console(highlight=False, soft_wrap=True)

DataOption = Annotated[Path, typer.Option("--data", help="where the stack keeps its state")]
DbcOption = Annotated[list[str], typer.Option("--dbc", metavar="BUS=DBC", help="database of a bus; repeat for more")]


@app.command()
def up(
    detach: Annotated[bool, typer.Option("--detach", help="return when everything runs")] = False,
    data: DataOption = Path("var"),
    machines: Annotated[int, typer.Option(min=0, help="simulated machines")] = 10,
    profile: Annotated[str, typer.Option(metavar="quarry|speed", help="what the simulated machines are")] = "quarry",
    replay: Annotated[list[Path], typer.Option(metavar="LOG", help="play a log as a machine of its own")] = [],  # noqa: B006
    dbc: DbcOption = [],  # noqa: B006
    once: Annotated[bool, typer.Option("--once", help="play logs once, not in a loop")] = False,
    speed: Annotated[float, typer.Option(min=0.01, help="of replays; 2 is twice as fast")] = 1.0,
    history: Annotated[str, typer.Option(metavar="24h", help="how much of the past to write")] = "10m",
    log: Annotated[str, typer.Option(metavar="URL", help="kafka://HOST:PORT instead of the embedded log")] = "",
    lab: Annotated[bool, typer.Option("--lab", help="start JupyterLab too")] = False,
) -> None:
    """Start the stack and the machines, and stay until Ctrl-C; what runs already is left alone."""
    from .local import stack
    from .local.fleet import Fleet, Replay
    from .local.simulation import PROFILES
    from .survey.bindings import parse_bindings

    bindings = parse_bindings(dbc)
    replays = tuple(Replay(_existing(path), bindings) for path in replay)
    if profile not in PROFILES:
        raise ConfigError(f"--profile {profile}: there are {', '.join(PROFILES)}")
    fleet = Fleet(machines, profile, replays, _duration(history), speed, once)
    settings = stack.settings_to_start(data, log)
    supervisor = stack.up(settings, fleet, lab, console.print)
    _print_addresses(settings, lab)
    if not detach:
        _attend(supervisor, settings)


def _print_addresses(settings: Settings, lab: bool) -> None:
    console.print(f"\n  live page   {settings.page_url}/live")
    console.print(f"  status      {settings.page_url}/status")
    console.print(f"  meta API    {settings.meta_url}/docs")
    console.print(f"  IoT Hub     {settings.hub_address} (MQTT 8883, AMQP 5671, REST 8443); `duco hub devices list`")
    console.print(f"  ClickHouse  {settings.store_url}")
    console.print(f"  log         {settings.log_url}")
    console.print(f"  Redis       state {settings.state}   live {settings.live_url}")
    if lab:
        console.print(f"  JupyterLab  {settings.lab_url}/lab")
    console.print(f"  logs        {settings.data / 'logs'}\n")


def _attend(supervisor: Any, settings: Settings) -> None:
    """Say what happens to the parts, and how far the past is written, until Ctrl-C or SIGTERM; then drain."""
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    console.print("Ctrl-C stops everything; `duco down` from another shell does too.")
    before, progress = supervisor.states(), ""
    while not stopped.wait(1.0):
        try:
            states = supervisor.states()
        except ServiceError:
            console.print("the stack was stopped")
            return
        for name, state in states.items():
            if (state["statename"], state["pid"]) != (before[name]["statename"], before[name]["pid"]):
                console.print(f"{name}: {state['statename'].lower()} {state['description']}".rstrip())
        before = states
        if (now := _past(settings)) != progress:
            console.print(progress := now)
    console.print("stopping …")
    supervisor.shut_down()


def _past(settings: Settings) -> str:
    """How much of the past the machines have written, to the tenth; "" while nobody says."""
    from . import pulse

    with contextlib.suppress(ServiceError):
        beat = asyncio.run(pulse.read("past", settings.state)) or {}
        if wanted := beat.get("history_s"):
            tenths = min(10 * beat["past_s"] // wanted, 10)
            return f"past: {tenths * wanted / 36000:.1f} of {wanted / 3600:.1f} hours written"
    return ""


@app.command()
def down(data: DataOption = Path("var")) -> None:
    """Stop the stack of a data directory: every part finishes what it has in hand first."""
    from .local.supervision import Supervisor

    supervisor = Supervisor(data)
    if not supervisor.is_running():
        console.print(f"nothing is running on {data}")
        return
    supervisor.shut_down()
    console.print("stopped")


@app.command()
def status(
    data: DataOption = Path("var"),
    as_json: Annotated[bool, typer.Option("--json", help="for programs")] = False,
) -> None:
    """What runs, how far each hop is, what was lost, doubled or refused."""
    from .local import stack
    from .local.status import print_status, read_status

    found = read_status(stack.settings_of(data))
    if as_json:
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
    else:
        print_status(found, console)


@app.command("import")
def import_(
    paths: Annotated[list[Path], typer.Argument(help="log files, or folders of them")],
    machine: Annotated[str, typer.Option(help="the machine they are of")],
    dbc: DbcOption = [],  # noqa: B006
    start: Annotated[
        str | None, typer.Option(metavar="T", help="time of the first frame, for logs without dates")
    ] = None,
    tz: Annotated[str | None, typer.Option(metavar="ZONE", help="zone of local times, e.g. Europe/Berlin")] = None,
    keep: Annotated[str | None, typer.Option(metavar="all|changes", help="store every sample, or what changed")] = None,
    data: DataOption = Path("var"),
) -> None:
    """Import logs with their own times; the same file twice changes nothing."""
    from .catalog.client import CatalogClient
    from .local import stack
    from .local.fleet import bind
    from .local.importing import Importer
    from .parsing.logs import find_logs
    from .runtime import Stop
    from .survey.bindings import parse_bindings
    from .survey.words import print_zones

    if keep not in (None, "all", "changes"):
        raise ConfigError(f"--keep {keep}: write all or changes")
    logs, bindings = find_logs(paths), parse_bindings(dbc)
    first = commands.instant(start) if start else None
    settings = stack.settings_of(data)
    revision = bind(CatalogClient(settings.meta_url), settings.tenant, machine, bindings, keep)

    async def work(progress: Progress) -> Any:
        stop, tasks = Stop(), {}
        stop.on_signals()

        def show(step: str, share: float) -> None:
            if step not in tasks:
                tasks[step] = progress.add_task(step, total=1.0)
            progress.update(tasks[step], completed=share)

        return await Importer(settings, machine, first, tz, show).run(logs, revision, stop)

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        report = asyncio.run(work(progress))
    print_zones(report.zones, console)
    for warning in report.warnings:
        console.print(f"[yellow]{warning}[/]")
    console.print(f"{report.frames:,} frames of {report.files} file(s) imported as {machine}")
    if report.refused:
        raise ConfigError("not imported: " + "; ".join(report.refused))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def run(context: typer.Context, flow: str) -> None:
    """Run one pipeline in the foreground, e.g. `duco run processor`; addresses come from DUCO_ variables."""
    from .local.programs import ROOT

    script = ROOT / "pipelines" / f"{flow}.py"
    if not script.exists():
        known = ", ".join(sorted(p.stem for p in (ROOT / "pipelines").glob("*.py")))
        raise ConfigError(f"there is no flow {flow!r}; there are: {known}")
    os.execv(sys.executable, [sys.executable, str(script), *context.args])


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise ConfigError(f"there is no log {str(path)!r}")
    return path


def _duration(text: str) -> int:
    """``90s``, ``10m``, ``24h``, ``7d`` in seconds."""
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    try:
        return int(float(text[:-1]) * units[text[-1]])
    except (KeyError, ValueError, IndexError):
        raise ConfigError(f"{text!r} is no duration; write 90s, 10m, 24h or 7d") from None


def main() -> None:
    """Exit codes: 0 done, 1 a :class:`DucoError` in one sentence, 2 wrong usage."""
    try:
        app()
    except DucoError as error:
        Console(stderr=True, highlight=False, soft_wrap=True, emoji=False).print(f"duco: {error}", markup=False)
        sys.exit(1)


if __name__ == "__main__":
    main()

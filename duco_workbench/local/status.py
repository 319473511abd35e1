"""What `duco status` and the status page say: the data flow (see :mod:`duco_workbench.health`), and what processes run.

A stack of `duco up` is known by its supervisor. Elsewhere, e.g. on a cluster, who names the addresses in DUCO_
variables gets the same without processes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from .. import health
from ..errors import ServiceError
from ..health import processes as processes_health
from ..settings import Settings
from . import stack
from .supervision import Supervisor

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

SHORT = {"sent": "sent", "hub": "hub", "raw": "raw", "parsed": "parsed", "distributed": "out", "stored": "stored"}


def read_status(settings: Settings) -> dict[str, Any]:
    """Everything as JSON types: ``processes``, ``addresses`` (no keys), and what :func:`health.report` gives.

    Raises: ServiceError when no stack runs here, or nothing of it can be read.
    """
    processes = _processes(settings)
    doors = processes_health.read(settings.ops)
    found = health.read(settings)
    pulses = found.pop("pulses")
    known = processes or {name: {"state": "RUNNING", "said": ""} for name in {**pulses, **doors}}
    return {
        "processes": {
            name: {**state, **(pulses.get(name) or {}), "health": doors.get(name)} for name, state in known.items()
        },
        "addresses": _addresses(settings),
        **found,
    }


def _processes(settings: Settings) -> dict[str, dict[str, Any]]:
    """Empty where there is no supervisor, but addresses to read from. Raises: ServiceError."""
    try:
        states = Supervisor(settings.data).states()
    except ServiceError:
        was_stopped = (settings.data / "stack.json").exists()
        if was_stopped or not {"log_url", "store_url"} <= settings.model_fields_set:
            raise
        return {}
    return {n: {"state": s["statename"], "pid": s["pid"], "said": s["description"]} for n, s in states.items()}


def _addresses(settings: Settings) -> dict[str, str]:
    """Where everything is; passwords and keys are left out."""
    host = re.search(r"HostName=([^;]+)", settings.hub)
    found = {name: re.sub(r"(://[^/@]*):[^/@]*@", r"\1@", getattr(settings, name)) for name in stack.ADDRESSES}
    return {**{name: url for name, url in found.items() if url}, "hub": host[1] if host else ""}


# --- for a person


def print_status(found: dict[str, Any], console: Console) -> None:
    console.print(_process_table(found["processes"]))
    console.print()
    console.print(_machine_table(found))
    console.print()
    console.print(_verdict(found))
    console.print(_totals(found))
    if found["lag"]:
        console.print("behind: " + ", ".join(f"{group} {count:,}" for group, count in found["lag"].items()))
    for sentence in health.sentences(found):
        console.print(sentence, style="yellow", markup=False)
    for name, url in found["addresses"].items():
        console.print(f"  {name:12} {url}", markup=False)


def _table(*columns: str) -> Table:
    from rich.table import Table

    return Table(*columns, box=None, pad_edge=False, header_style="dim")


def _process_table(processes: dict[str, Any]) -> Table:
    """Of a process with several flows, the first: the one it is named after."""
    from rich.markup import escape

    table = _table("process", "health", "msg/s", "batch p50", "p99 ms", "behind", "MB", "")
    for column in table.columns[2:7]:
        column.justify = "right"
    for name, process in processes.items():
        door = process.get("health") or {}
        flow: dict[str, Any] = next(iter(door.get("flows", {}).values()), {})
        figures = (flow.get(key) for key in ("messages_s", "batch_p50_ms", "batch_p99_ms", "lag"))
        cells = [*figures, door.get("rss_mb")]
        said, word = escape(process["said"].replace("uptime ", "")), health.health_of(process)
        style = None if word in ("ok", *health.GOOD_STATES) else "red"
        shown = ("" if cell is None else f"{cell:,}" for cell in cells)
        table.add_row(name, word, *shown, said, style=style)
    return table


def _machine_table(found: dict[str, Any]) -> Table:
    """The highest number of a machine at each hop, how old its newest stored message is, what was lost."""
    from rich.markup import escape

    counts = health.counts(found["hops"])
    names = [name for name in SHORT if name in counts]
    table = _table("machine", *(SHORT[name] for name in names), "newest", "lost", "agent")
    for column in table.columns[1 : len(names) + 3]:
        column.justify = "right"
    for machine in found["machines"]:
        key = machine["tenant"], machine["chassis_id"]
        hops = (f"{counts[name][key]:,}" if key in counts[name] else "–" for name in names)
        lost = machine.get("lost")
        mark = "–" if lost is None else f"[red]{lost:,}[/]" if lost else "0"
        agent = escape(health.state_of(machine))
        table.add_row(escape(machine["chassis_id"]), *hops, health.in_words(machine["age_s"]), mark, agent)
    return table


def _verdict(found: dict[str, Any]) -> str:
    if found["lost"] is None:
        return "lost [yellow]not known[/]: the store cannot be read"
    dead = found["dead_letters"]
    counted = {"lost": found["lost"], "doubled": found["duplicates"], "dead letters": sum(dead.values())}
    words = [f"{name} [{'red' if count else 'green'}]{count:,}[/]" for name, count in counted.items()]
    words[-1] += f" ({', '.join(f'{reason} {count:,}' for reason, count in dead.items())})" if dead else ""
    beside = {name: found[name] for name in ("in_flight", "explained", "redelivered") if found[name] is not None}
    return "   ".join([*words, *(f"{name.replace('_', ' ')} {count:,}" for name, count in beside.items())])


def _totals(found: dict[str, Any]) -> str:
    """The last hops by msgType."""
    shown = [hop for hop in found["hops"] if hop["name"] in ("stored", "samples")]
    return "   ".join(f"{hop['name']} {hop['msg_type']} {hop['count']:,}" for hop in shown)

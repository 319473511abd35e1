"""The status page's content as HTML: a pure function of what was read. Everything from outside is escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any
from urllib.parse import quote

from ..health import GOOD_STATES, counts, health_of, in_words, sentences, state_of
from . import process_table

HOPS = ("sent", "hub", "raw", "parsed", "distributed", "stored")
TITLES = {
    "sent": "the highest number the agent has given",
    "hub": "what the IoT hub has",
    "raw": "on the raw log",
    "parsed": "done with by the processor",
    "distributed": "done with by the distributor",
    "stored": "in ClickHouse",
}
Found = Mapping[str, Any]


def page(found: Found) -> str:
    parts = [_tiles(found), _notices(found), _machines(found), _types(found), _processes(found), _addresses(found)]
    return f'<div class="status-page">{"".join(parts)}</div>'


def message(title: str, text: str) -> str:
    return f'<div class="status-page"><div class="empty"><h2>{escape(title)}</h2><p>{escape(text)}</p></div></div>'


def is_well(found: Found) -> bool:
    states = {health_of(process) for process in found["processes"].values()}
    faults = [found["lost"], found["duplicates"], found["dead_letters"], found["troubles"]]
    return found["lost"] is not None and not any(faults) and states <= {"ok", *GOOD_STATES}


def _card(title: str, body: str, note: str = "", kind: str = "") -> str:
    small = f"<small>{escape(note)}</small>" if note else ""
    return f'<section class="card {kind}"><header><h2>{escape(title)}{small}</h2></header>{body}</section>'


# --- the numbers that matter


def _tiles(found: Found) -> str:
    dead = found["dead_letters"]
    letters = None if dead is None else sum(dead.values())
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in (dead or {}).items())
    behind = "  ".join(f"{group} {count:,}" for group, count in found["lag"].items())
    tiles = [
        _lost(found),
        _tile("doubled", found["duplicates"], f"{_number(found['redelivered'])} redelivered", True),
        _tile("dead letters", letters, reasons or "none refused", True),
        _tile("in flight", found["in_flight"], "not stored yet", False),
        _tile("behind", sum(found["lag"].values()) if found["lag"] else None, behind or "the log is away", False),
    ]
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _lost(found: Found) -> str:
    """Green only when everything that it takes to judge could be read."""
    if found["lost"] == 0 and found["troubles"]:
        return _tile("lost", 0, "not all can be judged now", False)
    return _tile("lost", found["lost"], f"{_number(found['explained'])} explained", True)


def _tile(name: str, count: int | None, below: str, must_be_zero: bool) -> str:
    kind = "unknown" if count is None else "plain" if not must_be_zero else "bad" if count else "good"
    return (
        f'<div class="tile {kind}" data-name="{name}"><span>{name}</span><b>{_number(count)}</b>'
        f"<small>{escape(below)}</small></div>"
    )


def _number(count: int | None) -> str:
    return "–" if count is None else f"{count:,}"


def _notices(found: Found) -> str:
    """Notes are no troubles: they stand below and quietly."""
    notes = [f"{section}: {said}" for section, said in found["notes"].items()]
    said = [f'<p class="{"note" if s in notes else "notice"}">{escape(s)}</p>' for s in sentences(found)]
    return "".join(said)


# --- machines × hops


def _machines(found: Found) -> str:
    if not found["machines"]:
        return _card("Machines", '<p class="none">None is known yet.</p>')
    highest, ages = counts(found["hops"]), _ages(found["hops"])
    names = [name for name in HOPS if any(hop["name"] == name for hop in found["hops"])]
    head = "".join(f'<th title="{escape(TITLES[name])}" class="number">{name}</th>' for name in names)
    rows = "".join(_machine(machine, names, highest, ages) for machine in found["machines"])
    head = f'<tr><th>machine</th>{head}<th class="number">lost</th></tr>'
    table = f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>"
    return _card("Machines", table, "highest message number at each hop", "machines")


def _ages(hops: Sequence[Found]) -> dict[tuple[str, str, str], float]:
    """Of the newest message of any msgType, by hop and machine."""
    ages: dict[tuple[str, str, str], float] = {}
    for hop in hops:
        for m in hop["machines"]:
            key = hop["name"], m["tenant"], m["chassis_id"]
            if m["age_s"] is not None:
                ages[key] = min(ages.get(key, m["age_s"]), m["age_s"])
    return ages


def _machine(machine: Found, names: Sequence[str], highest: Any, ages: Any) -> str:
    tenant, name, said = machine["tenant"], machine["chassis_id"], state_of(machine)
    first = highest.get("sent", {}).get((tenant, name))
    cells = "".join(
        _cell(hop, highest.get(hop, {}).get((tenant, name)), first, ages.get((hop, tenant, name))) for hop in names
    )
    lost = machine.get("lost")
    kind = "unknown" if lost is None else "bad" if lost else "good"
    link = f"live?machine={quote(name, safe='')}&tenant={quote(tenant, safe='')}"
    light = "bad" if machine.get("trouble") else "on" if machine["connected"] else "off" if said else "none"
    return (
        f'<tr><td class="name"><i class="dot {light}"></i><a href="{escape(link)}" target="_top">{escape(name)}</a>'
        f"<small>{escape(said)}</small></td>{cells}"
        f'<td class="number lost {kind}" data-label="lost"><b>{_number(lost)}</b></td></tr>'
    )


def _cell(hop: str, seq: int | None, first: int | None, age: float | None) -> str:
    """The bar is full when the hop is level with what was sent, and half when it is ten messages behind."""
    if seq is None:
        return f'<td class="number" data-label="{hop}"><b>–</b><small>{in_words(age)}</small></td>'
    behind = max(first - seq, 0) if first is not None else 0
    words = f"−{behind:,}" if behind else ""
    bar = f'<span class="bar"><i style="width:{100 / (1 + behind / 10):.0f}%"></i></span>'
    when = " · ".join(filter(None, [words, in_words(age) if age is not None else ""]))
    return f'<td class="number" data-label="{hop}"><b>{seq:,}</b>{bar}<small>{when}</small></td>'


# --- the rest


def _types(found: Found) -> str:
    """How many messages of each msgType passed each hop; only the stored ones are counted once each."""
    table: dict[str, dict[str, int]] = {}
    for hop in found["hops"]:
        if hop["msg_type"] != "*":
            table.setdefault(hop["msg_type"], {})[hop["name"]] = hop["count"]
    names = [name for name in (*HOPS[1:], "samples") if any(name in row for row in table.values())]
    if not table:
        return ""
    head = "".join(f'<th class="number">{name}</th>' for name in names)
    rows = "".join(
        f"<tr><td>{escape(kind)}</td>"
        + "".join(f'<td class="number" data-label="{name}">{_number(row.get(name))}</td>' for name in names)
        + "</tr>"
        for kind, row in sorted(table.items())
    )
    body = f"<table><thead><tr><th>msgType</th>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return _card("Messages", body, "counted at each hop, delivered again included; stored once each", "types")


def _processes(found: Found) -> str:
    if not found["processes"]:
        return ""
    return _card("Processes", process_table.table(found["processes"]), "the last minute", "processes")


def _addresses(found: Found) -> str:
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(url)}</dd>" for name, url in found["addresses"].items() if url)
    return _card("Addresses", f"<dl>{rows}</dl>")

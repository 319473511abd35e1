"""The processes on the status page: one row each, and one for each further flow it runs. A pure function, as HTML."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from ..health import GOOD_STATES, figures_in_words, health_of, in_words

HEAD = {
    "health": "what /health says",
    "msg/s": "messages committed, over the last minute",
    "batch": "from reading a batch to its commit: half of the last minute's, and 99 of 100",
    "newest": "age of the newest message done with, by the machine's clock",
    "behind": "messages not committed, and the age of the oldest in hand",
    "dropped": "not shown live; they are stored all the same",
    "dead letters": "made since the process started",
    "memory": "resident",
}
Facts = Mapping[str, Any]


def table(processes: Mapping[str, Facts]) -> str:
    head = "".join(_head(name, said) for name, said in HEAD.items())
    rows = "".join(row for name, process in processes.items() for row in _rows(name, process))
    return f"<table><thead><tr><th>process</th>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _head(name: str, said: str) -> str:
    kind = "" if name == "health" else ' class="number"'
    return f'<th title="{escape(said)}"{kind}>{name}</th>'


def _rows(name: str, process: Facts) -> Iterator[str]:
    """The first flow stands in the row of its process."""
    health = process.get("health") or {}
    flows = list(health.get("flows", {}).items())
    said = health_of(process)
    light, kind = ("on", "good") if said in ("ok", *GOOD_STATES) else ("bad", "bad")
    word = f'<td class="health {kind}" data-label="health"><b>{escape(said)}</b></td>'
    about = " · ".join(filter(None, [process.get("said") or "", *figures_in_words(process)]))
    title = f'<td class="name"><i class="dot {light}"></i>{escape(name)}<small>{escape(about)}</small></td>'
    memory = f"{health['rss_mb']:,} MB" if health.get("rss_mb") else ""
    yield f"<tr>{title}{word}{_flow(flows[0][1] if flows else {}, health)}{_cell('memory', memory)}</tr>"
    for flow, facts in flows[1:]:
        indented = f'<td class="name flow">{escape(flow)}</td><td data-label="health"></td>'
        yield f'<tr class="flow">{indented}{_flow(facts, {})}{_cell("memory", "")}</tr>'


def _flow(flow: Facts, health: Facts) -> str:
    dropped, dead = sum(health.get("dropped", {}).values()), flow.get("dead_letters") or {}
    p50, p99 = flow.get("batch_p50_ms"), flow.get("batch_p99_ms")
    cells = [
        _cell("msg/s", f"{flow['messages_s']:,}" if flow else ""),
        _cell("batch", _time(p50), f"p99 {_time(p99)}" if p99 is not None else ""),
        _cell("newest", in_words(flow["newest_s"]) if flow.get("newest_s") is not None else ""),
        _cell("behind", _count(flow.get("lag")), in_words(flow["oldest_s"]) if flow.get("oldest_s") else ""),
        _cell("dropped", _count(dropped) if health.get("dropped") else ""),
        _cell("dead letters", _count(sum(dead.values())) if flow else "", _by_name(dead)),
    ]
    return "".join(cells)


def _cell(label: str, text: str, below: str = "") -> str:
    small = f"<small>{escape(below)}</small>" if below else ""
    return f'<td class="number" data-label="{label}"><b>{escape(text)}</b>{small}</td>'


def _count(number: int | None) -> str:
    return "" if number is None else f"{number:,}"


def _time(ms: float | None) -> str:
    if ms is None:
        return ""
    return f"{ms:.0f} ms" if ms < 1000 else f"{ms / 1000:.1f} s"


def _by_name(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())

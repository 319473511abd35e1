"""Reports of run.py as rows of the table in docs/faults.md.

python tests/faults/table.py REPORT.json ...
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from faults import outages

KILLS_MUST = "nothing lost, doubled or disordered; a new row within 10 s of each restart"


def rows(report: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Fault, what must be seen, what was seen."""
    must = {outage.name: outage.must for outage in outages.OUTAGES}
    for run in report.get("kills", ()):
        yield f"{run['name']}, {run['seconds'] / 60:.0f} min, log on {run['log']}", KILLS_MUST, _kills(run)
    for facts in report.get("outages", ()):
        seen = _outage(facts) if facts["verdict"] else "; ".join(facts["wrong"])
        yield f"{facts['name']}, {facts['seconds']:g} s, log on {facts['log']}", must[facts["name"]], seen


def _kills(run: dict[str, Any]) -> str:
    by_part: dict[str, list[float]] = {}
    for kill in run["kills"]:
        if kill["first_row_s"] is not None:
            by_part.setdefault(kill["part"], []).append(kill["first_row_s"])
    firsts = (f"{part} {statistics.median(s):.1f} ({max(s):.1f})" for part, s in sorted(by_part.items()))
    late = f"{len(run['late'])} of {len(run['kills'])} later than 10 s"
    return f"{_verdict(run['verdict'])}; first row, median and worst in s: {', '.join(firsts)}; {late}"


def _outage(facts: dict[str, Any]) -> str:
    part, growth = max(facts["growth_mb"].items(), key=lambda pair: pair[1], default=("", 0.0))
    peak_part, peak = max(facts["peak_mb"].items(), key=lambda pair: pair[1])
    parts = [
        _verdict(facts["verdict"]),
        f"drained in {facts['drain_s']} s",
        f"memory at most +{growth:.0f} MB ({part}), {peak:.0f} MB ({peak_part})",
        f"live p99 {facts['p99_before']:.1f} s before and {facts['p99']:.1f} s during"
        if facts.get("p99_before")
        else "",
        f"live p99 {facts['p99_after']:.1f} s after" if facts["p99_after"] else "",
        f"history {facts['oldest_s']:.0f} s behind at most",
        *(f"{name} {facts[name]}" for name in ("backlog", "rate", "redelivered", "stop_s", "exit") if name in facts),
        f"**not as it must be**: {'; '.join(facts['wrong'])}" if facts["wrong"] else "",
    ]
    return "; ".join(filter(None, parts))


def _verdict(found: dict[str, Any]) -> str:
    dead = sum((found["dead_letters"] or {}).values())
    names = {"lost": found["lost"], "doubled": found["duplicates"], "disordered": found["disordered"], "dead": dead}
    return f"{found['messages']:,} messages: " + ", ".join(f"{name} {count}" for name, count in names.items())


def main() -> None:
    for path in sys.argv[1:]:
        for row in rows(json.loads(Path(path).read_text())):
            print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()

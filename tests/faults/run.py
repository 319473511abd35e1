"""Faults on a stack of its own, as a table and a JSON report.

python tests/faults/run.py --seed 1 2 3 --minutes 30 --kills 100 --log redis
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from faults import kills, outages, plant, verdict, watch


def kill_matrix(seed: int, minutes: float, count: int, log: str, machines: int, data: Path) -> dict[str, Any]:
    """One seeded run; ``wrong`` is empty when all is as it must be."""
    with plant.running(data, machines, log) as stack, watch.Watch(stack) as looking:
        drawn = kills.schedule(seed, stack.parts, count, minutes * 60)
        print(f"seed {seed}: {count} kills in {minutes:g} minutes over {', '.join(stack.parts)}")
        plant.wait_for(looking.is_current, 60)
        begun = time.monotonic()
        seen = list(kills.run(stack, looking, drawn))
        lasted = round(time.monotonic() - begun)
        judged = verdict.judge(stack)
        late = [kill for kill in seen if kill["is_late"]]
        return {
            "name": f"{count} kills, seed {seed}",
            "seed": seed,
            "log": log,
            "seconds": lasted,
            "kills": seen,
            "late": late,
            "verdict": judged,
            "peak_mb": looking.peak(),
            "wrong": {**verdict.faults_of(judged), **({"late": len(late)} if late else {})},
        }


def outage_matrix(names: list[str], share: float, log: str, machines: int, data: Path) -> Iterator[dict[str, Any]]:
    """Each on a plant they share, ``share`` of the seconds the table gives. One that cannot be seen to its end is
    reported as such, and those after it have a new plant."""
    left = [outage for outage in outages.OUTAGES if not names or outage.name in names]
    for number in itertools.count():
        done = 0
        for facts in _on_one_plant(left, share, log, machines, data / str(number)):
            done += 1
            yield facts
        left = left[done:]
        if not left:
            return


def _on_one_plant(
    chosen: list[outages.Outage], share: float, log: str, machines: int, data: Path
) -> Iterator[dict[str, Any]]:
    """Up to the first that cannot be seen to its end."""
    uses = {use for outage in chosen for use in outage.uses}
    with contextlib.ExitStack() as stack:
        if "disk" in uses:
            stack.enter_context(outages.small_disk(data / "store"))
        running = stack.enter_context(plant.running(data, machines, log, sorted(uses - {"disk"})))
        looking = stack.enter_context(watch.Watch(running))
        for outage in chosen:
            print(f"{time.strftime('%H:%M:%S')} {outage.name}, {outage.seconds * share:g} s …", flush=True)
            try:
                facts = outages.run(running, looking, outage, outage.seconds * share)
            except Exception as error:
                traceback.print_exc()
                yield {**outages.unseen(outage, outage.seconds * share, error), "log": log}
                return
            print(f"  {facts}", flush=True)
            yield {**facts, "log": log}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, nargs="+", default=[1], help="of the kill matrix, one run each")
    parser.add_argument("--minutes", type=float, default=30, help="of the kill matrix")
    parser.add_argument("--kills", type=int, default=100, help="0 for none")
    parser.add_argument("--outage", action="append", default=[], metavar="NAME", help="this one; repeat for more")
    parser.add_argument("--share", type=float, default=1.0, help="of the seconds each outage lasts; 0 for none")
    parser.add_argument("--log", choices=plant.LOGS, default="redis")
    parser.add_argument("--machines", type=int, default=3)
    parser.add_argument("--json", type=Path, help="where to write the report")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the plant is stopped, too
    report: dict[str, list[Any]] = {"outages": [], "kills": []}
    with tempfile.TemporaryDirectory(prefix="duco-faults-", ignore_cleanup_errors=True) as folder:
        for kind, found in _matrix(options, Path(folder)):
            report[kind].append(found)
            if options.json:
                options.json.write_text(json.dumps(report, indent=1))
    sys.exit(1 if _wrong(report) else 0)


def _matrix(options: argparse.Namespace, data: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    where = (options.log, options.machines)
    if options.share:
        for facts in outage_matrix(options.outage, options.share, *where, data / "outages"):
            yield "outages", facts
    for seed in options.seed if options.kills else ():
        yield "kills", kill_matrix(seed, options.minutes, options.kills, *where, data / f"kills-{seed}")


def _wrong(report: dict[str, list[Any]]) -> bool:
    """Say what was not as it must be."""
    done = [*report["outages"], *report["kills"]]
    for one in done:
        print(f"{one['name']:28} {one['wrong'] or 'as it must be'}   {one['verdict']}")
    return any(one["wrong"] for one in done)


if __name__ == "__main__":
    main()

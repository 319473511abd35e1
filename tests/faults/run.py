"""Faults on a stack of its own, as a table and a JSON report.

python tests/faults/run.py --seed 1 --minutes 30 --kills 100 --log redis
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from faults import kills, plant, verdict, watch


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
            "seed": seed,
            "log": log,
            "seconds": lasted,
            "kills": seen,
            "late": late,
            "verdict": judged,
            "peak_mb": looking.peak(),
            "wrong": {**verdict.faults_of(judged), **({"late": len(late)} if late else {})},
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--log", choices=plant.LOGS, default="redis")
    parser.add_argument("--machines", type=int, default=3)
    parser.add_argument("--json", type=Path, help="where to write the report")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="duco-faults-", ignore_cleanup_errors=True) as folder:
        arguments = (options.seed, options.minutes, options.kills, options.log, options.machines)
        report = kill_matrix(*arguments, data=Path(folder))
    if options.json:
        options.json.write_text(json.dumps(report, indent=1))
    print(json.dumps({name: report[name] for name in ("verdict", "peak_mb", "late", "wrong")}, indent=1))
    sys.exit(1 if report["wrong"] else 0)


if __name__ == "__main__":
    main()

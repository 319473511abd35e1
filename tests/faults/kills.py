"""The kill matrix: ``kill -9`` at random points under load, over everything a message passes."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

from faults.plant import Plant, points, wait_for
from faults.watch import Watch, now

RESTART_S = 20.0
FIRST_ROW_S = 10.0  # what may pass from a restart to the first new row


class Kill(NamedTuple):
    at: float  # seconds since the start
    part: str


@dataclass
class Seen:
    """One kill. ``first_row_s``: from its restart to a row the machine took after that; None when the next kill came
    first."""

    at: float
    part: str
    restart_s: float | None
    first_row_s: float | None
    is_late: bool
    load: float  # of this computer over the last minute, in processes that want a core

    def __str__(self) -> str:
        restart, row = (f"{s:5.1f} s" if s is not None else "   –   " for s in (self.restart_s, self.first_row_s))
        late = "  LATE" if self.is_late else ""
        return f"{self.at:7.1f} s  kill {self.part:12} restarted {restart}  row {row}  load {self.load:4.1f}{late}"


def schedule(seed: int, parts: Sequence[str], count: int, seconds: float) -> list[Kill]:
    """The same for the same arguments. Every part gets its turn before any gets the next one."""
    dice = random.Random(seed)
    drawn: list[str] = []
    while len(drawn) < count:
        drawn += dice.sample(parts, len(parts))
    return [Kill(round(at, 1), part) for at, part in zip(points(seed, count, seconds), drawn, strict=False)]


def run(
    plant: Plant, watch: Watch, kills: Sequence[Kill], say: Callable[[str], None] = print
) -> Iterator[dict[str, object]]:
    """Does what the schedule says, in its time; gives what was seen of each kill."""
    begun = time.monotonic()
    for kill, following in zip(kills, [*kills[1:], Kill(kills[-1].at + 3 * FIRST_ROW_S, "")], strict=True):
        time.sleep(max(0.0, begun + kill.at - time.monotonic()))
        seen = _kill(plant, watch, kill, begun + following.at)
        say(str(seen))
        yield asdict(seen)


def _kill(plant: Plant, watch: Watch, kill: Kill, deadline: float) -> Seen:
    pid = plant.kill(kill.part)
    restart = wait_for(lambda: plant.pid(kill.part) not in (0, pid), RESTART_S, every=0.1)
    moment, left = now(), deadline - time.monotonic()
    row = wait_for(lambda: watch.has_row_after(moment), left)
    waited = row if row is not None else max(left, 0.0)
    return Seen(kill.at, kill.part, restart, row, restart is None or waited > FIRST_ROW_S, os.getloadavg()[0])

"""What of a machine's messages was lost: arithmetic on the gaps in its sequence, nothing else.

Messages of one machine and epoch are numbered 1, 2, 3 … whatever their msgType. A number is **missing** when the raw
archive does not have it between the first that is stored and the highest the agent says it has minted (for an epoch no
agent reports, e.g. an import's: the highest stored). A missing number is

- **explained** when a dead letter has it, or the agent has told that it dropped it,
- **in flight** while it may still come: it waits in the agent's queue, or nothing shows yet that the store has passed
  what the hub had taken when the agent reported (:func:`judged_up_to`); or of an epoch that the agent has left, while
  anything waits in its queue,
- **lost** otherwise.

Not seen by this: what was lost before the first stored message of an epoch, since what a store keeps has a beginning.
What an agent dropped before it gave it a number is no gap: it is in the agent's own count of drops.
"""

from __future__ import annotations

from typing import NamedTuple

from ..sequences import Run, Runs, size, up_to, without


class Held(NamedTuple):
    """What the raw archive has of one machine and epoch: lowest and highest number, and how many different ones."""

    first: int
    last: int
    distinct: int

    @property
    def inner_gaps(self) -> int:
        return self.last - self.first + 1 - self.distinct


class Report(NamedTuple):
    """What the agent said of its queue at one moment.

    Attributes:
        minted: the highest number it had given.
        waits_from: the lowest number not yet acknowledged by the hub, nor told as dropped; ``minted + 1`` when there is
            none, None when the report does not tell.
    """

    epoch: int
    minted: int
    waits_from: int | None


class Verdict(NamedTuple):
    """Of the missing numbers of one machine and epoch. ``runs``: the lost ones."""

    lost: int = 0
    in_flight: int = 0
    explained: int = 0
    runs: tuple[Run, ...] = ()


def judged_up_to(last: int, report: Report | None, passed: bool) -> int:
    """The highest number of which it can be said whether it was lost.

    Args:
        last: the highest number known.
        passed: the store has all that the hub had confirmed when the agent reported. All messages of a machine pass hub
            and logs in the order the hub took them, and what the agent minted after its report it sent after all that
            was then confirmed: so it is once the values of a number above ``minted`` are stored, or nothing is on the
            way any more. The values and not only the archived message, since a drop is told in a message, too.
    """
    if report is None:
        return last
    return report.waits_from - 1 if passed and report.waits_from is not None else 0


def judge(held: Held, gaps: Runs, report: Report | None, passed: bool, explained: Runs) -> Verdict:
    """Sort what is missing into explained, in flight and lost.

    Args:
        gaps: the runs missing between ``held.first`` and ``held.last``.
        report: the agent's, None when no agent reports this epoch.
        explained: what is in dead letters and recorded drops.
    """
    tail = [Run(held.last + 1, report.minted)] if report and report.minted > held.last else []
    missing = [*gaps, *tail]
    unexplained = without(missing, explained)
    lost = up_to(unexplained, judged_up_to(held.last, report, passed))
    counts = size(missing), size(unexplained), size(lost)
    return Verdict(counts[2], counts[1] - counts[2], counts[0] - counts[1], tuple(lost))

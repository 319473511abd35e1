"""Where each number of a machine and epoch is: the invariant of :mod:`.audit`, as arithmetic on sets of numbers."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..sequences import Run, Runs, both, size, union, up_to, without
from .loss import Report, judged_up_to


@dataclass(frozen=True, slots=True)
class Sets:
    """What the store has of one machine and epoch.

    Attributes:
        archived: in the raw archive, which keeps messages before they are judged.
        parsed: with all their samples, texts, codes and events stored.
        dead: of open dead letters.
        dropped: of which the agent has told that it gave them up.
        doubtful: likewise, but they may have reached the hub all the same.
    """

    archived: Runs = ()
    parsed: Runs = ()
    dead: Runs = ()
    dropped: Runs = ()
    doubtful: Runs = ()

    @property
    def first(self) -> int:
        """The lowest number that is anywhere; 0 when there is none."""
        return min((runs[0].first for runs in self._all if runs), default=0)

    @property
    def last(self) -> int:
        return max((runs[-1].last for runs in self._all if runs), default=0)

    @property
    def _all(self) -> tuple[Runs, ...]:
        return self.archived, self.parsed, self.dead, self.dropped, self.doubtful


@dataclass(frozen=True, slots=True)
class Moment:
    """What is known of messages that are still under way.

    Attributes:
        report: the agent's, None when no agent reports this epoch.
        passed: the store has all that the hub had confirmed when the agent reported.
        emptied: since the archive was read, nothing was on the log any more.
        settled: nothing is under way, whatever the others say.
    """

    report: Report | None = None
    passed: bool = False
    emptied: bool = False
    settled: bool = False


@dataclass(frozen=True, slots=True)
class Account:
    """Of the numbers ``first`` to ``high_water``, counts; and the runs of what violates the invariant, by its name."""

    first: int
    high_water: int
    stored: int
    dead: int
    dropped: int
    in_flight: int
    wrong: dict[str, list[Run]] = field(default_factory=dict)


def account(sets: Sets, moment: Moment, first: int = 1) -> Account:
    """Every number from ``first`` on must be in exactly one set.

    The names of what is wrong: ``missing`` (nowhere), ``unparsed`` (archived and never judged: its values are missing),
    ``stored and dropped``, ``dead and dropped``, and ``stored and dead``, which no view of ours shows: values that are
    stored close a letter.
    """
    high_water = max(sets.last, moment.report.minted if moment.report else 0)
    stored = both(sets.archived, sets.parsed)
    came = union(sets.archived, sets.parsed)
    dropped = union(sets.dropped, without(sets.doubtful, union(came, sets.dead)))
    left = without([Run(first, high_water)], union(stored, sets.dead, dropped))
    waiting, absent = both(left, sets.archived), without(left, sets.archived)
    is_judged = moment.settled or moment.emptied
    wrong = {
        "missing": absent if moment.settled else up_to(absent, judged_up_to(sets.last, moment.report, moment.passed)),
        "unparsed": waiting if is_judged else [],
        "stored and dead": both(sets.parsed, sets.dead),
        "stored and dropped": both(came, dropped),
        "dead and dropped": both(sets.dead, dropped),
    }
    in_flight = size(left) - size(wrong["missing"]) - size(wrong["unparsed"])
    counts = size(stored), size(sets.dead), size(dropped), in_flight
    return Account(first, high_water, *counts, {name: runs for name, runs in wrong.items() if runs})

"""The promise, checked: nothing acknowledged is lost, and everything is there once.

Of each machine and epoch every number from 1 to the high-water mark must be in exactly one of three sets:

- **stored**: in the raw archive *and* with all its values stored. The archive alone proves nothing, for it keeps
  messages before they are judged: ``parsed_messages`` has those whose values the distributor has stored.
- **dead**: in an open dead letter, i.e. one whose message was not good later, replayed or delivered again.
- **dropped**: in a ``drop`` event, by which an agent tells what it gave up after it had given it a number; what was
  ``corrupt`` may have reached the hub all the same, and is dropped only if it has not.

The high-water mark is the highest number that the agent says it has given, or that is anywhere in the store. What can
still come is **in flight** (:mod:`.loss` says when that is so; what is archived and not judged yet, while the log is
not empty). All else is wrong, and named by its numbers: see :func:`.sets.account`. So is a message or a value that a
query shows twice.

The order of reading makes it true while messages flow: agents, hub and log; the archive; the log once more; then what
was parsed, and last the letters.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..errors import ConfigError, DucoError
from ..log import log_gauge
from ..log_address import LogAddress
from ..sequences import Run
from ..settle import READERS
from ..sinks.clickhouse import connect, reported
from ..topics import DEAD_LETTERS
from .agents import Agent
from .audit_store import ARCHIVED, PARSED, AuditStore, Whole, sets_of
from .loss import Report
from .numbers import Epoch
from .report import Addresses, Seen, has_passed, look_ahead
from .sets import Account, Moment, Sets, account

LOOKS, PAUSE_S = 3, 1.0  # what is wrong while messages flow may be one that was just being judged


@dataclass(frozen=True, slots=True)
class Asked:
    """``settled``: nothing is under way, so nothing may be missing as in flight. ``from_first``: from the lowest number
    that the store has instead of from 1, for a store that is younger than its machines or forgets.
    """

    machine: str = ""
    settled: bool = False
    from_first: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """One machine and epoch; ``doubled``: messages that ``raw_messages`` shows more than once."""

    where: Epoch
    account: Account
    doubled: int = 0

    @property
    def holds(self) -> bool:
        return not self.account.wrong and not self.doubled


@dataclass(frozen=True, slots=True)
class Audit:
    """``unnumbered``: open letters of messages without a readable number. ``notes``: what could not be asked."""

    lines: Sequence[Line]
    values_doubled: int
    unnumbered: int
    notes: Sequence[str] = field(default=())

    @property
    def holds(self) -> bool:
        return not self.values_doubled and all(line.holds for line in self.lines)


def audit(addresses: Addresses, asked: Asked) -> Audit:
    """Raises: ServiceError when the store does not answer; ConfigError when there is no such machine."""
    for look in range(LOOKS):
        found = _look(addresses, asked)
        if found.holds or asked.settled or look == LOOKS - 1:
            break
        time.sleep(PAUSE_S)
    if asked.machine and not found.lines:
        raise ConfigError(f"there is no message of a machine {asked.machine!r} in the store, and no agent of that name")
    return found


def _look(addresses: Addresses, asked: Asked) -> Audit:
    seen = look_ahead(addresses)
    with reported(addresses.store_url):
        client = connect(addresses.store_url)
        try:
            return _Audit(AuditStore(client, asked.machine), seen, asked).run(addresses.log)
        finally:
            client.close()


class _Audit:
    def __init__(self, store: AuditStore, seen: Seen, asked: Asked) -> None:
        self._store, self._seen, self._asked = store, seen, asked
        ours = (agent for agent in seen.agents or () if asked.machine in ("", agent.chassis_id))
        self._agents = {(agent.tenant, agent.chassis_id): agent for agent in ours}
        self._now = time.time_ns() // 1000
        self._newest: dict[tuple[str, str], int] = {}
        self._passed: dict[tuple[str, str], bool] = {}  # by machine
        self._emptied = False

    def run(self, log: LogAddress) -> Audit:
        archived = self._store.count(ARCHIVED)
        self._emptied = asyncio.run(_is_empty(log))
        parsed = self._store.count(PARSED).wholes
        (letters, unnumbered), (drops, maybe) = self._store.letters(), self._store.drops()
        doubled = self._store.doubled(archived.doubtful)
        self._passed = {where: self._has_passed(agent, parsed) for where, agent in self._agents.items()}
        known = sorted({*archived.wholes, *parsed, *letters, *drops, *maybe, *self._reported()})
        self._newest = {where[:2]: where.epoch for where in known}  # the last of each, for they rise
        accounts: dict[Epoch, Account] = {}
        for where in known:
            whole = archived.wholes.get(where)
            if whole and whole == parsed.get(where) and where not in letters and where not in drops:
                self._add(accounts, where, whole)
        odd = {where: _size(where, archived.wholes, parsed) for where in known if where not in accounts}
        for where, sets in sets_of(self._store, odd, letters, drops, maybe):
            accounts[where] = self._account(where, sets)
        lines = [Line(where, accounts[where], doubled.get(where, 0)) for where in known]
        return Audit(lines, self._store.values_doubled(), unnumbered, self._notes())

    def _add(self, accounts: dict[Epoch, Account], where: Epoch, whole: Whole) -> None:
        """Nearly every epoch: as many numbers are archived and parsed as there are from the lowest to the highest."""
        distinct, first, last = whole
        if last - first + 1 == distinct:
            runs = [Run(first, last)]
            accounts[where] = self._account(where, Sets(runs, runs))

    def _account(self, where: Epoch, sets: Sets) -> Account:
        passed = self._passed.get(where[:2], False)
        moment = Moment(self._report(where, sets), passed, self._emptied, self._asked.settled)
        return account(sets, moment, sets.first or 1 if self._asked.from_first else 1)

    def _has_passed(self, agent: Agent, parsed: dict[Epoch, Whole]) -> bool:
        said = agent.report
        whole = parsed.get(Epoch(agent.tenant, agent.chassis_id, said.epoch)) if said else None
        return has_passed(self._seen, agent, whole[2] if whole else 0, self._now)

    def _report(self, where: Epoch, sets: Sets) -> Report | None:
        """Without the agents' word nobody can say what of the newest epoch is still to come."""
        if self._seen.agents is None:
            return Report(where.epoch, sets.last, None) if where.epoch == self._newest[where[:2]] else None
        agent = self._agents.get(where[:2])
        return agent.report_of(where.epoch, sets.last) if agent else None

    def _reported(self) -> list[Epoch]:
        reports = [(agent, agent.report) for agent in self._agents.values()]
        return [Epoch(agent.tenant, agent.chassis_id, said.epoch) for agent, said in reports if said and said.minted]

    def _notes(self) -> list[str]:
        return [f"{name}: {said}" for name, said in {**self._seen.troubles, **self._seen.notes}.items()]


def _size(where: Epoch, *found: dict[Epoch, Whole]) -> int:
    return max(wholes[where][0] if where in wholes else 0 for wholes in found)


async def _is_empty(log: LogAddress) -> bool:
    """Has everything on the log been judged and stored? In the order a message takes."""
    try:
        readers = (*READERS, (DEAD_LETTERS.name, "distributor"))
        async with log_gauge(log) as gauge:
            return not any([await gauge.lag(topic, group) for topic, group in readers])
    except DucoError:
        return False

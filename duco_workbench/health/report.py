"""What is the matter and what is not: everything status shows of the data flow, gathered from addresses alone.

The order of reading is what makes it true: first what the agents say, then the hub, the log, and the store last. What
the store does not have by then, of what the hub had already taken when the agent spoke, will not come.

A part that does not answer costs its own section, and says so in ``troubles``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from .. import hops, pulse, settle
from ..errors import DucoError, ServiceError
from ..hops import Mark, Which
from ..iothub.service import HubService
from ..log import log_gauge
from ..log_address import LogAddress
from ..model import SECOND
from . import loss, marks, stored
from .agents import Agent, agent_of, sent
from .numbers import Epoch
from .stored import Refused, Stored
from .unread import has_read, unread

T = TypeVar("T")
Machine = tuple[str, str]  # tenant, chassis_id

PASSING_S = 1.0  # for what is on the logs to be stored; messages never cease, but each takes only a moment
PIPELINES = ("ingestor", "processor", "distributor")
QUIET = 300 * SECOND  # without a count from the hub: a report this old is of what has long passed the ingestor
MOST_RUNS = 20  # of lost numbers that are named, of each machine
NO_COUNT = "this IoT hub keeps no count of each device's messages, so this hop is left out"
NO_HUB = "DUCO_HUB is not set: what the hub has is not known here, and gaps in what machines send count as in flight"
UNSEEN = "its agent has sent {} messages of which the store has none: it may be younger than they are"
UNJUDGED = "the agents' reports cannot be read, so gaps in what they send now count as in flight and not as lost"


class Addresses(Protocol):
    """Settings, as far as they matter here."""

    @property
    def hub(self) -> str: ...
    @property
    def hub_ca(self) -> str: ...
    @property
    def log(self) -> LogAddress: ...
    @property
    def state(self) -> str: ...
    @property
    def store_url(self) -> str: ...
    @property
    def tenant(self) -> str: ...


@dataclass(slots=True)
class Seen:
    """What was read; None where it could not be.

    Attributes:
        hub_ends: the last sequence number of each partition.
        is_stored: all that was on the logs when the pulses had been read, is stored.
    """

    agents: list[Agent] | None = None
    hub: dict[Which, Mark] | None = None
    hub_ends: dict[str, int] = field(default_factory=dict)
    hops: dict[str, dict[Which, Mark]] | None = None
    lag: dict[str, int] | None = None
    is_stored: bool = False
    pulses: dict[str, dict[str, Any]] = field(default_factory=dict)
    ingestors: list[dict[str, Any]] = field(default_factory=list)
    stored: Stored | None = None
    troubles: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)


def read(addresses: Addresses) -> dict[str, Any]:
    """Everything as JSON types; see :func:`report` for the keys. Raises: ServiceError when no part answers."""
    seen = look(addresses)
    if seen.stored is None and seen.lag is None and seen.agents is None:
        raise ServiceError("nothing answers: " + "; ".join(seen.troubles.values()))
    return report(seen, time.time_ns() // 1000)


# --- reading


def look_ahead(addresses: Addresses) -> Seen:
    """Everything but the store, which is read after it."""
    seen = Seen()
    if addresses.hub:
        _attempt(seen, "hub", lambda: _look_at_hub(seen, addresses))
    else:
        seen.notes["hub"] = NO_HUB
    _attempt(seen, "log", lambda: asyncio.run(_look_at_log(seen, addresses)))
    return seen


def look(addresses: Addresses) -> Seen:
    seen = look_ahead(addresses)
    reports = {Epoch(a.tenant, a.chassis_id, a.report.epoch): a.report.minted for a in seen.agents or () if a.report}
    seen.stored = _attempt(seen, "store", lambda: stored.read(addresses.store_url, reports))
    if seen.agents is None and seen.stored is not None and addresses.hub:
        seen.troubles["agents"] = UNJUDGED
    return seen


def _attempt(seen: Seen, section: str, reading: Callable[[], T]) -> T | None:
    try:
        return reading()
    except DucoError as error:
        seen.troubles[section] = str(error)
        return None


def _look_at_hub(seen: Seen, addresses: Addresses) -> None:
    with HubService(addresses.hub, addresses.hub_ca) as hub:
        seen.agents = [agent_of(twin, addresses.tenant) for twin in hub.twins()]
        tenants = {agent.chassis_id: agent.tenant for agent in seen.agents}
        counted = marks.of_hub(hub, tenants, addresses.tenant)
        if counted is None:
            seen.notes["hub"] = NO_COUNT
        else:
            seen.hub, seen.hub_ends = counted


async def _look_at_log(seen: Seen, addresses: Addresses) -> None:
    found = await hops.read(addresses.state)
    beats = {name: await pulse.read_all(name, addresses.state) for name in PIPELINES}
    ones = {name: pulse.for_all(of_name) for name, of_name in beats.items()}
    seen.hops, seen.pulses = found, {name: beat for name, beat in ones.items() if beat}
    seen.ingestors = beats["ingestor"]
    async with log_gauge(addresses.log) as gauge:
        seen.lag = {group: await gauge.lag(topic, group) for topic, group in settle.READERS}
        until = time.monotonic() + PASSING_S
        seen.is_stored = await settle.passed(gauge, lambda share: time.monotonic() < until)


# --- judging


def report(seen: Seen, now: int) -> dict[str, Any]:
    """Keys: ``at`` (µs UTC), ``lost``, ``in_flight``, ``explained``, ``duplicates``, ``redelivered``,
    ``dead_letters`` (open ones by reason), ``refused_s`` (by reason, how old the oldest is), ``drops`` (by machine and
    reason; ``realtime``: not shown live, but stored), ``hops``, ``machines``, ``lag`` (by group), ``pulses``,
    ``troubles`` and ``notes`` (sentences by section).

    ``lost``, ``duplicates`` and what else needs a part that is away are None.
    """
    machines = _machines(seen, now)
    refused = _reasons(seen.stored) if seen.stored else {}
    return {
        "at": now,
        **{name: _total(seen, machines, name) for name in ("lost", "in_flight", "explained")},
        "duplicates": seen.stored.doubled if seen.stored else None,
        "redelivered": _redelivered(seen, sum(machine.get("lost", 0) for machine in machines)),
        "dead_letters": {reason: found.letters for reason, found in refused.items()} if seen.stored else None,
        "refused_s": {reason: marks.age(found.since, now) for reason, found in refused.items()},
        "drops": {
            "machines": {m["chassis_id"]: m["drops"] for m in machines if m.get("drops")},
            "realtime": seen.pulses.get("ingestor", {}).get("realtime_dropped", 0),
        },
        "hops": [entry for name, found in _hops(seen).items() for entry in marks.as_json(name, found, now)]
        + _samples(seen.stored),
        "machines": machines,
        "lag": seen.lag or {},
        "pulses": seen.pulses,
        "troubles": seen.troubles,
        "notes": seen.notes,
    }


def _hops(seen: Seen) -> dict[str, marks.Marks]:
    known: dict[str, marks.Marks | None] = {
        "sent": sent(seen.agents) if seen.agents is not None else None,
        "hub": seen.hub,
        **(seen.hops or {}),
        "stored": seen.stored.marks if seen.stored else None,
    }
    return {name: found for name in marks.ORDER if (found := known.get(name)) is not None}


def _samples(found: Stored | None) -> list[dict[str, Any]]:
    return [{"name": "samples", "msg_type": "vehicle_can", "count": found.samples, "machines": []}] if found else []


def _machines(seen: Seen, now: int) -> list[dict[str, Any]]:
    """One of each that is stored or known to the hub, in order."""
    agents = {(a.tenant, a.chassis_id): a for a in seen.agents or ()}
    held = marks.of_machines(seen.stored.marks) if seen.stored else {}
    found = []
    for key in sorted({*agents, *held}):
        agent, mark = agents.get(key), held.get(key)
        newest = {"messages": mark.count if mark else 0, "age_s": marks.age(mark.ts, now) if mark else None}
        said = agent.facts() if agent else {"connected": None}
        found.append({"tenant": key[0], "chassis_id": key[1], **newest, **said, **_judged(seen, key, agent, now)})
    return found


def _judged(seen: Seen, key: Machine, agent: Agent | None, now: int) -> dict[str, Any]:
    """Loss of one machine over all its epochs. Letters without a readable id explain as many gaps as they are."""
    if seen.stored is None:
        return {}
    passed = agent is not None and has_passed(seen, agent, _highest(seen, agent), now)
    epochs = [where for where in seen.stored.held if where[:2] == key]
    verdicts = [_verdict(seen, where, agent, passed) for where in epochs]
    dead = seen.stored.dead.get(key)
    lost, nameless = sum(v.lost for v in verdicts), dead.nameless if dead else 0
    unseen = _unseen(seen.stored, agent)
    runs = [f"{where.epoch}:{run}" for where, v in zip(epochs, verdicts, strict=True) for run in v.runs]
    return {
        "lost": max(lost - nameless, 0),
        "in_flight": sum(v.in_flight for v in verdicts) + unseen,
        "explained": sum(v.explained for v in verdicts) + min(lost, nameless),
        "missing": runs[:MOST_RUNS],
        "dead_letters": dead.letters if dead else 0,
        "note": UNSEEN.format(unseen) if unseen and passed else None,
    }


def _unseen(found: Stored, agent: Agent | None) -> int:
    """How many numbers the agent has given of which none is stored: there is no first one to count a loss from."""
    said = agent.report if agent else None
    where = Epoch(agent.tenant, agent.chassis_id, said.epoch) if agent and said else None
    return said.minted if said and where not in found.held else 0


def _verdict(seen: Seen, where: Epoch, agent: Agent | None, passed: bool) -> loss.Verdict:
    assert seen.stored is not None
    held = seen.stored.held[where]
    said = agent.report_of(where.epoch, held.last) if agent else None
    if seen.agents is None and where.epoch == _newest_epoch(seen.stored, where):
        said = loss.Report(where.epoch, held.last, None)
    gaps, explained = seen.stored.gaps.get(where, []), seen.stored.explained.get(where, ())
    return loss.judge(held, gaps, said, passed, explained)


def _newest_epoch(found: Stored, where: Epoch) -> int:
    return marks.of_machines(found.marks)[where.tenant, where.chassis_id].epoch


def _highest(seen: Seen, agent: Agent) -> int:
    """Of the epoch the agent reports, the highest number whose values are stored."""
    said, found = agent.report, (seen.hops or {}).get("distributed", {})
    ours = marks.of_machine(found, agent.tenant, agent.chassis_id)
    return max((mark.seq for mark in ours if said and mark.epoch == said.epoch), default=0)


def has_passed(seen: Seen, agent: Agent, last: int, now: int) -> bool:
    """Whether the store has all that the hub had confirmed when the agent reported: see :func:`.loss.judged_up_to`.
    ``last``: the highest number of the epoch it reports whose values are stored.
    """
    said = agent.report
    return said is not None and (last > said.minted or _is_drained(seen, agent, now))


def _is_drained(seen: Seen, agent: Agent, now: int) -> bool:
    """Whether all that the hub has of a machine is stored, its values, too: nothing is on the way. The highest number
    proves nothing, for realtime messages overtake what waits.
    """
    if not seen.is_stored:
        return False
    if seen.hub is None:  # Azure's
        return bool(agent.at) and now - agent.at > QUIET and unread(seen.ingestors) == 0
    taken = marks.of_machine(seen.hub, agent.tenant, agent.chassis_id)
    return has_read(seen.ingestors, seen.hub_ends, max((mark.ts for mark in taken), default=0))


# --- sums


def _total(seen: Seen, machines: list[dict[str, Any]], name: str) -> int | None:
    return sum(machine[name] for machine in machines) if seen.stored else None


def _redelivered(seen: Seen, lost: int) -> int | None:
    """How many more messages passed the processor than are stored and were lost: delivered again, stored once."""
    if seen.stored is None or seen.hops is None:
        return None
    passed, kept = (sum(m.count for m in found.values()) for found in (seen.hops["parsed"], seen.stored.marks))
    return max(passed - kept - lost, 0)


def _reasons(found: Stored) -> dict[str, Refused]:
    reasons: dict[str, Refused] = {}
    for dead in found.dead.values():
        for reason, refused in dead.reasons.items():
            reasons[reason] = reasons[reason].and_also(refused) if reason in reasons else refused
    return dict(sorted(reasons.items()))

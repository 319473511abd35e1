"""What the agents say of themselves: the reported properties of their twins, read from the hub."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from ..hops import Mark, Which
from .loss import Report
from .marks import EVERY_TYPE


class _Queue(msgspec.Struct):
    """``seq``: highest minted; ``first``: lowest not yet acknowledged, nor told as dropped; ``older``: how many of
    earlier epochs are not; ``acknowledged``: how many are."""

    epoch: int = 0
    seq: int = 0
    acknowledged: int = 0
    depth: int = 0
    first: int | None = None
    older: int | None = None


class _Agent(msgspec.Struct):
    version: str = ""
    state: str = ""


class _Realtime(msgspec.Struct):
    on: bool = False


class _Reported(msgspec.Struct):
    """What is read of the reported properties; all else in them is the agent's own affair."""

    agent: _Agent = msgspec.field(default_factory=_Agent)
    queue: _Queue | None = None
    drops: dict[str, int] = {}
    realtime: _Realtime = msgspec.field(default_factory=_Realtime)
    buses: dict[str, str] = {}
    trouble: str | None = None


@dataclass(frozen=True, slots=True)
class Agent:
    """One machine as its twin has it. ``at``: microseconds UTC of its last report, by the hub's clock; 0: unknown."""

    tenant: str
    chassis_id: str
    is_connected: bool
    at: int = 0
    reported: _Reported = field(default_factory=_Reported)

    @property
    def report(self) -> Report | None:
        """None from an agent that has not reported its queue yet."""
        queue = self.reported.queue
        if queue is None or queue.epoch <= 0:
            return None
        first = queue.first if queue.first is not None else queue.seq + 1 if queue.depth == 0 else None
        return Report(queue.epoch, queue.seq, first)

    def report_of(self, epoch: int, last: int) -> Report | None:
        """What the report tells of an epoch whose highest known number is ``last``; None for nothing.

        A queue that was salvaged goes on in a new epoch, and what still waits in it keeps its old number.
        """
        said = self.report
        if said is None or said.epoch == epoch:
            return said
        queue = self.reported.queue or _Queue()
        older = queue.older if queue.older is not None else queue.depth
        return Report(epoch, last, None if older else last + 1) if epoch < said.epoch else None

    def facts(self) -> dict[str, Any]:
        """As status shows it."""
        said, queue = self.reported, self.reported.queue or _Queue()
        wrong = [f"{bus}: {state}" for bus, state in said.buses.items() if state != "up"]
        return {
            "connected": self.is_connected,
            "state": said.agent.state,
            "realtime": said.realtime.on,
            "waiting": queue.depth,
            "acknowledged": queue.acknowledged,
            "drops": said.drops,
            "trouble": "; ".join([*filter(None, [said.trouble]), *wrong]) or None,
        }


def agent_of(twin: Mapping[str, Any], tenant: str) -> Agent:
    """``tenant``: where the twin has no such tag, as the ingestor has it. A report of another form is its trouble."""
    properties = twin.get("properties", {}).get("reported", {})
    try:
        reported = msgspec.convert(properties, _Reported)
    except msgspec.ValidationError as error:
        reported = _Reported(trouble=f"its report cannot be read: {error}")
    named = (twin.get("tags") or {}).get("tenant")
    return Agent(
        named if isinstance(named, str) and named else tenant,
        str(twin.get("deviceId", "")),
        twin.get("connectionState") == "Connected",
        _micros(properties.get("$metadata", {}).get("$lastUpdated")),
        reported,
    )


def _micros(text: Any) -> int:
    try:
        return round(datetime.fromisoformat(text).timestamp() * 1_000_000)
    except (TypeError, ValueError):
        return 0


def sent(agents: Iterable[Agent]) -> dict[Which, Mark]:
    """The hop ``sent``: the highest number each agent says it has minted; counted is what the hub has confirmed."""
    queues = {Which(a.tenant, a.chassis_id, EVERY_TYPE): (a.reported.queue, a.at) for a in agents}
    return {which: Mark(q.epoch, q.seq, at, q.acknowledged) for which, (q, at) in queues.items() if q}

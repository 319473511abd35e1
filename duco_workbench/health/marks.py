"""How far each machine's messages are, hop by hop: ``sent``, ``hub``, ``raw``, ``parsed``, ``distributed``, ``stored``.

A mark is the newest message of a machine's msgType there, with its time and a count. ``sent`` knows no msgTypes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ..errors import ConfigError
from ..hops import Mark, Which
from ..iothub.service import HubRefused, HubService

EVERY_TYPE = "*"  # an agent numbers all its messages in one sequence
ORDER = ("sent", "hub", "raw", "parsed", "distributed", "stored")

Marks = Mapping[Which, Mark]


class HubCount(NamedTuple):
    """What a hub has taken since it was made; ``ends``: the last sequence number of each partition, -1 for none."""

    marks: dict[Which, Mark]
    ends: dict[str, int]


def of_hub(hub: HubService, tenants: Mapping[str, str], tenant: str) -> HubCount | None:
    """The embedded hub's; None from Azure's, which keeps no such count.

    Args:
        tenants: of the devices that have one in their twin; the others are of ``tenant``.
    Raises: ServiceError, HubRefused.
    """
    try:
        told = hub.call("GET", "/duco/status")
    except HubRefused:
        raise
    except ConfigError:
        return None
    found = {
        Which(tenants.get(name, tenant), name, msg_type): Mark(m["epoch"], m["seq"], m["enqueued"], m["taken"])
        for name, device in told["devices"].items()
        for msg_type, m in device["messages"].items()
    }
    return HubCount(found, {str(partition["partition"]): partition["last"] for partition in told["partitions"]})


def of_machines(marks: Marks) -> dict[tuple[str, str], Mark]:
    """Over all msgTypes: the newest message's mark, and the count of all."""
    found: dict[tuple[str, str], Mark] = {}
    for (tenant, chassis_id, _), mark in marks.items():
        known = found.get((tenant, chassis_id))
        found[tenant, chassis_id] = known.and_also(mark) if known else mark
    return found


def of_machine(marks: Marks, tenant: str, chassis_id: str) -> list[Mark]:
    return [mark for which, mark in marks.items() if which[:2] == (tenant, chassis_id)]


def as_json(name: str, marks: Marks, now: int) -> Iterable[dict[str, Any]]:
    """One entry a msgType; times in microseconds UTC, ``age_s`` None where there is none."""
    by_type: dict[str, list[tuple[Which, Mark]]] = {}
    for which, mark in sorted(marks.items()):
        by_type.setdefault(which.msg_type, []).append((which, mark))
    for msg_type, members in by_type.items():
        machines = [
            {
                "tenant": which.tenant,
                "chassis_id": which.chassis_id,
                "epoch": mark.epoch,
                "seq": mark.seq,
                "ts": mark.ts,
                "age_s": age(mark.ts, now),
            }
            for which, mark in members
        ]
        count = sum(mark.count for _, mark in members)
        yield {"name": name, "msg_type": msg_type, "count": count, "machines": machines}


def age(ts: int, now: int) -> float | None:
    return round((now - ts) / 1e6, 1) if ts > 0 else None

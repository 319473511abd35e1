"""What `duco status` says: what runs, how far each hop is, what was lost, doubled or refused."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from .. import pulse
from ..errors import ServiceError
from ..settings import Settings
from ..sinks.clickhouse import connect
from . import stack
from .supervision import Supervisor

if TYPE_CHECKING:
    from rich.console import Console

# Messages of one machine and epoch are numbered without gaps: what is missing between the first and the last was lost,
# what is there twice in a FINAL view was doubled.
_SEQUENCES = """
SELECT sum(newest - oldest + 1 - distinct_ids) AS lost, sum(stored - distinct_ids) AS duplicates
FROM (
    SELECT
        toInt64(max(seq)) AS newest, toInt64(min(seq)) AS oldest, toInt64(uniqExact(seq)) AS distinct_ids,
        toInt64(count()) AS stored
    FROM (
        SELECT
            tenant, chassis_id, splitByChar(':', message_id)[-2] AS epoch,
            toUInt64OrNull(splitByChar(':', message_id)[-1]) AS seq
        FROM raw_data_cache_store FINAL
    )
    WHERE seq IS NOT NULL
    GROUP BY tenant, chassis_id, epoch
)
"""
_DEAD = "SELECT reason, toInt64(count()) FROM dead_letters FINAL GROUP BY reason ORDER BY reason"
_STORED = "SELECT msg_type, toInt64(count()) FROM raw_data_cache_store FINAL GROUP BY msg_type ORDER BY msg_type"
_MACHINES = """
SELECT tenant, chassis_id, toInt64(count()), toUnixTimestamp64Micro(max(ts))
FROM raw_data_cache_store FINAL GROUP BY tenant, chassis_id ORDER BY tenant, chassis_id
"""
_SAMPLES = "SELECT toInt64(count()) FROM ce_technology FINAL WHERE is_deleted = 0"


def read_status(settings: Settings) -> dict[str, Any]:
    """Everything as JSON types. Raises: ServiceError when no stack runs or its store does not answer."""
    states = Supervisor(settings.data).states()
    beats = {name: asyncio.run(pulse.read(name, settings.log_url)) for name in ("ingestor", "processor", "distributor")}
    return {
        "processes": {name: _process(state, beats.get(name)) for name, state in states.items()},
        "addresses": {name: getattr(settings, name) for name in stack.ADDRESSES},
        "lag": asyncio.run(stack.lags(settings)),
        **_stored(settings),
    }


def _process(state: dict[str, Any], beat: dict[str, Any] | None) -> dict[str, Any]:
    return {"state": state["statename"], "pid": state["pid"], "said": state["description"], **(beat or {})}


def _stored(settings: Settings) -> dict[str, Any]:
    client = connect(settings.store_url)
    try:
        rows = {
            name: client.query(sql).result_rows
            for name, sql in (
                ("sequences", _SEQUENCES),
                ("dead", _DEAD),
                ("stored", _STORED),
                ("machines", _MACHINES),
                ("samples", _SAMPLES),
            )
        }
    except Exception as error:
        raise ServiceError(f"the store at {settings.store_url} does not answer: {error}") from error
    finally:
        client.close()
    now = time.time()
    return {
        "lost": rows["sequences"][0][0],
        "duplicates": rows["sequences"][0][1],
        "dead_letters": dict(rows["dead"]),
        "hops": [
            *({"name": "stored", "msg_type": msg_type, "count": count} for msg_type, count in rows["stored"]),
            {"name": "samples", "msg_type": "vehicle_can", "count": rows["samples"][0][0]},
        ],
        "machines": [
            {"tenant": tenant, "chassis_id": chassis_id, "messages": count, "age_s": round(now - ts / 1e6, 1)}
            for tenant, chassis_id, count, ts in rows["machines"]
        ],
    }


def print_status(found: dict[str, Any], console: Console) -> None:
    from rich.table import Table

    table = Table("process", "state", "", box=None)
    for name, state in found["processes"].items():
        table.add_row(name, state["state"].lower(), state["said"])
    console.print(table)
    machines = Table("machine", "messages", "newest", box=None)
    for machine in found["machines"]:
        machines.add_row(machine["chassis_id"], f"{machine['messages']:,}", _age(machine["age_s"]))
    console.print(machines)
    console.print(f"lost {found['lost']}   doubled {found['duplicates']}   dead letters {found['dead_letters'] or 0}")
    console.print("   ".join(f"{hop['name']} {hop['msg_type']} {hop['count']:,}" for hop in found["hops"]))
    console.print("behind: " + ", ".join(f"{group} {count}" for group, count in found["lag"].items()))
    for name, url in found["addresses"].items():
        console.print(f"  {name:12} {url}")


def _age(seconds: float) -> str:
    return f"{seconds:.0f} s ago" if seconds < 120 else f"{seconds / 3600:.1f} h ago"

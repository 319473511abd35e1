"""The judgement after everything has drained: is each message that any agent minted there, once, and in order?"""

from __future__ import annotations

import time
from typing import Any

from faults.plant import Plant

from duco_workbench import health
from duco_workbench.errors import DucoError
from duco_workbench.health.audit import Asked, audit
from duco_workbench.sinks.clickhouse import connect, reported

DRAINED_S = 120.0
STOPS, RETURN_S = 3, 20.0
MUST: dict[str, Any] = {
    **dict.fromkeys(("lost", "in_flight", "duplicates", "unstored", "unaccounted", "disordered"), 0),
    "dead_letters": {},
}

# By the hub's own numbering, which is the order the machine's messages were taken in; realtime messages pass others.
_DISORDERED = """
SELECT toInt64(countIf(seq < before)) FROM (
    SELECT
        toUInt64OrZero(splitByChar(':', message_id)[-1]) AS seq,
        lagInFrame(seq, 1, 0) OVER (
            PARTITION BY chassis_id, splitByChar(':', message_id)[-2], JSONExtractBool(body, 'realtime')
            ORDER BY hub_sequence ROWS BETWEEN 1 PRECEDING AND CURRENT ROW
        ) AS before
    FROM raw_messages WHERE hub_sequence > 0
)
"""


def judge(plant: Plant) -> dict[str, Any]:
    """Stop the machines, wait until nothing is on its way, and count. ``drain_s``: how long that took.

    The keys of :data:`MUST` say what was wrong; ``messages``: how many were minted.
    """
    for _ in range(STOPS):
        found, took = _drained(plant)
        minted, unstored = _by_number(plant, found)
        if unstored >= 0:
            break
        plant.start("machines")  # one was offline when it stopped: its last report is older than what is stored
        time.sleep(RETURN_S)
    counts = {name: found.get(name) for name in ("lost", "in_flight", "duplicates", "dead_letters")}
    counts |= {"unstored": unstored, "unaccounted": _unaccounted(plant), "disordered": _ask(plant, _DISORDERED)}
    return {**counts, "messages": minted, "drain_s": took}


def _drained(plant: Plant) -> tuple[dict[str, Any], float]:
    plant.stop("machines")
    begun = time.monotonic()
    found = _status(plant)
    while time.monotonic() - begun < DRAINED_S and not _is_drained(found):
        time.sleep(0.5)
        found = _status(plant)
    return found, round(time.monotonic() - begun, 1)


def _unaccounted(plant: Plant) -> int:
    """Machines and epochs of which `duco audit` says that numbers are missing, or in two places, or values doubled."""
    found = audit(plant.settings, Asked(settled=True))
    return sum(not line.holds for line in found.lines) + bool(found.values_doubled)


def faults_of(verdict: dict[str, Any]) -> dict[str, Any]:
    """What of the verdict is not as it must be."""
    return {name: verdict[name] for name, wanted in MUST.items() if verdict[name] != wanted}


def _status(plant: Plant) -> dict[str, Any]:
    try:
        return health.read(plant.settings)
    except DucoError:
        return {}


def _is_drained(found: dict[str, Any]) -> bool:
    return found.get("in_flight") == 0 and bool(found["lag"]) and not any(found["lag"].values())


def _by_number(plant: Plant, found: dict[str, Any]) -> tuple[int, int]:
    """(minted, missing): of each agent's epoch the numbers 1 … high-water mark, against what the archive has of them.

    Stricter than ``lost``, which begins at an epoch's first stored message. Below 0: a report is not up to date.
    """
    marks = [mark for hop in found["hops"] if hop["name"] == "sent" for mark in hop["machines"]]
    sent = {f"{mark['chassis_id']}:{mark['epoch']}:": mark["seq"] for mark in marks} | plant.sent
    missing = [number - count(plant, f"startsWith(message_id, '{prefix}')") for prefix, number in sent.items()]
    return sum(sent.values()), min(missing) if min(missing, default=0) < 0 else sum(missing)


def count(plant: Plant, condition: str) -> int:
    """Different messages in the archive; -1 while the store does not answer."""
    try:
        return _ask(plant, f"SELECT toInt64(uniqExact(message_id)) FROM raw_data_cache_store WHERE {condition}")
    except DucoError:
        return -1


def written_twice(plant: Plant) -> int:
    """Rows of the archive beyond one a message; as long as merges are stopped, none goes unseen."""
    return _ask(plant, "SELECT toInt64(count() - uniqExact(message_id)) FROM raw_data_cache_store")


def command(plant: Plant, sql: str) -> None:
    with reported(plant.settings.store_url):
        client = connect(plant.settings.store_url)
        client.command(sql)
        client.close()


def _ask(plant: Plant, sql: str) -> int:
    with reported(plant.settings.store_url):
        client = connect(plant.settings.store_url)
        try:
            return int(client.query(sql).result_rows[0][0])
        finally:
            client.close()

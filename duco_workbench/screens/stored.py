"""The store as the live page reads it: samples in the form of live ones, last values in the form of the snapshot."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

from ..columns import Event, Samples
from ..errors import ConfigError
from ..live import Machine
from ..model import SECOND, Dtc
from ..sinks.snapshot import Latest
from .marks import Reports

if TYPE_CHECKING:
    from ..history import History

MOST_EVENTS = 200

# The first and the last report of a code in each ten seconds: what a page makes of them is the same as of all.
_CODES = """
SELECT source, spn, fmi, min(at) AS first, max(at) AS last, anyLast(oc) AS oc, anyLast(cm) AS cm, max(lamps) AS lamps
FROM (
    SELECT source, spn, fmi, oc, cm, lamps, toUnixTimestamp64Micro(ts) AS at FROM dtcs_view
    WHERE tenant = {tenant:String} AND chassis_id = {machine:String}
    AND ts >= fromUnixTimestamp64Micro({start:Int64}, 'UTC') AND ts < fromUnixTimestamp64Micro({end:Int64}, 'UTC')
)
GROUP BY source, spn, fmi, intDiv(at, 10000000)"""
_EVENTS = """
SELECT toUnixTimestamp64Micro(ts) AS at, name, severity, data, message_id FROM events_view
WHERE tenant = {tenant:String} AND chassis_id = {machine:String}
AND ts >= fromUnixTimestamp64Micro({start:Int64}, 'UTC') AND ts < fromUnixTimestamp64Micro({end:Int64}, 'UTC')
ORDER BY at DESC LIMIT {most:UInt32}"""


class Store(Protocol):
    """Raises: ServiceError when it is away."""

    def samples(self, machine: Machine, signals: Sequence[str], start: int, end: int) -> Samples:
        """Those in [start, end), microseconds UTC, thinned as stored."""
        ...

    def reports(self, machine: Machine, start: int, end: int) -> Reports:
        """Trouble codes and the newest events in [start, end)."""
        ...

    def latest(self, machine: Machine) -> dict[str, Latest]:
        """The newest reading of every series, by flat key."""
        ...


class HistoryStore:
    """``history.History`` of each tenant; imported with the first question, for most pages never ask one."""

    def __init__(self, store_url: str) -> None:
        self._url = store_url

    def samples(self, machine: Machine, signals: Sequence[str], start: int, end: int) -> Samples:
        history = _history(self._url, machine.tenant)
        try:
            rows = history.samples(machine.chassis_id, signals, start, end, status=True, missing_ok=True)
        except ConfigError:  # a machine so new that nothing of it is stored
            return Samples.empty()
        return Samples.from_arrow(rows.to_arrow())

    def reports(self, machine: Machine, start: int, end: int) -> Reports:
        asked = {"machine": machine.chassis_id, "start": start, "end": end, "most": MOST_EVENTS}
        history = _history(self._url, machine.tenant)
        codes = history.sql(_CODES, asked).to_arrow().to_pylist()
        events = history.sql(_EVENTS, asked).to_arrow().to_pylist()
        return Reports(
            tuple(dtc for row in codes for dtc in _both_ends(row)),
            tuple((row["message_id"], Event(row["at"], row["name"], row["severity"], row["data"])) for row in events),
        )

    def latest(self, machine: Machine) -> dict[str, Latest]:
        try:
            rows = _history(self._url, machine.tenant).latest(machine.chassis_id).to_arrow().to_pylist()
        except ConfigError:
            return {}
        return {f"{row['signal']}@{row['source']}": _latest(row) for row in rows}


def _both_ends(row: dict[str, Any]) -> list[Dtc]:
    told = (row["source"], row["spn"], row["fmi"], row["oc"], row["cm"], row["lamps"])
    return [Dtc(ts, *told) for ts in (row["first"], row["last"])]


def _latest(row: dict[str, Any]) -> Latest:
    value = row["value"] if row["status"] == "ok" else None
    return Latest(round(row["ts"].timestamp() * SECOND), 0, 0, value, row["status"], 0)


@lru_cache(maxsize=16)
def _history(store_url: str, tenant: str) -> History:
    from ..history import History

    return History(store_url, tenant)

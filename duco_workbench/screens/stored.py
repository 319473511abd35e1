"""The store as the live page reads it: samples in the form of live ones, last values in the form of the snapshot."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

from ..columns import Samples
from ..errors import ConfigError
from ..live import Machine
from ..model import SECOND
from ..sinks.snapshot import Latest

if TYPE_CHECKING:
    from ..history import History


class Store(Protocol):
    """Raises: ServiceError when it is away."""

    def samples(self, machine: Machine, signals: Sequence[str], start: int, end: int) -> Samples:
        """Those in [start, end), microseconds UTC, thinned as stored."""
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

    def latest(self, machine: Machine) -> dict[str, Latest]:
        try:
            rows = _history(self._url, machine.tenant).latest(machine.chassis_id).to_arrow().to_pylist()
        except ConfigError:
            return {}
        return {f"{row['signal']}@{row['source']}": _latest(row) for row in rows}


def _latest(row: dict[str, Any]) -> Latest:
    value = row["value"] if row["status"] == "ok" else None
    return Latest(round(row["ts"].timestamp() * SECOND), 0, 0, value, row["status"], 0)


@lru_cache(maxsize=16)
def _history(store_url: str, tenant: str) -> History:
    from ..history import History

    return History(store_url, tenant)

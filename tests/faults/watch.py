"""What is looked at while faults happen: memory of every process, age of what people see live, what can be queried."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import msgspec
import psutil
import redis
from faults.plant import Plant

from duco_workbench.errors import DucoError
from duco_workbench.sinks.clickhouse import connect, reported

EVERY_S = 0.5
SERVICES = ("hub", "ingestor", "processor", "distributor", "store", "log", "state", "live", "machines", "meta")
_NEWEST = "SELECT chassis_id, toUnixTimestamp64Micro(max(ts)) FROM ce_technology GROUP BY chassis_id"


def now() -> int:
    """Microseconds UTC."""
    return time.time_ns() // 1000


class Newest:
    """The device time of each machine's newest queryable sample (µs UTC), read past any proxy."""

    def __init__(self, store_url: str) -> None:
        self._url = store_url
        self._client: Any = None

    def __call__(self) -> dict[str, int]:
        """Empty while the store does not answer."""
        try:
            with reported(self._url):
                self._client = self._client or connect(self._url)
                return dict(self._client.query(_NEWEST).result_rows)
        except DucoError:
            self._client = None
            return {}


class Ages:
    """How old each message is when it comes out of the live server: (monotonic, seconds)."""

    def __init__(self, live_url: str, machines: Sequence[str]) -> None:
        self.seen: list[tuple[float, float]] = []
        self._url, self._machines, self._end = live_url, machines, threading.Event()
        self._thread = threading.Thread(target=self._run, name="ages", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._end.set()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._end.wait(0.2):
            with suppress(redis.RedisError, OSError), redis.Redis.from_url(self._url) as client:
                channel = client.pubsub()
                channel.psubscribe("live-stream/*/vehicle_can")
                while not self._end.is_set():
                    message = channel.get_message(timeout=0.5)
                    if message and message["type"] == "pmessage":
                        self._note(msgspec.json.decode(message["data"]))

    def _note(self, message: dict[str, Any]) -> None:
        if message["chassisId"] in self._machines:
            self.seen.append((time.monotonic(), time.time() - message["ts"] / 1e6))

    def p99(self, since: float, until: float = float("inf")) -> float | None:
        """Seconds, of what came between two moments; None when nothing did."""
        ages = [age for at, age in self.seen if since <= at <= until]
        return statistics.quantiles(ages, n=100, method="inclusive")[98] if len(ages) > 1 else None


@dataclass
class Watch:
    """``with Watch(plant) as watch``: samples until the end."""

    plant: Plant
    memory: list[tuple[float, str, int, int]] = field(default_factory=list)  # monotonic, part, pid, RSS in bytes
    behind: list[tuple[float, float]] = field(default_factory=list)  # monotonic, seconds history is behind

    def __post_init__(self) -> None:
        settings = self.plant.settings
        self.ages = Ages(settings.live_url, tuple(self.plant.machines))
        self.newest, self._history = Newest(settings.store_url), Newest(settings.store_url)  # a thread each
        self._end = threading.Event()
        looks = (self._look_at_memory, self._look_at_history)
        self._threads = [threading.Thread(target=self._run, args=(look,), daemon=True) for look in looks]

    def __enter__(self) -> Watch:
        self.ages.start()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(10)
        self.ages.stop()

    def _run(self, look: Callable[[], None]) -> None:
        while not self._end.wait(EVERY_S):
            with suppress(DucoError):
                look()

    def _look_at_memory(self) -> None:
        states = self.plant.supervisor.states()
        self.memory += [
            sample for part in SERVICES if part in states and (sample := _sample(part, states[part]["pid"]))
        ]

    def _look_at_history(self) -> None:
        if found := self._history():
            self.behind.append((time.monotonic(), (now() - max(found.values())) / 1e6))

    def growth(self, since: float, until: float = float("inf")) -> dict[str, float]:
        """MB by which each part rose above what it had at ``since``; of processes that ran then and still do."""
        before = {(part, pid): rss for at, part, pid, rss in self.memory if since - 5 <= at <= since}
        peaks: dict[str, float] = {}
        for at, part, pid, rss in self.memory:
            if since < at <= until and (part, pid) in before:
                peaks[part] = max(peaks.get(part, 0.0), (rss - before[part, pid]) / 1e6)
        return {part: round(peak, 1) for part, peak in peaks.items()}

    def peak(self, since: float = 0.0) -> dict[str, float]:
        """MB at most, of each part."""
        peaks: dict[str, float] = {}
        for at, part, _, rss in self.memory:
            if at >= since:
                peaks[part] = max(peaks.get(part, 0.0), round(rss / 1e6, 1))
        return peaks

    def oldest(self, since: float, until: float) -> float:
        """Seconds the newest sample of all was old at most, as long as the store could be asked."""
        return max((behind for at, behind in self.behind if since <= at <= until), default=0.0)

    def has_row_after(self, moment: int) -> bool:
        """Whether a sample the machine took after ``moment`` (µs UTC) can be queried."""
        return max(self.newest().values(), default=0) > moment

    def is_current(self, within_s: float = 5.0) -> bool:
        """Whether every machine's newest sample is at most so old."""
        found = self.newest()
        return all(found.get(machine, 0) > now() - within_s * 1e6 for machine in self.plant.machines)


def _sample(part: str, pid: int) -> tuple[float, str, int, int] | None:
    with suppress(psutil.Error):
        if pid:
            return time.monotonic(), part, pid, psutil.Process(pid).memory_info().rss
    return None

"""The figures of one hop: kept as plain numbers and arrays, given to Prometheus when it asks.

prometheus_client's own histogram takes a microsecond for each value observed; here the values of a batch go into
their buckets together.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from ..model import MSG_TYPES, SECOND, Record

OTHER = "other"  # whatever a device calls its messages, there are as many labels
RECENT_S = 60.0  # what a person is told of: the last minute
MOST_RECENT = 4096  # batches in it

BATCH_MESSAGES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)
BATCH_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
LATENCY_SECONDS = (0.1, 0.25, 0.5, 1, 2, 5, 10, 15, 30, 60, 300, 3600, 86_400)


class Spread:
    """How many values were up to each bound, and their sum: a histogram."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = np.array(bounds, float)
        self._counts: NDArray[Any] = np.zeros(len(bounds) + 1, np.int64)
        self._sum = 0.0

    def add(self, values: NDArray[Any]) -> None:
        self._counts += np.bincount(np.searchsorted(self._bounds, values), minlength=len(self._counts))
        self._sum += float(values.sum())

    def add_one(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def buckets(self) -> tuple[list[tuple[str, float]], float]:
        """Prometheus' cumulative buckets, and the sum."""
        names = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        return list(zip(names, np.cumsum(self._counts).tolist(), strict=True)), self._sum


Labelled = Mapping[tuple[str, ...], Spread]


class Batch(NamedTuple):
    """A committed batch: when (monotonic), its messages, the seconds it was in hand."""

    at: float
    messages: int
    seconds: float


class Figures:
    """Of one hop, since the process started. Written by its loop, read by any thread."""

    def __init__(self, hop: str) -> None:
        self.hop = hop
        self.messages: Counter[str] = Counter()
        self.retries: Counter[str] = Counter()
        self.dead_letters: Counter[str] = Counter()
        self.newest = 0  # µs UTC: the device's time of the newest message done with
        self.recent: deque[Batch] = deque(maxlen=MOST_RECENT)
        self._sizes, self._seconds = Spread(BATCH_MESSAGES), Spread(BATCH_SECONDS)
        self._latency = {"device": Spread(LATENCY_SECONDS), "hub": Spread(LATENCY_SECONDS)}
        self._writes: dict[str, Spread] = {}

    def done(self, records: Sequence[Record], seconds: float) -> None:
        """A batch is committed that was in hand for so long."""
        n = len(records)
        ts, enqueued = np.fromiter([(r.ts, r.ts_enqueued) for r in records], (np.int64, 2), n).T
        now = time.time_ns() // 1000
        self._latency["device"].add(np.maximum(now - ts, 0) / SECOND)
        self._latency["hub"].add(np.maximum(now - enqueued, 0) / SECOND)
        self.messages.update(Counter([r.msg_type for r in records]))
        self.newest = max(self.newest, int(ts.max()))
        self._sizes.add_one(n)
        self._seconds.add_one(seconds)
        self.recent.append(Batch(time.monotonic(), n, seconds))

    def wrote(self, sink: str, seconds: float) -> None:
        self._writes.setdefault(sink, Spread(BATCH_SECONDS)).add_one(seconds)

    def last_minute(self) -> dict[str, Any]:
        """``messages_s``, and the batches' ``batch_p50_ms`` and ``batch_p99_ms`` (None without any)."""
        since = time.monotonic() - RECENT_S
        recent = [batch for batch in list(self.recent) if batch.at > since]
        times = sorted(batch.seconds for batch in recent)
        p50, p99 = (round(1000 * times[int(share * (len(times) - 1))], 1) if times else None for share in (0.5, 0.99))
        rate = sum(batch.messages for batch in recent) / RECENT_S
        return {"messages_s": round(rate, 1), "batch_p50_ms": p50, "batch_p99_ms": p99}

    def collect(self) -> Iterator[Metric]:
        hop = [self.hop]
        messages = CounterMetricFamily("duco_messages", "Messages committed.", labels=["hop", "msg_type"])
        for name, count in _by_type(self.messages).items():
            messages.add_metric([*hop, name], count)
        yield messages
        yield _spread("duco_batch_messages", "Messages in a committed batch.", {(self.hop,): self._sizes})
        yield _spread("duco_batch_seconds", "From reading a batch to its commit.", {(self.hop,): self._seconds})
        latency: Labelled = {(self.hop, since): spread for since, spread in self._latency.items()}
        yield _spread("duco_latency_seconds", "From the device's or the hub's time to the commit.", latency, "since")
        writes: Labelled = {(self.hop, sink): spread for sink, spread in list(self._writes.items())}
        yield _spread("duco_sink_seconds", "A write of one batch to a sink.", writes, "sink")
        newest = GaugeMetricFamily(
            "duco_newest_timestamp_seconds", "Device time of the newest message.", labels=["hop"]
        )
        if self.newest:
            newest.add_metric(hop, self.newest / SECOND)
        yield newest
        yield _counted("duco_retries", "Calls of a service that failed.", self.retries, self.hop, "service")
        yield _counted("duco_dead_letters", "Dead letters made.", self.dead_letters, self.hop, "reason")


def _by_type(messages: Counter[str]) -> dict[str, int]:
    """Types nobody has agreed on count together."""
    known: Counter[str] = Counter()
    for name, count in list(messages.items()):
        known[name if name in MSG_TYPES else OTHER] += count
    return known


def _spread(name: str, said: str, spreads: Labelled, *labels: str) -> Metric:
    family = HistogramMetricFamily(name, said, labels=["hop", *labels])
    for values, spread in spreads.items():
        buckets, total = spread.buckets()
        family.add_metric(list(values), buckets, total)
    return family


def _counted(name: str, said: str, counts: Counter[str], hop: str, label: str) -> Metric:
    family = CounterMetricFamily(name, said, labels=["hop", label])
    for value, count in list(counts.items()):
        family.add_metric([hop, value], count)
    return family

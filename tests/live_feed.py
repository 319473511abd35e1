"""A machine whose messages are made up: every value is known, so that a gap or a duplicate can be told."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import numpy as np
import redis

from duco_workbench import topics
from duco_workbench.columns import Parsed, Samples, Text
from duco_workbench.model import SECOND, Record, Status
from duco_workbench.sinks.live import LiveSink, stream_key, to_json
from duco_workbench.sinks.snapshot import SnapshotSink

SIGNALS = ("Engine.Speed", "Engine.Torque", "Engine.FuelTemp", "Vehicle.Speed")
SOURCES = ("can0:00", "can0:00", "can0:00", "can1")
UNITS = ("1/min", "%", "degC", "km/h")


def message(seq: int, ts: int, length: int = SECOND, n: int = 10, chassis_id: str = "m1", **changes: Any) -> Parsed:
    """``n`` samples of each of four series within ``length`` microseconds of ``ts``; FuelTemp is never available."""
    times = ts + np.arange(n, dtype=np.int64) * (length // n)
    k = len(SIGNALS)
    series = np.repeat(np.arange(k, dtype=np.int32), n)
    value = 1000 + 100 * np.sin(np.tile(times, k) / SECOND + series)
    status = np.where(series == 2, Status.NOT_AVAILABLE, Status.OK).astype(np.uint8)
    value[series == 2] = np.nan
    samples = Samples(SIGNALS, SOURCES, UNITS, series, np.tile(times, k), value, status)
    known: dict[str, Any] = {
        "record": Record("demo", chassis_id, "vehicle_can", f"{chassis_id}:1:{seq}", ts, ts, ts, b""),
        "realtime": True,
        "logic_version": 7,
        "samples": samples,
        "texts": (Text(ts, "Identification.Make", "can0:00", "DUCO"),),
    }
    return Parsed(**{**known, **changes})


def write_past(live_url: str, seconds: float, hz: float, chassis_id: str = "m1") -> tuple[int, int]:
    """Entries as if written through the last ``seconds``. Returns: the next seq and ts."""
    length = int(SECOND / hz)
    ts, seq = int((time.time() - seconds) * SECOND), 1
    with redis.Redis.from_url(live_url) as client:
        while ts + length <= time.time() * SECOND:
            item = message(seq, ts, length, chassis_id=chassis_id)
            entry: dict[Any, Any] = {"json": to_json(item), "arrow": topics.to_ipc(item)}
            key = stream_key("demo", chassis_id, "vehicle_can")
            client.xadd(key, entry, id=f"{(ts + length) // 1000}-*")
            seq, ts = seq + 1, ts + length
    return seq, ts


def feed(live_url: str, seq: int, ts: int, hz: float, stop: Any, chassis_id: str = "m1") -> None:
    """Write in real time through the sinks until ``stop`` (a threading.Event) is set."""
    asyncio.run(_feed(live_url, seq, ts, hz, stop, chassis_id))


async def _feed(live_url: str, seq: int, ts: int, hz: float, stop: Any, chassis_id: str) -> None:
    length = int(SECOND / hz)
    sinks = LiveSink(live_url), SnapshotSink(live_url)
    for sink in sinks:
        await sink.open()
    while not stop.is_set():
        await asyncio.sleep(max(0.0, (ts + length) / SECOND - time.time()))
        item = message(seq, ts, length, chassis_id=chassis_id)
        for sink in sinks:
            await sink.write([item])
        seq, ts = seq + 1, ts + length
    for sink in sinks:
        await sink.close()

"""A machine whose messages are made up: every value is known, so that a gap or a duplicate can be told."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import numpy as np
import pytest
import redis

from duco_workbench import wire
from duco_workbench.columns import Parsed, Samples, Text
from duco_workbench.model import SECOND, Envelope, Message, Record, Status
from duco_workbench.parsed_ipc import to_ipc
from duco_workbench.parsing.logic import Knowledge, ManifestLogic
from duco_workbench.sinks import lossy
from duco_workbench.sinks.live import LiveSink, stream_key, to_json
from duco_workbench.sinks.snapshot import SnapshotSink

SIGNALS = ("Engine.Speed", "Engine.Torque", "Engine.FuelTemp", "Vehicle.Speed")
SOURCES = ("can0:00", "can0:00", "can0:00", "can1")
UNITS = ("1/min", "%", "degC", "km/h")


PATIENCE_S = 30.0  # no promise: only ends what hangs


def lose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sinks that outlast a pause of the computer, where what they do without one is tested."""
    for name in ("TIMEOUT_S", "LAST_WORD_S"):
        monkeypatch.setattr(lossy, name, PATIENCE_S)


def message(
    seq: int, ts: int, length: int = SECOND, n: int = 10, chassis_id: str = "m1", epoch: int = 1, **changes: Any
) -> Parsed:
    """``n`` samples of each of four series within ``length`` microseconds of ``ts``; FuelTemp is never available."""
    times = ts + np.arange(n, dtype=np.int64) * (length // n)
    k = len(SIGNALS)
    series = np.repeat(np.arange(k, dtype=np.int32), n)
    value = 1000 + 100 * np.sin(np.tile(times, k) / SECOND + series)
    status = np.where(series == 2, Status.NOT_AVAILABLE, Status.OK).astype(np.uint8)
    value[series == 2] = np.nan
    samples = Samples(SIGNALS, SOURCES, UNITS, series, np.tile(times, k), value, status)
    known: dict[str, Any] = {
        "record": Record("demo", chassis_id, "vehicle_can", f"{chassis_id}:{epoch}:{seq}", ts, ts, ts, b""),
        "realtime": True,
        "logic_version": 7,
        "samples": samples,
        "texts": (Text(ts, "Identification.Make", "can0:00", "DUCO"),),
    }
    return Parsed(**{**known, **changes})


def others(seq: int, ts: int, chassis_id: str = "m1") -> list[Parsed]:
    """One message of each other kind, as parsing makes them: a position on a circle, metrics, a code, an event, a
    line of log (these two each twenty seconds), with ids from ``seq``."""
    angle = ts / SECOND / 30
    payloads: dict[str, Any] = {
        "vehicle_position": wire.Position(
            50 + 1e-3 * np.sin(angle), 7 + 1e-3 * np.cos(angle), 120.0, 14.5, np.degrees(-angle) % 360, 3, 12
        ),
        "client_raw_data": wire.Client({"cpu_percent": 23 + np.sin(angle), "memory_mb": 176.0, "software": "2.4.1"}),
        "vehicle_dtc": wire.Dtcs("can0:00", [wire.Code(110, 0, 2)], {"red-stop": "on"}),
        "vehicle_event": wire.EventBody("load_tipped", "info", {"payload_kg": 6713}),
        "vehicle_log": wire.LogLine("warning", "uplink", "412 ms without a link"),
    }
    kinds = list(payloads) if ts // SECOND % 20 == 0 else list(payloads)[:3]
    logic = ManifestLogic(Knowledge(1, frozenset({("demo", chassis_id)})))
    messages = []
    for number, kind in enumerate(kinds, seq):
        record = Record("demo", chassis_id, kind, f"{chassis_id}:1:{number}", ts, ts, ts, b"")
        envelope = Envelope(
            msg_type=kind, chassis_id=chassis_id, message_id=record.message_id, ts=ts, payload=payloads[kind]
        )
        messages.append(Message(record, envelope))
    return list(logic.parse(messages).ok)


def write_past(
    live_url: str, seconds: float, hz: float, chassis_id: str = "m1", everything: bool = False
) -> tuple[int, int]:
    """Entries as if written through the last ``seconds``; ``everything``: of all kinds. Returns: the next seq, ts."""
    length = int(SECOND / hz)
    ts, seq = int((time.time() - seconds) * SECOND) // length * length, 1
    with redis.Redis.from_url(live_url) as client:
        while ts + length <= time.time() * SECOND:
            items = _items(seq, ts, length, chassis_id, everything)
            for item in items:
                entry: dict[Any, Any] = {"json": to_json(item), "arrow": to_ipc([item])}
                key = stream_key("demo", chassis_id, item.record.msg_type)
                client.xadd(key, entry, id=f"{(ts + length) // 1000}-*")
            seq, ts = seq + len(items), ts + length
    return seq, ts


def _items(seq: int, ts: int, length: int, chassis_id: str, everything: bool) -> list[Parsed]:
    before = others(seq, ts, chassis_id) if everything else []
    return [*before, message(seq + len(before), ts, length, chassis_id=chassis_id)]


def feed(
    live_url: str, seq: int, ts: int, hz: float, stop: Any, chassis_id: str = "m1", everything: bool = False
) -> None:
    """Write in real time through the sinks until ``stop`` (a threading.Event) is set."""
    asyncio.run(_feed(live_url, seq, ts, hz, stop, chassis_id, everything))


async def _feed(live_url: str, seq: int, ts: int, hz: float, stop: Any, chassis_id: str, everything: bool) -> None:
    length = int(SECOND / hz)
    sinks = LiveSink(live_url), SnapshotSink(live_url)
    for sink in sinks:
        await sink.open()
    while not stop.is_set():
        await asyncio.sleep(max(0.0, (ts + length) / SECOND - time.time()))
        items = _items(seq, ts, length, chassis_id, everything)
        for sink in sinks:
            await sink.write(items)
        seq, ts = seq + len(items), ts + length
    for sink in sinks:
        await sink.close()

"""Records and envelopes of every kind, made for tests."""

from __future__ import annotations

from typing import Any

import numpy as np

from duco_workbench import wire
from duco_workbench.columns import Event, Parsed, Samples, Text
from duco_workbench.model import Dtc, Envelope, FrameBatch, Record

T = 1_760_000_000_000_000


def frames(n: int = 10, start: int = T, arbitration_id: int = 0x8CF00400, channel: str = "can0") -> FrameBatch:
    """``n`` frames 10 ms apart, ending within a second for n <= 100."""
    rng = np.random.default_rng(n)
    return FrameBatch(
        start + np.arange(n, dtype=np.int64) * 10_000,
        np.full(n, arbitration_id, np.uint32),
        np.full(n, 8, np.uint8),
        np.zeros(n, np.uint8),
        rng.integers(0, 250, (n, 8)).astype(np.uint8),
        np.zeros(n, np.uint8),
        (channel,),
    )


def record(seq: int = 1, body: bytes | None = None, chassis_id: str = "m1", **changes: Any) -> Record:
    """A record as the ingestor makes it; without a body it holds an event."""
    if body is None:
        body = encoded("vehicle_event", wire.EventBody("key_on"), seq=seq, chassis_id=chassis_id)
    known: dict[str, Any] = {
        "tenant": "demo",
        "chassis_id": chassis_id,
        "msg_type": "vehicle_event",
        "message_id": f"{chassis_id}:1:{seq}",
        "ts": T,
        "ts_enqueued": T,
        "ts_ingested": T + 5,
        "hub_partition": 3,
        "hub_sequence": seq,
    }
    return Record(**{**known, **changes, "body": body})


def encoded(msg_type: str, payload: Any, *, seq: int = 1, chassis_id: str = "m1", ts: int = T, **changes: Any) -> bytes:
    envelope = Envelope(
        msg_type=msg_type, chassis_id=chassis_id, message_id=f"{chassis_id}:1:{seq}", ts=ts, payload=payload, **changes
    )
    return wire.encode(envelope)


def can_record(seq: int = 1, batch: FrameBatch | None = None, realtime: bool = False, **changes: Any) -> Record:
    batch = frames() if batch is None else batch
    chassis_id = changes.get("chassis_id", "m1")
    body = encoded(
        "vehicle_can",
        wire.Can(wire.pack_blocks(batch)),
        seq=seq,
        chassis_id=chassis_id,
        ts=int(batch.ts.max()),
        realtime=realtime,
    )
    times = {"ts": int(batch.ts.max()), "ts_enqueued": int(batch.ts.max())}
    return record(seq, body, **{"msg_type": "vehicle_can", **times, **changes})


def parsed(seq: int = 1, n: int = 20, start: int = T, **changes: Any) -> Parsed:
    """Two series of ``n`` samples each, a text, a code and an event."""
    samples = Samples(
        ("EEC1.EngineSpeed", "CCVS.WheelBasedVehicleSpeed"),
        ("can0:00", "can0:00"),
        ("rpm", "km/h"),
        np.repeat(np.array([0, 1], np.int32), n),
        np.tile(start + np.arange(n, dtype=np.int64) * 50_000, 2),
        np.concatenate([800 + np.arange(n, dtype=float), np.where(np.arange(n) % 5 == 4, np.nan, 12.5)]),
        np.concatenate([np.zeros(n, np.uint8), np.where(np.arange(n) % 5 == 4, 1, 0).astype(np.uint8)]),
    )
    return Parsed(
        record(seq, b"", **changes),
        True,
        7,
        samples,
        (Text(start, "VI.VIN", "can0:00", "1XKYDP9X"),),
        (Dtc(start, "can0:00", 110, 0, None, 0, "amber-warning:on"),),
        (Event(start, "key_on", "info", "{}"),),
    )

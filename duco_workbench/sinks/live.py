"""The realtime branch: every message as an entry of ``live-stream/{tenant}/consumer-{chassisId}/{msgType}``.

An entry has two fields. ``json`` holds the last value of each field and goes out on the Pub/Sub channel of the same
name too; ``arrow`` holds all samples, in the bytes of a ``parsed`` record (:mod:`duco_workbench.parsed_ipc`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from ..columns import Parsed, Samples
from ..model import Status
from ..parsed_ipc import to_ipc
from .lossy import LossySink

KEEP_MS = 180_000  # the page reads two minutes; a third makes sure of it
MOST_ENTRIES = 4000  # of one stream, however fast a machine sends

_encoder = msgspec.json.Encoder()


def stream_key(tenant: str, chassis_id: str, msg_type: str) -> str:
    return f"live-stream/{tenant}/consumer-{chassis_id}/{msg_type}"


class LiveSink(LossySink):
    """Entries live three minutes, by time and not by number: two minutes are there at 1 Hz and at 10 Hz alike."""

    async def put(self, pipe: Any, batch: Sequence[Parsed]) -> None:
        oldest = int(time.time() * 1000) - KEEP_MS
        for item in batch:
            key = stream_key(item.record.tenant, item.record.chassis_id, item.record.msg_type)
            body = to_json(item)
            pipe.xadd(key, {"json": body, "arrow": to_ipc([item])}, minid=oldest, approximate=True)
            pipe.xtrim(key, maxlen=MOST_ENTRIES, approximate=True)
            pipe.pexpire(key, KEEP_MS)  # a machine that is gone leaves nothing behind
            pipe.publish(key, body)


def to_json(item: Parsed) -> bytes:
    """``{"tenant", "chassisId", "msgType", "ts", "messageId", "logicVersion", "payload": {field: last value}}``.

    A field is ``Message.Signal@can0:00``; its value is null when the reading is not ok. Codes and events are lists
    under ``dtcs`` and ``events``.
    """
    payload: dict[str, Any] = {
        key: value if status == Status.OK else None for key, (_, value, status) in last_values(item.samples).items()
    }
    payload |= {f"{text.signal}@{text.source}": text.text for text in item.texts}
    if item.dtcs:
        payload["dtcs"] = item.dtcs
    if item.events:
        payload["events"] = item.events
    record = item.record
    return _encoder.encode(
        {
            "tenant": record.tenant,
            "chassisId": record.chassis_id,
            "msgType": record.msg_type,
            "ts": record.ts,
            "messageId": record.message_id,
            "logicVersion": item.logic_version,
            "payload": payload,
        }
    )


def last_rows(samples: Samples) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The row of the newest sample of each series that has one (of equal times the later row)."""
    order = np.argsort(samples.ts, kind="stable")
    newest = np.full(len(samples.signals), -1, np.int64)
    newest[samples.series[order]] = order  # where an index repeats, the last assignment stays
    return newest[newest >= 0]


def last_values(samples: Samples) -> dict[str, tuple[int, float, int]]:
    """``{"Message.Signal@can0:00": (ts, value, status)}`` of the newest sample of each series."""
    rows = last_rows(samples)
    columns = (samples.series, samples.ts, samples.value, samples.status)
    return {
        f"{samples.signals[series]}@{samples.sources[series]}": (ts, value, status)
        for series, ts, value, status in zip(*(column[rows].tolist() for column in columns), strict=True)
    }

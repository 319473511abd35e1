"""Raw records of envelopes of our own making, which no hub has seen: imported logs, the past of simulated machines."""

from __future__ import annotations

import time

from .. import wire
from ..model import Envelope, Record


def now() -> int:
    """Microseconds since 1970 UTC."""
    return time.time_ns() // 1000


def record_of(envelope: Envelope, tenant: str) -> Record:
    """As if the hub had taken it when it happened."""
    return Record(
        tenant=tenant,
        chassis_id=envelope.chassis_id,
        msg_type=envelope.msg_type,
        message_id=envelope.message_id,
        ts=envelope.ts,
        ts_enqueued=envelope.ts,
        ts_ingested=now(),
        body=wire.encode(envelope),
        v=envelope.v,
    )

"""The ingestor: puts everything on the raw log; what was sent in realtime mode is handed over to a branch of its own.

::

    IoT Hub ──┬──► raw log
              └──► realtime only ──► handed over (bounded, the newest win) ──► flows/realtime.py
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from streamz import Stream

from .. import wire
from ..errors import DataError
from ..model import Record
from ..ports import Sink


@dataclass(frozen=True, slots=True)
class IngestorSinks:
    """``realtime`` must return at once whatever happens behind it: the raw log's commit waits for both."""

    raw_log: Sink[Record]
    realtime: Sink[Record]


def ingestor(records: Stream, to: IngestorSinks) -> None:
    """Nothing is judged here: what cannot be read goes to the log too, and the processor makes the dead letter."""
    records.sink(to.raw_log.write)
    records.map(_realtime).sink(to.realtime.write)


def _realtime(records: Sequence[Record]) -> Sequence[Record]:
    return [record for record in records if _is_realtime(record.body)]


def _is_realtime(body: bytes) -> bool:
    try:
        return wire.read_head(body).realtime
    except DataError:
        return False

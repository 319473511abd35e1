"""The ingestor: puts everything on the raw log; what was sent in realtime mode is also parsed for the live page.

::

    machines ──┬──► raw log
               └──► realtime only ──► validate ──► parse ──► live stream
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from streamz import Stream

from ..columns import Parsed
from ..model import Message, Record
from ..ports import Outcome, ParsingLogic, Sink
from .attempt import attempt


@dataclass(frozen=True, slots=True)
class IngestorSinks:
    raw_log: Sink[Record]
    live: Sink[Parsed]


def ingestor(
    records: Stream,
    validate: Callable[[Sequence[Record]], Outcome[Message]],
    logic: ParsingLogic,
    to: IngestorSinks,
) -> None:
    """What the live branch refuses is not reported here: the processor sees it too and makes the dead letter."""
    records.sink(to.raw_log.write)
    checked = attempt(records, validate)
    parsed = attempt(checked.ok.map(_realtime), logic.parse)
    parsed.ok.sink(to.live.write)


def _realtime(messages: Sequence[Message]) -> Sequence[Message]:
    return [m for m in messages if m.envelope.realtime]

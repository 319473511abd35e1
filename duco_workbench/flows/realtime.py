"""The realtime branch: parses for the live page what the ingestor put on the raw log, before it is stored.

::

    handed over ──► validate ──► parse ──► live stream
                       └───────────┴─────► (nothing: the processor reads the same from the raw log and reports it)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from streamz import Stream

from ..columns import Parsed
from ..model import Message, Record
from ..ports import Outcome, ParsingLogic, Sink
from .attempt import attempt


def realtime(
    records: Stream,
    validate: Callable[[Sequence[Record]], Outcome[Message]],
    logic: ParsingLogic,
    live: Sink[Parsed],
) -> None:
    """As lossy as its sink. Parsing takes milliseconds a message: run it where nobody waits for the loop."""
    parsed = attempt(attempt(records, validate).ok, logic.parse)
    parsed.ok.sink(live.write)

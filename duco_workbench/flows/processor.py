"""The processor: keeps the raw, validates and decodes it, publishes the parsed.

::

    raw log ──┬──────────────────────────────────────────► raw archive
              └─► validate ──► parse with the manifest ──► parsed log
                      └──────────────┴───────────────────► dead letters
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from streamz import Stream

from ..columns import Parsed
from ..model import DeadLetter, Message, Record
from ..ports import Outcome, ParsingLogic, Sink
from .attempt import attempt


@dataclass(frozen=True, slots=True)
class ProcessorSinks:
    raw_archive: Sink[Record]
    parsed_topic: Sink[Parsed]
    dead_letters: Sink[DeadLetter]


def processor(
    records: Stream,
    validate: Callable[[Sequence[Record]], Outcome[Message]],
    logic: ParsingLogic,
    to: ProcessorSinks,
) -> None:
    """A pure function of one record and its manifest: redelivery and re-decoding give the same rows."""
    records.sink(to.raw_archive.write)  # kept before it is judged
    checked = attempt(records, validate)
    parsed = attempt(checked.ok, logic.parse)
    parsed.ok.sink(to.parsed_topic.write)
    checked.failed.union(parsed.failed).sink(to.dead_letters.write)

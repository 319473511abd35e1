"""The distributor: parsed samples, texts and codes to ClickHouse, the newest of each series to the Redis snapshot.

::

    parsed log ──┬──► ClickHouse: ce_technology, dtcs, events, texts, and that the message is there
                 ├──► Redis snapshot (lossy, never gates the commit)
                 └──► replayed ones only ──► ClickHouse: dead_letters (closed)
    dead letters ──────────────────────────► ClickHouse: dead_letters
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from streamz import Stream

from ..columns import Parsed
from ..model import PASSED, DeadLetter
from ..ports import Sink


@dataclass(frozen=True, slots=True)
class DistributorSinks:
    store: Sink[Parsed]
    snapshot: Sink[Parsed]
    letters: Sink[DeadLetter]


def distributor(parsed: Stream, to: DistributorSinks) -> None:
    parsed.sink(to.store.write)
    parsed.sink(to.snapshot.write)
    parsed.map(_closed).sink(to.letters.write)


def _closed(parsed: Sequence[Parsed]) -> Sequence[DeadLetter]:
    """A letter is closed by the flow itself, as part of the batch: whoever replays it may be killed at any time."""
    return [DeadLetter(message.record, PASSED) for message in parsed if message.record.replay]


def dead_letter_office(letters: Stream, store: Sink[DeadLetter]) -> None:
    letters.sink(store.write)

"""The distributor: parsed samples, texts and codes to ClickHouse, the newest of each series to the Redis snapshot.

::

    parsed log ──┬──► ClickHouse: ce_technology, dtcs, events, texts
                 └──► Redis snapshot (lossy, never gates the commit)
    dead letters ───► ClickHouse: dead_letters
"""

from __future__ import annotations

from dataclasses import dataclass

from streamz import Stream

from ..columns import Parsed
from ..model import DeadLetter
from ..ports import Sink


@dataclass(frozen=True, slots=True)
class DistributorSinks:
    store: Sink[Parsed]
    snapshot: Sink[Parsed]


def distributor(parsed: Stream, to: DistributorSinks) -> None:
    parsed.sink(to.store.write)
    parsed.sink(to.snapshot.write)


def dead_letter_office(letters: Stream, store: Sink[DeadLetter]) -> None:
    letters.sink(store.write)

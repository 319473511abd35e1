"""What an audit asks ClickHouse. One scan counts every epoch; only what does not add up is fetched, as runs of numbers,
some epochs at a time: what is held here are the runs of these, however many messages there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ..sequences import Run
from .doubled_values import doubled_values
from .numbers import Epoch, by_epoch, of_drop, of_letter
from .sets import Sets
from .stored import NUMBERED

_OURS = "(empty({machine:String}) OR chassis_id = {machine:String})"
ARCHIVED = NUMBERED.format(final="")
PARSED = "SELECT tenant, chassis_id, toNullable(epoch) AS epoch, seq FROM parsed_messages"
_COUNTS = f"""
SELECT tenant, chassis_id, assumeNotNull(epoch) AS in_epoch, toInt64(count()), toInt64(groupBitmap(seq)),
    toInt64(min(seq)), toInt64(max(seq))
FROM (%s) WHERE epoch IS NOT NULL AND seq > 0 AND {_OURS} GROUP BY tenant, chassis_id, in_epoch
"""
# Where the number before is not one less, a run begins; where the next is not one more, it ends.
_RUNS = """
SELECT
    tenant, chassis_id, in_epoch,
    arrayFilter((seq, before) -> seq != before + 1, held, arrayPushFront(arrayPopBack(held), held[1])) AS firsts,
    arrayFilter((seq, next) -> next != seq + 1, held, arrayPushBack(arrayPopFront(held), 0)) AS lasts
FROM (
    SELECT tenant, chassis_id, assumeNotNull(epoch) AS in_epoch, arraySort(bitmapToArray(groupBitmapState(seq))) AS held
    FROM (%s)
    WHERE (tenant, chassis_id) IN {machines:Array(Tuple(String, String))} AND seq > 0
      AND (tenant, chassis_id, epoch) IN {epochs:Array(Tuple(String, String, UInt64))}
    GROUP BY tenant, chassis_id, in_epoch
)
"""
_LETTERS = f"SELECT tenant, chassis_id, letter FROM dead_letters_view WHERE {_OURS}"
_DROPS = f"""
SELECT tenant, chassis_id, data, JSONExtractString(data, 'reason') = 'corrupt'
FROM events_view WHERE name = 'drop' AND {_OURS}
"""
_DOUBLED = f"""
SELECT tenant, chassis_id, assumeNotNull(epoch) AS in_epoch, toInt64(count() - groupBitmap(seq))
FROM ({NUMBERED.format(final="FINAL")})
WHERE (tenant, chassis_id, epoch) IN {{epochs:Array(Tuple(String, String, UInt64))}}
GROUP BY tenant, chassis_id, in_epoch
"""
MOST = 1_000_000  # numbers looked at together: if every second is missing, that many runs are in memory
Whole = tuple[int, int, int]  # how many different numbers, the lowest, the highest


class Counted(NamedTuple):
    """``doubtful``: of which the archive has more rows than numbers, perhaps only because they are not merged yet."""

    wholes: dict[Epoch, Whole]
    doubtful: list[Epoch]


class AuditStore:
    """Of every machine, or of one."""

    def __init__(self, client: Any, machine: str = "") -> None:
        self._client, self._machine = client, machine

    def count(self, numbers: str) -> Counted:
        """Of :data:`ARCHIVED` or :data:`PARSED`."""
        found = Counted({}, [])
        for *where, rows, distinct, first, last in self._rows(_COUNTS % numbers):
            epoch = Epoch(*where)
            found.wholes[epoch] = distinct, first, last
            if rows > distinct:
                found.doubtful.append(epoch)
        return found

    def letters(self) -> tuple[dict[Epoch, list[Run]], int]:
        """Numbers of the open letters, and how many letters have none."""
        rows = self._rows(_LETTERS)
        nameless = sum(not any(of_letter(chassis_id, letter)) for _, chassis_id, letter in rows)
        return by_epoch(rows, of_letter), nameless

    def drops(self) -> tuple[dict[Epoch, list[Run]], dict[Epoch, list[Run]]]:
        """What was dropped; and what may have reached the hub all the same (see wire.EventBody)."""
        rows = self._rows(_DROPS)
        sure, doubtful = ([row for *row, is_doubtful in rows if is_doubtful == kind] for kind in (False, True))
        return by_epoch(sure, of_drop), by_epoch(doubtful, of_drop)

    def runs(self, numbers: str, epochs: Sequence[Epoch]) -> dict[Epoch, list[Run]]:
        machines = sorted({where[:2] for where in epochs})
        rows = self._rows(_RUNS % numbers, epochs=list(epochs), machines=machines)
        return {Epoch(*where): list(map(Run, firsts, lasts)) for *where, firsts, lasts in rows}

    def doubled(self, epochs: Sequence[Epoch]) -> dict[Epoch, int]:
        """Messages that a reader of ``raw_messages`` sees more than once."""
        rows = self._rows(_DOUBLED, epochs=list(epochs)) if epochs else []
        return {Epoch(*where): count for *where, count in rows if count}

    def values_doubled(self) -> int:
        """Values that a reader of ``samples`` sees more than once."""
        return doubled_values(self._rows)

    def _rows(self, sql: str, **parameters: Any) -> Sequence[Any]:
        rows: Sequence[Any] = self._client.query(sql, {"machine": self._machine, **parameters}).result_rows
        return rows


def sets_of(
    store: AuditStore,
    sizes: Mapping[Epoch, int],
    letters: Mapping[Epoch, list[Run]],
    drops: Mapping[Epoch, list[Run]],
    doubtful: Mapping[Epoch, list[Run]],
) -> Iterator[tuple[Epoch, Sets]]:
    """What there is of each epoch. ``sizes``: how many numbers each has in the store, at most."""
    for epochs in batches(sizes):
        archived, parsed = store.runs(ARCHIVED, epochs), store.runs(PARSED, epochs)
        for where in epochs:
            yield where, Sets(*(found.get(where, []) for found in (archived, parsed, letters, drops, doubtful)))


def batches(sizes: Mapping[Epoch, int], most: int = MOST) -> Iterator[list[Epoch]]:
    """In order, of at most ``most`` numbers together, unless one alone has more."""
    batch: list[Epoch] = []
    held = 0
    for where, numbers in sizes.items():
        if batch and held + numbers > most:
            yield batch
            batch, held = [], 0
        batch, held = [*batch, where], held + numbers
    if batch:
        yield batch

"""What an audit asks ClickHouse. One scan counts every epoch; only what does not add up is fetched, as runs of numbers,
one machine at a time: what is held here is one machine's runs, however many messages there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from .doubled_values import doubled_values
from .numbers import Epoch, by_epoch, of_drop, of_letter
from .runs import Run
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
_RUNS = """
SELECT in_epoch, toInt64(min(seq)), toInt64(max(seq))
FROM (
    SELECT in_epoch, seq, seq - row_number() OVER (PARTITION BY in_epoch ORDER BY seq) AS island
    FROM (
        SELECT DISTINCT assumeNotNull(epoch) AS in_epoch, seq FROM (%s)
        WHERE tenant = {tenant:String} AND chassis_id = {chassis_id:String} AND seq > 0
          AND epoch IN {epochs:Array(UInt64)}
    )
)
GROUP BY in_epoch, island ORDER BY in_epoch, min(seq)
"""
_LETTERS = f"SELECT tenant, chassis_id, letter FROM dead_letters_view WHERE {_OURS}"
_DROPS = f"SELECT tenant, chassis_id, data FROM events_view WHERE name = 'drop' AND {_OURS}"
_DOUBLED = f"""
SELECT tenant, chassis_id, assumeNotNull(epoch) AS in_epoch, toInt64(count() - groupBitmap(seq))
FROM ({NUMBERED.format(final="FINAL")})
WHERE (tenant, chassis_id, epoch) IN {{epochs:Array(Tuple(String, String, UInt64))}}
GROUP BY tenant, chassis_id, in_epoch
"""
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

    def drops(self) -> dict[Epoch, list[Run]]:
        return by_epoch(self._rows(_DROPS), of_drop)

    def runs(self, numbers: str, machine: tuple[str, str], epochs: Sequence[int]) -> dict[int, list[Run]]:
        """The numbers of one machine's epochs."""
        found: dict[int, list[Run]] = {}
        names = {"tenant": machine[0], "chassis_id": machine[1], "epochs": list(epochs)}
        for epoch, first, last in self._rows(_RUNS % numbers, **names):
            found.setdefault(epoch, []).append(Run(first, last))
        return found

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
    epochs: Sequence[Epoch],
    letters: dict[Epoch, list[Run]],
    drops: dict[Epoch, list[Run]],
) -> Iterator[tuple[Epoch, Sets]]:
    """What there is of each epoch, machine by machine."""
    machines: dict[tuple[str, str], list[int]] = {}
    for tenant, chassis_id, epoch in epochs:
        machines.setdefault((tenant, chassis_id), []).append(epoch)
    for machine, numbers in machines.items():
        archived, parsed = store.runs(ARCHIVED, machine, numbers), store.runs(PARSED, machine, numbers)
        for epoch in numbers:
            where = Epoch(*machine, epoch)
            known = archived.get(epoch, []), parsed.get(epoch, []), letters.get(where, []), drops.get(where, [])
            yield where, Sets(*known)

"""What ClickHouse holds of the machines' messages: one scan counts all, and only where that shows a gap or a double
is it looked at again, number by number.

A set of numbers is a bitmap, so ten million messages take about a second. What is seen twice in the scan may be a
redelivery that is not merged yet: whether it is a duplicate is what a query with FINAL says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..hops import Mark, Which
from ..sequences import Run, union
from ..sinks.clickhouse import connect, reported
from .loss import Held
from .numbers import Epoch, by_epoch, of_drop, of_letter

# The numbers of ids that number_of of clickhouse_rows takes for ours; of any other id epoch is NULL and seq 0, and it
# counts as a message without a number.
NUMBERED = """
SELECT
    tenant, chassis_id, msg_type, ts,
    if(startsWith(message_id, concat(chassis_id, ':')), substring(message_id, length(chassis_id) + 2), '') AS tail,
    if(match(tail, '^[1-9][0-9]{{0,16}}:[1-9][0-9]{{0,14}}$'), tail, '') AS numbers,
    toUInt64OrNull(substringIndex(numbers, ':', 1)) AS epoch,
    toUInt64OrZero(substringIndex(numbers, ':', -1)) AS seq
FROM raw_data_cache_store {final}
"""
_AMONG = "(tenant, chassis_id, epoch) IN {epochs:Array(Tuple(String, String, UInt64))}"
_COUNTS = f"""
SELECT
    tenant, chassis_id, ifNull(epoch, 0) AS in_epoch, toInt64(sum(rows)), toInt64(min(lowest)), toInt64(max(highest)),
    toInt64(groupBitmapMerge(numbers)),
    groupArray((msg_type, toInt64(rows), toInt64(bitmapCardinality(numbers)), toInt64(highest), newest))
FROM (
    SELECT
        tenant, chassis_id, msg_type, epoch, count() AS rows, min(seq) AS lowest, max(seq) AS highest,
        groupBitmapState(seq) AS numbers, toUnixTimestamp64Micro(max(ts)) AS newest
    FROM ({NUMBERED.format(final="")}) GROUP BY tenant, chassis_id, msg_type, epoch
)
GROUP BY tenant, chassis_id, in_epoch ORDER BY tenant, chassis_id, in_epoch
"""
_GAPS = f"""
SELECT tenant, chassis_id, epoch, toInt64(seq + 1), toInt64(next - 1)
FROM (
    SELECT
        tenant, chassis_id, epoch, seq,
        leadInFrame(seq, 1, seq + 1) OVER (
            PARTITION BY tenant, chassis_id, epoch ORDER BY seq ROWS BETWEEN CURRENT ROW AND 1 FOLLOWING
        ) AS next
    FROM ({NUMBERED.format(final="")}) WHERE {_AMONG}
)
WHERE next > seq + 1 ORDER BY tenant, chassis_id, epoch, seq
"""
_DOUBLED = f"""
SELECT toInt64(sum(doubled)) FROM (
    SELECT count() - groupBitmap(seq) AS doubled FROM ({NUMBERED.format(final="FINAL")})
    WHERE {_AMONG}
    GROUP BY tenant, chassis_id, epoch
)
"""
# What the scan cannot find: values that are there twice. Of the last minutes only, for there are very many.
_SAMPLES_DOUBLED = """
SELECT toInt64(count() - uniqExact(cityHash64(tenant, chassis_id, signal, source, ts)))
FROM samples WHERE ts > now64(6) - INTERVAL 15 MINUTE
"""
_SAMPLES = "SELECT toInt64(count()) FROM samples"
_DEAD = """
SELECT tenant, chassis_id, reason, toInt64(count()), toUnixTimestamp64Micro(min(ts_enqueued)),
    toInt64(countIf(match(message_id, '^[0-9]+:[0-9]+$')))
FROM dead_letters_view GROUP BY tenant, chassis_id, reason ORDER BY tenant, chassis_id, reason
"""
_LETTERS = """
SELECT tenant, chassis_id, letter FROM dead_letters_view
WHERE (tenant, chassis_id) IN {machines:Array(Tuple(String, String))} AND startsWith(letter, concat(chassis_id, ':'))
"""
_DROPS = """
SELECT tenant, chassis_id, data FROM events_view
WHERE name = 'drop' AND (tenant, chassis_id) IN {machines:Array(Tuple(String, String))}
"""


class Refused(NamedTuple):
    """Open dead letters of one reason; ``since``: when the hub took the first of them, microseconds UTC."""

    letters: int
    since: int

    def and_also(self, other: Refused) -> Refused:
        return Refused(self.letters + other.letters, min(self.since, other.since))


class Dead(NamedTuple):
    """Open dead letters of a machine by reason; ``nameless`` of them had no message id that could be read."""

    reasons: dict[str, Refused]
    nameless: int

    @property
    def letters(self) -> int:
        return sum(refused.letters for refused in self.reasons.values())


@dataclass(slots=True)
class Stored:
    """See the attributes' types; ``doubled``: rows too many in views that show each message and value once."""

    held: dict[Epoch, Held] = field(default_factory=dict)
    marks: dict[Which, Mark] = field(default_factory=dict)
    gaps: dict[Epoch, list[Run]] = field(default_factory=dict)
    explained: dict[Epoch, list[Run]] = field(default_factory=dict)
    dead: dict[tuple[str, str], Dead] = field(default_factory=dict)
    doubled: int = 0
    samples: int = 0


def read(store_url: str, ahead: dict[Epoch, int]) -> Stored:
    """``ahead``: the highest number of epochs as their agents have it. Raises: ServiceError."""
    with reported(store_url):
        client = connect(store_url)
        try:
            return _Reading(client).all(ahead)
        finally:
            client.close()


class _Reading:
    def __init__(self, client: Any) -> None:
        self._client = client
        self._doubtful: list[Epoch] = []  # more rows than numbers
        self.found = Stored()

    def _rows(self, sql: str, **parameters: Any) -> Sequence[Any]:
        rows: Sequence[Any] = self._client.query(sql, parameters=parameters).result_rows
        return rows

    def all(self, ahead: dict[Epoch, int]) -> Stored:
        self._count()
        self._look_closer(ahead)
        for tenant, chassis_id, reason, count, since, nameless in self._rows(_DEAD):
            known = self.found.dead.get((tenant, chassis_id), Dead({}, 0))
            reasons = {**known.reasons, reason: Refused(count, since)}
            self.found.dead[tenant, chassis_id] = Dead(reasons, known.nameless + nameless)
        self.found.doubled += self._rows(_SAMPLES_DOUBLED)[0][0]
        self.found.samples = self._rows(_SAMPLES)[0][0]
        return self.found

    def _count(self) -> None:
        for tenant, chassis_id, epoch, rows, first, last, distinct, by_type in self._rows(_COUNTS):
            for msg_type, rows_of_type, numbers, highest, newest in by_type:
                which = Which(tenant, chassis_id, msg_type)
                mark = Mark(epoch, highest, newest, numbers if epoch else rows_of_type)
                known = self.found.marks.get(which)
                self.found.marks[which] = known.and_also(mark) if known else mark
            if not epoch:
                continue
            where = Epoch(tenant, chassis_id, epoch)
            self.found.held[where] = Held(first, last, distinct)
            if rows > distinct:
                self._doubtful.append(where)

    def _look_closer(self, ahead: dict[Epoch, int]) -> None:
        held = self.found.held
        holed = [where for where, what in held.items() if what.inner_gaps]
        if holed:
            for tenant, chassis_id, epoch, first, last in self._rows(_GAPS, epochs=holed):
                where = Epoch(tenant, chassis_id, epoch)
                if held[where].first < first and last < held[where].last:  # rows that came since are not counted
                    self.found.gaps.setdefault(where, []).append(Run(first, last))
        if self._doubtful:
            self.found.doubled += self._rows(_DOUBLED, epochs=self._doubtful)[0][0]
        missing = {*holed, *(where for where, last in ahead.items() if where in held and last > held[where].last)}
        if missing:
            self._explain({(where.tenant, where.chassis_id) for where in missing})

    def _explain(self, machines: set[tuple[str, str]]) -> None:
        for sql, numbers in ((_LETTERS, of_letter), (_DROPS, of_drop)):
            for where, runs in by_epoch(self._rows(sql, machines=sorted(machines)), numbers).items():
                self.found.explained[where] = union(self.found.explained.get(where, []), runs)

"""Values that a query shows twice. There are hundreds to a message, so they are compared in parts that fit in memory:
of one month, which is a partition, and of some machines, or of a share of one machine's series.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

MOST = 8 << 20  # values compared at once: some 200 MB in the store

# Without FINAL, which counts more than there are: close enough to share them out.
_COUNTS = """
SELECT toYYYYMM(ts) AS month, tenant, chassis_id, toInt64(count()) FROM ce_technology
WHERE empty({machine:String}) OR chassis_id = {machine:String}
GROUP BY month, tenant, chassis_id ORDER BY month, tenant, chassis_id
"""
_DOUBLED = """
SELECT toInt64(count() - uniqExact(cityHash64(tenant, chassis_id, signal, source, ts))) FROM samples
WHERE toYYYYMM(ts) = {month:UInt32} AND (tenant, chassis_id) IN {machines:Array(Tuple(String, String))}
  AND cityHash64(signal, source) % {parts:UInt32} = {part:UInt32}
"""
Count = tuple[int, str, str, int]  # month, tenant, chassis_id, values
Rows = Callable[..., Sequence[Any]]


class Share(NamedTuple):
    """Of some machines in one month, one of so many parts of their series."""

    month: int
    machines: list[tuple[str, str]]
    parts: int = 1
    part: int = 0


def doubled_values(rows: Rows) -> int:
    """``rows``: answers a statement with its parameters."""
    return sum(rows(_DOUBLED, **share._asdict())[0][0] for share in shares(rows(_COUNTS)))


def shares(counts: Iterable[Count], most: int = MOST) -> Iterator[Share]:
    """Of at most ``most`` values each, as far as series are alike."""
    gathered, held = Share(0, []), 0
    for month, tenant, chassis_id, values in counts:
        if gathered.machines and (month != gathered.month or held + values > most):
            yield gathered
            gathered, held = Share(0, []), 0
        if values > most:
            parts = -(-values // most)
            yield from (Share(month, [(tenant, chassis_id)], parts, part) for part in range(parts))
        else:
            gathered, held = Share(month, [*gathered.machines, (tenant, chassis_id)]), held + values
    if gathered.machines:
        yield gathered

"""Which messages go when a queue is full: the oldest, batch after batch, and whatever is older than the age limit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from .state import State
from .storage import QueueError


class Limits(NamedTuple):
    """What a queue holds before its oldest goes. ``batches``: what was stored at once is one, however many messages."""

    bytes: int = 1 << 30
    batches: int = 10_000
    age_days: int = 400


class Old(NamedTuple):
    """A message that may go. ``ts``: None when it cannot be dated yet."""

    number: int
    size: int
    ts: int | None
    batch: int
    boot: int | None

    def dated(self, state: State) -> Old:
        if self.boot is None or self.ts is None:
            return self
        boot = state.shifts().get(self.boot)
        return self._replace(ts=None if boot is None or boot.shift is None else self.ts + boot.shift)


# Of numbers only, whatever damage made of them: a body is checked before it is sent, these are not.
OLD = (
    "SELECT number, coalesce(length(body), 0) AS size, CAST(ts AS INTEGER) AS ts, "
    "CAST(coalesce(batch, number) AS INTEGER) AS batch, boot FROM message WHERE"
)


def to_go(
    oldest: Iterable[Old], size: int, batches: int, before: int | None, left: Mapping[int, int]
) -> dict[str, list[Old]]:
    """Of messages in order, the first ones that must go, by the reason why.

    Args:
        size, batches: that are too many.
        before: what is older (microseconds UTC) goes, too; None when nobody can say what time it is.
        left: messages there are of each batch.
    Raises: QueueError when all of them are too few.
    """
    found: dict[str, list[Old]] = {}
    gone: Counter[int] = Counter()
    for old in oldest:
        is_too_old = before is not None and old.ts is not None and old.ts < before
        if not is_too_old and size <= 0 and batches <= 0:
            break
        found.setdefault("too_old" if is_too_old else "queue_full", []).append(old)
        gone[old.batch] += 1
        size, batches = size - old.size, batches - (gone[old.batch] == left[old.batch])
    if size > 0 or batches > 0:
        raise QueueError("queue_full", "the queue is full of what may have been sent; queue.max_bytes allows no more")
    return found

"""How one message of a batch is judged without touching its neighbours; what a believable time is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from .errors import DataError
from .model import SECOND, DeadLetter, Record
from .ports import Outcome

S = TypeVar("S")
T = TypeVar("T")

FUTURE = 5 * 60 * SECOND
DAY = 86_400 * SECOND


def each(items: Sequence[S], record_of: Callable[[S], Record], step: Callable[[S], T]) -> Outcome[T]:
    """Lift a step on one message to a batch.

    A :class:`DataError` names its own reason. Any other exception is a fault of ours: the message becomes a dead letter
    ``internal_error`` that can be replayed once the fault is mended, and the rest of the batch goes on.
    """
    ok: list[T] = []
    failed: list[DeadLetter] = []
    for item in items:
        try:
            ok.append(step(item))
        except DataError as error:
            failed.append(DeadLetter(record_of(item), error.reason, error.detail))
        except Exception as error:
            failed.append(DeadLetter(record_of(item), "internal_error", f"{type(error).__name__}: {error}"))
    return Outcome(ok, failed)


def check_time(first: int, last: int, ts_enqueued: int, max_age_days: int) -> None:
    """Times (microseconds) are judged against the hub's, never against the clock of who happens to process them.

    Raises: DataError ``clock_future`` or ``too_old``.
    """
    if last > ts_enqueued + FUTURE:
        raise DataError("clock_future", f"{(last - ts_enqueued) / SECOND:.0f} s after it was enqueued (limit 300)")
    if first < ts_enqueued - max_age_days * DAY:
        raise DataError("too_old", f"{(ts_enqueued - first) / DAY:.0f} days before it was enqueued ({max_age_days})")

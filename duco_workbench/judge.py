"""How one message of a batch is judged without touching its neighbours; what is known of it unjudged; what a believable
time is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from . import wire
from .errors import DataError
from .model import SECOND, DeadLetter, Record
from .ports import Outcome

S = TypeVar("S")
T = TypeVar("T")

FUTURE = 5 * 60 * SECOND
DAY = 86_400 * SECOND
UNREADABLE = "unknown"  # the msg_type of a body whose head cannot be read
LONGEST_NAME = 64  # of a msg_type; the store keeps few different ones well


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


class Identity(NamedTuple):
    """What a record says of its body without judging it."""

    msg_type: str
    message_id: str
    ts: int
    v: int


def identity(body: bytes, partition: int, sequence: int, ts_enqueued: int) -> Identity:
    """The envelope's own where it can be read, else the hub's word for it."""
    try:
        head = wire.read_head(body)
    except DataError:
        return Identity(UNREADABLE, f"{partition}:{sequence}", ts_enqueued, wire.VERSION)
    msg_type = head.msg_type if len(head.msg_type) <= LONGEST_NAME else UNREADABLE
    return Identity(msg_type, head.message_id, head.ts, head.v)


def check_time(first: int, last: int, ts_enqueued: int, max_age_days: int) -> None:
    """Times (microseconds) are judged against the hub's, never against the clock of who happens to process them.

    Raises: DataError ``clock_future`` or ``too_old``.
    """
    if last > ts_enqueued + FUTURE:
        raise DataError("clock_future", f"{(last - ts_enqueued) / SECOND:.0f} s after it was enqueued (limit 300)")
    if first < ts_enqueued - max_age_days * DAY:
        raise DataError("too_old", f"{(ts_enqueued - first) / DAY:.0f} days before it was enqueued ({max_age_days})")

"""Is this message what it says it is? A pure judgement of one record against itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .. import wire
from ..errors import DataError
from ..judge import check_time, each
from ..model import Message, Record
from ..ports import Outcome


def validator(max_age_days: int = 400) -> Callable[[Sequence[Record]], Outcome[Message]]:
    """A step for :func:`attempt`: reads each body and checks identity and time."""

    def validate(records: Sequence[Record]) -> Outcome[Message]:
        return each(records, lambda record: record, lambda record: _check(record, max_age_days))

    return validate


def _check(record: Record, max_age_days: int) -> Message:
    envelope = wire.decode(record.body)
    if envelope.chassis_id != record.chassis_id:
        said, sent = envelope.chassis_id, record.chassis_id
        raise DataError("wrong_device", f"the payload says {said!r}, the connection was {sent!r}'s")
    check_time(envelope.ts, envelope.ts, record.ts_enqueued, max_age_days)
    return Message(record, envelope)

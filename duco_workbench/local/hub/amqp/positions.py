"""Where a consumer starts: the selector of its link, as a sequence number.

Offsets are the sequence numbers as text: opaque to consumers, like those of Event Hubs. As there, a position beyond
the last message is refused (its checkpoint is of another event hub), and one that retention has removed means the
first message that is kept.
"""

from __future__ import annotations

import re

from ..journal import Journal
from .codec import Described
from .errors import ARGUMENT_ERROR, LinkRefused

START = -1
_SELECTOR = re.compile(
    r"\s*amqp\.annotation\.x-opt-(offset|sequence-number|enqueued-time|enqueuedtimeutc)\s*(>=?)\s*'?([^']*?)'?\s*"
)
_NUMBER = re.compile(r"-?\d{1,18}")


def selector_of(filters: object) -> str | None:
    """The one selector in the filter set of a source; None: from the start. Raises: LinkRefused for other filters."""
    if not isinstance(filters, dict):
        return None
    values = [f.value if isinstance(f, Described) else f for f in filters.values() if f is not None]
    if not values:
        return None
    if len(values) > 1 or not isinstance(values[0], str):
        raise LinkRefused(ARGUMENT_ERROR, f"one selector is understood, not the filters {list(filters)}")
    return values[0]


async def resolve(journal: Journal, partition: int, selector: str | None) -> int:
    """The sequence number after which the consumer reads. Raises: LinkRefused (argument-error)."""
    if selector is None:
        return START
    match = _SELECTOR.fullmatch(selector)
    if not match:
        raise LinkRefused(ARGUMENT_ERROR, f"the selector {selector!r} is not understood")
    kind, operator, text = match.groups()
    last = journal.bounds(partition)[1]
    if text == "@latest":
        return last
    inclusive = operator == ">="
    if kind.startswith("enqueued"):
        return await _by_time(journal, partition, text, inclusive)
    what = kind.replace("-", " ")
    if not _NUMBER.fullmatch(text) or int(text) > last:
        raise LinkRefused(
            ARGUMENT_ERROR, f"The supplied {what} '{text}' is invalid. The last {what} in the system is '{last}'"
        )
    return max(int(text) - inclusive, START)


async def end_of(journal: Journal, partition: int) -> tuple[int, int]:
    """The last sequence and when it was enqueued, microseconds UTC; (-1, 0) and (n, 0) when none is kept."""
    last = journal.bounds(partition)[1]
    kept = await journal.read(partition, last - 1, max_bytes=1)
    return (kept[-1].sequence, kept[-1].enqueued) if kept else (last, 0)


async def _by_time(journal: Journal, partition: int, text: str, inclusive: bool) -> int:
    if not _NUMBER.fullmatch(text):
        raise LinkRefused(ARGUMENT_ERROR, f"The supplied enqueued time '{text}' is invalid: milliseconds are expected")
    # Consumers see enqueued times in whole milliseconds, the journal keeps microseconds.
    milliseconds = int(text) + (0 if inclusive else 1)
    return await journal.sequence_at(partition, milliseconds * 1000 - 1)

"""Bad data is a stream: a step that may refuse messages splits its batch in two."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

from streamz import Stream

from ..ports import Outcome


class Branches(NamedTuple):
    ok: Stream
    failed: Stream


def attempt(batches: Stream, step: Callable[[Sequence[Any]], Outcome[Any]]) -> Branches:
    """``step`` judges a whole batch; ``failed`` carries one dead letter for each message it refused."""
    outcomes = batches.map(step)
    return Branches(ok=outcomes.map(attrgetter("ok")), failed=outcomes.map(attrgetter("failed")))

"""From a damaged file into a new one: every sound message under its old id, and a record of all others.

Nothing of this is seen by anybody before it is complete: as long as the damaged file stands beside the new one, whoever
opens the queue begins again (:meth:`agent.storage.Storage.set_aside`).
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Collection

from duco_workbench.sequences import Run, both, each, runs_of, size, union, without

from .rows import INSERT, checksum
from .salvage import Damaged
from .schema import begin, write_state
from .state import Drop, State
from .storage import QueueError, Storage

CHUNK = 200  # messages in one transaction


def recover(file: Storage, chassis_id: str, now: int, confirmed: Collection[int]) -> str:
    """Fill ``file``, which is new, from the damaged one beside it; what was saved and what is lost, as words.

    Args:
        now: microseconds UTC, the new epoch unless there was a higher one.
        confirmed: numbers the hub has, though the file could not forget them.
    Raises: QueueError; then it can be done again.
    """
    with file.writing() as db:
        begin(db, State(chassis_id, [(0, 0)]))
    noted = file.noted()
    with contextlib.closing(Damaged(file.damaged, chassis_id, file.first_page(), noted[1] if noted else 0)) as damaged:
        if damaged.state:
            damaged.state.confirm(list(each(both(damaged.state.waiting, runs_of(confirmed)))))
        waiting, epochs, trouble = _copy(file, damaged)
        state = damaged.state or State(chassis_id, epochs)
        is_known = damaged.state is not None and noted is not None and noted[1] <= state.number
        lost = _settle_accounts(state, waiting, noted, is_known)
    epoch = file.begin_epoch(now, after=max((epoch for epoch, _ in state.epochs), default=0))
    state.epochs = [*state.epochs, (epoch, state.number)]
    with file.writing() as db:
        write_state(db, state)
    return f"{size(waiting)} messages were saved, {lost}{trouble}"


def _copy(file: Storage, damaged: Damaged) -> tuple[list[Run], list[tuple[int, int]], str]:
    """What is sound; the numbers, their epochs as in :class:`State`, and why it ended before all was copied."""
    waiting: list[Run] = []
    epochs: set[tuple[int, int]] = set()
    messages = damaged.messages()
    try:
        while chunk := list(itertools.islice(messages, CHUNK)):
            rows = [row for row, _ in chunk]
            if not file.has_room(sum(row.size for row in rows)):
                return waiting, sorted(epochs), "; the disk has no room for more"
            with file.writing() as db:
                db.executemany(INSERT, [row._replace(crc=checksum(row)) for row in rows])
            waiting = union(waiting, runs_of(row.number for row in rows))
            epochs |= {(message_id.epoch, row.number - message_id.seq) for row, message_id in chunk}
    except QueueError as error:
        return waiting, sorted(epochs), f"; it ended there: {error}"
    return waiting, sorted(epochs), ""


def _settle_accounts(state: State, waiting: list[Run], noted: tuple[int, int] | None, is_known: bool) -> str:
    """Bring the damaged file's state to what is left of it; what is lost, as words.

    Args:
        waiting: the numbers that were saved.
        noted: epoch and highest number that were given, as :meth:`Storage.noted`.
        is_known: the state could be read, and nothing was given after it.
    """
    lost = without(state.waiting, waiting)
    state.drop("corrupt", list(each(lost)))
    words = f"{size(lost)} are lost"
    if not is_known:
        words += ", and nobody knows which others"
        epoch, number = noted or (state.epoch if state.epochs else 0, "?")
        text = f"the queue was damaged after number {state.number}: others up to {number} may be lost, or confirmed"
        state.tell(Drop("corrupt", epoch, [], text=text))
    state.number = max(state.number, noted[1] if noted else 0, *(last for _, last in waiting))
    state.waiting, state.acknowledged = waiting, 0
    return words

"""The queue: one SQLite file where messages get their ids and wait until the hub has confirmed them.

What :meth:`Queue.put` returned from survives a crash and a power cut; its ids are minted in the same transaction.
All methods are called from one thread at a time (:mod:`agent.keeper` sees to that), never from the event loop.

**A full queue drops its oldest.** A machine that was away for longer than the queue holds comes back with the latest,
in one piece: how it got to where it is now, and not how its absence began. Each message that goes has a number already,
so the same transaction notes which (:class:`agent.state.Drop`), and :meth:`Queue.tell` makes ``drop`` events of the
notes: one for a long absence, not one a message. What may have been sent is never dropped, though no confirmation came:
the hub may have it, and a number is either stored or dropped, never both.

**A damaged file is read row by row** (:mod:`agent.salvage`). What is sound in it moves to a new file with its old ids;
new messages get a new epoch. What should have been in it (:attr:`agent.state.State.waiting`) and could not be read was
dropped, by its numbers. What is in neither had been confirmed: rows are deleted for nothing else.
"""

from __future__ import annotations

import contextlib
import copy
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from duco_workbench import wire
from duco_workbench.errors import ConfigError
from duco_workbench.model import SECOND, Clock, Envelope, MessageId
from duco_workbench.sequences import runs_of

from .drafts import Draft
from .recovery import recover
from .room import OLD, Limits, Old, to_go
from .rows import COLUMNS, INSERT, NORMAL, REALTIME, RECORD, Row, redate, row_of, unpack
from .schema import VERSION, begin, migrate, read_state, write_state
from .state import Counts, State
from .storage import QueueCorrupt, QueueError, Storage

MAX_BODY = 255 << 10  # bytes; the hub takes 256 KiB with the properties
TIDY_BELOW = 1 << 20  # bytes in the queue: copying them costs little
GAP = 20_000_000  # microseconds between two boots: a message is dated by its last frame, the first is up to this older
KEPT_ASIDE = 20  # messages the hub cannot take, kept for a person to look at
MAYBE_SENT = 20  # the oldest of each lane when a file is opened: as many may have been in flight when the process ended
DAY = 86_400 * SECOND

_LIVE, _BACKLOG = f"lane = {REALTIME}", f"lane <> {REALTIME}"
_OLDEST = f"SELECT number FROM message WHERE {{lane}} ORDER BY number LIMIT {MAYBE_SENT}"


class Waiting(NamedTuple):
    """A message as it is sent; ``number``: its place in the file, by which it is confirmed."""

    number: int
    message_id: str
    msg_type: str
    body: bytes
    is_live: bool = False


class Put(NamedTuple):
    """The ids that were minted, and those of them that are too large for the hub."""

    ids: list[MessageId]
    too_large: list[MessageId]


class Stamp(NamedTuple):
    """How messages are dated. ``base``: None when the clock is believed, else what the agent counts from."""

    clock: Clock
    realtime: bool = False
    base: int | None = None


class Queue:
    """``open``, then ``put``, ``take``, ``done`` … in any order, then ``close``.

    Any of them raises QueueError when the disk does not do its part (nothing was changed, it may work later), and
    QueueCorrupt when the file is no good any more (:meth:`replace` helps).

    Args:
        boot: what :func:`agent.clock.boot_id` gives.
    """

    def __init__(self, path: Path, chassis_id: str, boot: str, limits: Limits = Limits()) -> None:  # noqa: B008
        self._file = Storage(path, 2 * limits.bytes + (4 << 20))  # a row's last page is half empty
        self._chassis_id, self._boot, self._limits = chassis_id, boot, limits
        self._state = State(chassis_id, [(0, 0)])
        self._batches: Counter[int] = Counter()  # messages left of each
        self._size = 0  # bytes of what waits, packed
        self._taken: set[int] = set()
        self._maybe_sent: set[int] = set()

    @property
    def counts(self) -> Counts:
        return self._state.counts(self._size)

    @property
    def is_open(self) -> bool:
        return self._file.is_open

    # --- the file

    def open(self, now: int, confirmed: Collection[int] = ()) -> str | None:
        """Open or begin the file; a sentence when the one that was there had to be set aside.

        Args:
            now: microseconds UTC, the epoch of a new file unless there was a higher one.
            confirmed: numbers the hub has, whatever the file says.
        Raises: ConfigError when the file belongs to another machine or agent.
        """
        try:
            self._file.open()
            if self._file.damaged.exists():
                return self.replace(now, "it was being read when the agent ended", confirmed)
            self._open(now)
            return None
        except QueueCorrupt as error:
            return self.replace(now, str(error), confirmed)

    def replace(self, now: int, why: str, confirmed: Collection[int] = ()) -> str:
        """Begin another file, with a higher epoch and all that can be read of this one; a sentence that says so.

        Raises: QueueError, also when what was just written cannot be read; then :meth:`open` begins again.
        """
        flying, maybe_sent = self._taken, self._maybe_sent
        self._file.set_aside()
        try:
            self._file.open()
            words = recover(self._file, self._chassis_id, now, confirmed)
            self._load()
            aside = self._file.quarantine(now)
        except BaseException as error:
            self._file.close()  # what is in it is not all of it
            if isinstance(error, QueueCorrupt):
                raise QueueError("disk_error", f"{self._file.path}: a new file is bad at once: {error}") from None
            raise
        self._taken, self._maybe_sent = flying, self._maybe_sent | maybe_sent
        return f"the queue {self._file.path} was unreadable ({why}) and is kept as {aside.name}; {words}"

    def close(self) -> None:
        self._file.close()

    def _open(self, now: int) -> None:
        with self._file.reading() as db:
            (version,) = db.execute("PRAGMA user_version").fetchone()
        noted = self._file.noted()
        if not version and (noted is None or noted[1]):
            raise QueueCorrupt("it is empty, and was not")
        if not version:
            state = State(self._chassis_id, [(self._file.begin_epoch(now), 0)])
            with self._file.writing() as db:
                begin(db, state)
        elif version < VERSION:
            with self._file.writing() as db:
                migrate(db)
        self._load()

    def _load(self) -> None:
        with self._file.reading() as db:
            state = read_state(db)
            if state.chassis_id != self._chassis_id:
                raise ConfigError(
                    f"{self._file.path} holds messages of {state.chassis_id!r}, not of {self._chassis_id!r}; "
                    "give queue.path another file"
                )
            messages = [Old(*row) for row in db.execute(f"{OLD} TRUE")]
            oldest = [row for lane in (_LIVE, _BACKLOG) for row in db.execute(_OLDEST.format(lane=lane)).fetchall()]
        noted = self._file.noted()
        if noted is None or noted > (state.epoch, state.number):
            raise QueueCorrupt("it may know less than was given: it was put back, or lost its end")
        if runs_of(old.number for old in messages) != state.waiting:
            raise QueueCorrupt("messages are missing in it")
        self._state, self._size = state, sum(old.size for old in messages)
        self._batches = Counter(old.batch for old in messages)
        self._taken, self._maybe_sent = set(), {number for (number,) in oldest}
        self._file.note(state.epoch, state.number)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[tuple[sqlite3.Connection, State]]:
        """A transaction, and a copy of the state to be changed, which is the state when all of it is safe."""
        state = copy.deepcopy(self._state)
        with self._file.writing() as db:
            yield db, state
            write_state(db, state)
        if state.number != self._state.number:
            self._file.note(state.epoch, state.number)
        self._state = state

    # --- messages

    def put(self, drafts: Sequence[Draft], stamp: Stamp) -> Put:
        """Store them, in order; when this returns, they are safe. Too large a one gets an id, and is set aside."""
        with self._changing() as (db, state):
            put, rows, gone = self._put(db, state, drafts, stamp)
        self._forgotten(gone)
        self._stored(rows)
        return put

    def tell(self, now: int, stamp: Stamp) -> int:
        """Make ``drop`` events of what is untold; how many. They have room in a queue that is full."""
        with self._changing() as (db, state):
            told = [event for drop in state.untold for event in drop.as_events()]
            drafts = [Draft("vehicle_event", now, wire.EventBody("drop", "error", data)) for data in told]
            rows, _ = self._rows(state, drafts, stamp, RECORD)
            db.executemany(INSERT, rows)
            for row, data in zip(rows, told, strict=True):
                state.told(row.number, data)
            state.untold = []
        self._stored(rows)
        return len(told)

    @property
    def untold(self) -> int:
        """Runs of messages that were dropped and are in no event yet."""
        return sum(max(len(drop.runs), 1) for drop in self._state.untold)

    def _put(
        self, db: sqlite3.Connection, state: State, drafts: Sequence[Draft], stamp: Stamp
    ) -> tuple[Put, list[Row], list[Old]]:
        rows, large = self._rows(state, drafts, stamp, REALTIME if stamp.realtime else NORMAL)
        if not self._file.has_room(sum(row.size for row in rows)):
            raise QueueError("disk_full", f"{self._file.path}: the disk is full")
        if stamp.base is None and drafts:
            state.newest = max(draft.ts for draft in drafts)
        gone = self._make_room(db, state, rows, stamp)
        db.executemany(INSERT, rows)
        self._lay_aside(db, state, large)
        ids = [state.id_of(number) for number in range(state.number - len(drafts) + 1, state.number + 1)]
        return Put(ids, [state.id_of(row.number) for row in large]), rows, gone

    def _rows(self, state: State, drafts: Sequence[Draft], stamp: Stamp, lane: int) -> tuple[list[Row], list[Row]]:
        """Minted: those that can be sent, and those that are too large."""
        boot = None if stamp.base is None else state.boot(self._boot, stamp.base).number
        numbers = state.give(len(drafts))
        fit: list[Row] = []
        large: list[Row] = []
        for number, draft in zip(numbers, drafts, strict=True):
            body = wire.encode(
                Envelope(
                    msg_type=draft.msg_type,
                    chassis_id=self._chassis_id,
                    message_id=str(state.id_of(number)),
                    ts=max(draft.ts, 0),
                    realtime=stamp.realtime,
                    clock=stamp.clock,
                    payload=draft.payload,
                )
            )
            row = row_of(number, lane, draft.ts, draft.msg_type, boot, numbers[0], body)
            (large if len(body) > MAX_BODY else fit).append(row)
        return fit, large

    def _make_room(self, db: sqlite3.Connection, state: State, rows: Sequence[Row], stamp: Stamp) -> list[Old]:
        """Drop the oldest until the new ones fit. Raises: QueueError when there are not enough that can go."""
        is_kept = stamp.base is None and stamp.clock.source in ("ntp", "gnss")  # a clock that is set wrong ages nobody
        too_old = state.newest - self._limits.age_days * DAY if is_kept else None
        size = self._size + sum(row.size for row in rows) - self._limits.bytes
        batches = len(self._batches) + bool(rows) - self._limits.batches
        droppable = f"{OLD} lane <> {RECORD} AND number NOT IN ({_listed(self._maybe_sent)}) ORDER BY number"
        with contextlib.closing(db.execute(droppable)) as found:
            going = to_go((Old(*row).dated(state) for row in found), size, batches, too_old, self._batches)
        for reason, gone in going.items():
            db.executemany("DELETE FROM message WHERE number = ?", [(old.number,) for old in gone])
            state.drop(reason, [old.number for old in gone], [old.ts for old in gone if old.ts is not None])
        return [old for gone in going.values() for old in gone]

    def take(self, live: int, backlog: int, backlog_bytes: int = 1 << 60) -> list[Waiting]:
        """The next to be sent, up to so many realtime ones and then others, each in order; not again until
        :meth:`rewind`.

        Args:
            backlog_bytes: of the others; one is taken, however large.
        """
        found = self._next(_LIVE, live, 1 << 60) + self._next(_BACKLOG, backlog, backlog_bytes)
        self._taken.update(message.number for message in found)
        self._maybe_sent.update(message.number for message in found)
        return found

    def _next(self, lane: str, most: int, room: int) -> list[Waiting]:
        if most <= 0:
            return []
        waits = [boot.number for boot in self._state.boots if boot.shift is None]
        query = (
            f"SELECT {COLUMNS} FROM message WHERE {lane} AND number NOT IN ({_listed(self._taken)}) "
            f"AND (boot IS NULL OR boot NOT IN ({_listed(waits)})) ORDER BY number LIMIT {most}"
        )
        found: list[Waiting] = []
        with self._file.reading() as db, contextlib.closing(db.execute(query)) as rows:
            for row in map(Row._make, rows):
                waiting = self._waiting(row)
                room -= row.size
                if found and room < 0:
                    break
                found.append(waiting)
        return found

    def _waiting(self, row: Row) -> Waiting:
        if not row.is_sound:
            raise QueueCorrupt(f"message {row.number} is not as it was stored")
        body, boot = unpack(row.body), self._state.shifts().get(row.boot or 0)
        if boot is not None and boot.shift is not None:
            body = redate(body, boot.shift, boot.source)
        message_id = str(self._state.id_of(row.number))
        return Waiting(row.number, message_id, row.msg_type, body, row.lane == REALTIME)

    def done(self, numbers: Sequence[int]) -> None:
        """The hub has these: forget them."""
        with self._file.reading() as db:
            gone = [Old(*row) for row in db.execute(f"{OLD} number IN ({_listed(numbers)})")]
        if gone:
            with self._changing() as (db, state):
                db.execute(f"DELETE FROM message WHERE number IN ({_listed(numbers)})")
                state.confirm([old.number for old in gone])
        self._forgotten(gone)
        self._taken.difference_update(numbers)
        if self._size < TIDY_BELOW:
            self._file.tidy()

    def rewind(self) -> None:
        """What was taken and is not done is taken again, the oldest first."""
        self._taken.clear()

    def set_aside(self, number: int) -> str:
        """The hub cannot take this one: it is never sent, the latest few are kept to be looked at. Its message id."""
        with self._changing() as (db, state):
            rows = [Row(*row) for row in db.execute(f"SELECT {COLUMNS} FROM message WHERE number = {number}")]
            db.execute(f"DELETE FROM message WHERE number = {number}")
            self._lay_aside(db, state, rows)
        self._forgotten([Old(row.number, row.size, row.ts, row.batch or row.number, None) for row in rows])
        self._taken.discard(number)
        return str(self._state.id_of(number))

    def _lay_aside(self, db: sqlite3.Connection, state: State, rows: Sequence[Row]) -> None:
        db.executemany("INSERT INTO aside VALUES (?, ?, ?)", [(row.number, row.msg_type, row.body) for row in rows])
        db.execute(
            f"DELETE FROM aside WHERE number NOT IN (SELECT number FROM aside ORDER BY number DESC LIMIT {KEPT_ASIDE})"
        )
        if rows:
            state.drop("too_large", [row.number for row in rows], [row.ts for row in rows if row.boot is None])

    def oldest(self) -> int | None:
        """Device time of the oldest message that waits (microseconds UTC)."""
        with self._file.reading() as db:
            row = db.execute(f"SELECT ts FROM ({OLD} TRUE) ORDER BY number LIMIT 1").fetchone()
        return row and int(row[0])

    def count_drops(self, reason: str, number: int) -> None:
        """So many messages were lost that never had a number."""
        with self._changing() as (_, state):
            state.drops = {**state.drops, reason: state.drops.get(reason, 0) + number}

    def _stored(self, rows: Sequence[Row]) -> None:
        self._batches.update(row.batch or row.number for row in rows)
        self._size += sum(row.size for row in rows)

    def _forgotten(self, gone: Sequence[Old]) -> None:
        self._batches.subtract(old.batch for old in gone)
        for batch in {old.batch for old in gone}:
            if not self._batches[batch]:
                del self._batches[batch]
        self._size -= sum(old.size for old in gone)
        self._maybe_sent.difference_update(old.number for old in gone)

    # --- time

    @property
    def is_undated(self) -> bool:
        """Messages of this boot or an earlier one wait for the time to be found."""
        return any(boot.shift is None for boot in self._state.boots)

    def settle(self, base: int, source: str, now: int) -> None:
        """Time was found: monotonic zero of this boot was at ``base``, and it is ``now`` (microseconds UTC).

        What this boot made moves by what its count was off. What an earlier boot made, of which that can never be
        known, is placed right before it, in its order, with clock source ``none``.
        """
        with self._changing() as (db, state):
            end = now
            for boot in reversed([boot for boot in state.boots if boot.shift is None]):
                span = f"SELECT min(ts), max(ts) FROM ({OLD} boot = ?)"
                first, last = db.execute(span, (boot.number,)).fetchone()
                boot.shift = base - boot.base if boot.id == self._boot else end - 1 - (last or 0)
                boot.source = source if boot.id == self._boot else "none"
                end = min(end, first + boot.shift - GAP) if first is not None else end
            used = {number for (number,) in db.execute("SELECT DISTINCT boot FROM message")}
            state.boots = [boot for boot in state.boots if boot.number in used]


def _listed(numbers: Iterable[int]) -> str:
    return ",".join(map(str, numbers))

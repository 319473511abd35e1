"""The queue: one SQLite file where messages get their ids and wait until the hub has confirmed them.

What :meth:`Queue.put` returned from survives a crash and a power cut; its ids are minted in the same transaction.
All methods are called from one thread at a time (:mod:`agent.keeper` sees to that), never from the event loop.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from duco_workbench import wire
from duco_workbench.errors import ConfigError
from duco_workbench.model import Clock, Envelope, MessageId

from .drafts import Draft
from .storage import QueueCorrupt, QueueError, Storage

NORMAL, REALTIME, ASIDE = 0, 1, 2  # lanes; what is set aside is never sent
MAX_BODY = 255 << 10  # bytes; the hub takes 256 KiB with the properties
TIDY_BELOW = 1 << 20  # bytes in the queue: copying them costs little
GAP = 20_000_000  # microseconds between two boots: a message is dated by its last frame, the first is up to this older
KEPT_ASIDE = 20  # messages the hub cannot take, kept for a person to look at

_SCHEMA = """
CREATE TABLE state (
    one INTEGER PRIMARY KEY CHECK (one = 1), chassis_id TEXT NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL,
    acknowledged INTEGER NOT NULL, newest INTEGER NOT NULL, drops TEXT NOT NULL);
CREATE TABLE boot (number INTEGER PRIMARY KEY, id TEXT NOT NULL, base INTEGER NOT NULL, shift INTEGER, source TEXT);
CREATE TABLE message (
    seq INTEGER PRIMARY KEY, lane INTEGER NOT NULL, size INTEGER NOT NULL, ts INTEGER NOT NULL, msg_type TEXT NOT NULL,
    boot INTEGER, body BLOB NOT NULL);
CREATE INDEX realtime ON message (seq) WHERE lane = 1;
PRAGMA user_version = 1;
"""


class Waiting(NamedTuple):
    """A message as it is sent."""

    seq: int
    message_id: str
    msg_type: str
    body: bytes


class Put(NamedTuple):
    """The ids that were minted, and those of them that are too large for the hub."""

    ids: list[MessageId]
    too_large: list[MessageId]


class Stamp(NamedTuple):
    """How messages are dated. ``base``: None when the clock is believed, else what the agent counts from."""

    clock: Clock
    realtime: bool = False
    base: int | None = None


@dataclass(slots=True)
class Counts:
    """What the queue holds; ``seq``: highest minted, ``acknowledged``: messages confirmed since ``epoch``."""

    epoch: int = 0
    seq: int = 0
    acknowledged: int = 0
    depth: int = 0
    size: int = 0
    newest: int = 0
    drops: dict[str, int] = field(default_factory=dict)


class Queue:
    """``open``, then ``put``, ``take``, ``done`` … in any order, then ``close``.

    Any of them raises QueueError when the disk does not do its part (nothing was changed, it may work later), and
    QueueCorrupt when the file is no good any more (:meth:`replace` helps).

    Args:
        boot: what :func:`agent.clock.boot_id` gives.
    """

    def __init__(self, path: Path, chassis_id: str, boot: str, max_bytes: int) -> None:
        self._file = Storage(path)
        self._chassis_id, self._boot, self._max_bytes = chassis_id, boot, max_bytes
        self._taken: set[int] = set()
        self._boots: dict[int, tuple[int, str] | None] = {}  # number -> shift and source, None while unknown
        self.counts = Counts()

    # --- the file

    def open(self, now: int) -> str | None:
        """Open or begin the file; a sentence when the one that was there had to be set aside.

        Args:
            now: microseconds UTC, the epoch of a new file unless there was a higher one.
        Raises: ConfigError when the file belongs to another machine or agent.
        """
        try:
            self._open(now)
            return None
        except QueueCorrupt as error:
            return self.replace(now, str(error))

    def replace(self, now: int, why: str) -> str:
        """Set the file aside and begin another, with a higher epoch; what was done, as a sentence."""
        aside = self._file.set_aside(now)
        self._open(now)
        return f"the queue {self._file.path} was unreadable ({why}); it is kept as {aside.name}, a new one was begun"

    def close(self) -> None:
        self._file.close()

    def _open(self, now: int) -> None:
        self._file.open()
        with self._file.reading() as db:
            (version,) = db.execute("PRAGMA user_version").fetchone()
        if not version:
            self._begin(now)
        with self._file.reading() as db:
            self._read_state(db)

    def _begin(self, now: int) -> None:
        epoch = self._file.remembered_epoch(now)
        with self._file.writing() as db:
            for statement in filter(str.strip, _SCHEMA.split(";")):
                db.execute(statement)
            db.execute("INSERT INTO state VALUES (1, ?, ?, 0, 0, 0, '{}')", (self._chassis_id, epoch))

    def _read_state(self, db: sqlite3.Connection) -> None:
        row = db.execute("SELECT chassis_id, epoch, seq, acknowledged, newest, drops FROM state").fetchone()
        if row is None:
            raise QueueCorrupt("it has no state")
        if row[0] != self._chassis_id:
            raise ConfigError(
                f"{self._file.path} holds messages of {row[0]!r}, not of {self._chassis_id!r}; "
                "give queue.path another file"
            )
        depth, size = db.execute("SELECT count(*), coalesce(sum(size), 0) FROM message WHERE lane < 2").fetchone()
        drops = msgspec.json.decode(row[5], type=dict[str, int])
        self.counts = Counts(row[1], row[2], row[3], depth, size, row[4], drops)
        boots = db.execute("SELECT number, shift, source FROM boot").fetchall()
        self._boots = {number: None if shift is None else (shift, source) for number, shift, source in boots}
        self._taken.clear()

    # --- messages

    def put(self, drafts: Sequence[Draft], stamp: Stamp) -> Put:
        """Store them, in order; when this returns, they are safe. Too large a one is stored, but set aside."""
        counts = self.counts
        seqs = range(counts.seq + 1, counts.seq + 1 + len(drafts))
        ids = [MessageId(self._chassis_id, counts.epoch, seq) for seq in seqs]
        rows = [self._row(draft, message_id, stamp) for draft, message_id in zip(drafts, ids, strict=True)]
        sizes = [row[2] for row in rows if row[1] != ASIDE]
        if counts.size + sum(sizes) > self._max_bytes:
            raise QueueError(
                "queue_full", f"{self._file.path} holds {counts.size} bytes, queue.max_bytes allows no more"
            )
        if not self._file.has_room(sum(sizes)):
            raise QueueError("disk_full", f"{self._file.path}: the disk is full")
        newest = max(draft.ts for draft in drafts) if stamp.base is None and drafts else counts.newest
        with self._file.writing() as db:
            boot = None if stamp.base is None else self._this_boot(db, stamp.base)
            db.executemany(f"INSERT INTO message VALUES (?, ?, ?, ?, ?, {boot or 'NULL'}, ?)", rows)
            db.execute("UPDATE state SET seq = ?, newest = ?", (counts.seq + len(rows), newest))
        if boot is not None:
            self._boots[boot] = None
        counts.seq, counts.newest = counts.seq + len(rows), newest
        counts.depth, counts.size = counts.depth + len(sizes), counts.size + sum(sizes)
        return Put(ids, [message_id for message_id, row in zip(ids, rows, strict=True) if row[1] == ASIDE])

    def _row(self, draft: Draft, message_id: MessageId, stamp: Stamp) -> tuple[int, int, int, int, str, bytes]:
        body = wire.encode(
            Envelope(
                msg_type=draft.msg_type,
                chassis_id=self._chassis_id,
                message_id=str(message_id),
                ts=max(draft.ts, 0),
                realtime=stamp.realtime,
                clock=stamp.clock,
                payload=draft.payload,
            )
        )
        lane = ASIDE if len(body) > MAX_BODY else REALTIME if stamp.realtime else NORMAL
        packed = _pack(body)
        return message_id.seq, lane, len(packed), draft.ts, draft.msg_type, packed

    def _this_boot(self, db: sqlite3.Connection, base: int) -> int:
        known = db.execute("SELECT number FROM boot WHERE id = ? AND base = ? AND shift IS NULL", (self._boot, base))
        if row := known.fetchone():
            return int(row[0])
        number = db.execute("INSERT INTO boot (id, base) VALUES (?, ?)", (self._boot, base)).lastrowid
        assert number is not None
        return number

    def take(self, count: int) -> list[Waiting]:
        """The next to be sent, realtime before the others, each in order; not again until :meth:`rewind`."""
        found: list[Waiting] = []
        for lane in (REALTIME, NORMAL):
            if len(found) < count:
                found += self._next(lane, count - len(found))
        self._taken.update(message.seq for message in found)
        return found

    def _next(self, lane: int, count: int) -> list[Waiting]:
        taken = ",".join(map(str, self._taken))
        waits = [number for number, shift in self._boots.items() if shift is None]
        known = f"AND (boot IS NULL OR boot NOT IN ({','.join(map(str, waits))}))" if waits else ""
        with self._file.reading() as db:
            rows = db.execute(
                f"SELECT seq, msg_type, boot, body FROM message WHERE lane = {lane} AND seq NOT IN ({taken}) {known} "
                "ORDER BY seq LIMIT ?",
                (count,),
            ).fetchall()
            return [Waiting(seq, self._id(seq), kind, self._body(boot, body)) for seq, kind, boot, body in rows]

    def _id(self, seq: int) -> str:
        return str(MessageId(self._chassis_id, self.counts.epoch, seq))

    def _body(self, boot: int | None, packed: bytes) -> bytes:
        body = _unpack(packed)
        settled = self._boots.get(boot) if boot is not None else None
        return redate(body, *settled) if settled else body

    def done(self, seqs: Sequence[int]) -> None:
        """The hub has these: forget them."""
        marks = ",".join(map(str, seqs))
        with self._file.writing() as db:
            (size,) = db.execute(f"SELECT coalesce(sum(size), 0) FROM message WHERE seq IN ({marks})").fetchone()
            gone = db.execute(f"DELETE FROM message WHERE seq IN ({marks})").rowcount
            db.execute("UPDATE state SET acknowledged = acknowledged + ?", (gone,))
        counts = self.counts
        counts.acknowledged += gone
        counts.depth, counts.size = counts.depth - gone, counts.size - size
        self._taken.difference_update(seqs)
        if counts.size < TIDY_BELOW:
            self._file.tidy()

    def rewind(self) -> None:
        """What was taken and is not done is taken again, the oldest first."""
        self._taken.clear()

    def set_aside(self, seq: int) -> str:
        """The hub cannot take this one: it is never sent, the latest few are kept to be looked at. Its message id."""
        with self._file.writing() as db:
            (size,) = db.execute("SELECT coalesce(sum(size), 0) FROM message WHERE seq = ?", (seq,)).fetchone()
            db.execute(f"UPDATE message SET lane = {ASIDE} WHERE seq = ?", (seq,))
            db.execute(
                f"DELETE FROM message WHERE lane = {ASIDE} AND seq NOT IN "
                f"(SELECT seq FROM message WHERE lane = {ASIDE} ORDER BY seq DESC LIMIT {KEPT_ASIDE})"
            )
        self.counts.depth, self.counts.size = self.counts.depth - 1, self.counts.size - size
        self._taken.discard(seq)
        return self._id(seq)

    def oldest(self) -> int | None:
        """Device time of the oldest message that waits (microseconds UTC)."""
        with self._file.reading() as db:
            row = db.execute(f"SELECT ts FROM message WHERE lane <> {ASIDE} ORDER BY seq LIMIT 1").fetchone()
        return row and int(row[0])

    def count_drops(self, reason: str, count: int) -> None:
        drops = self.counts.drops
        drops[reason] = drops.get(reason, 0) + count
        with self._file.writing() as db:
            db.execute("UPDATE state SET drops = ?", (msgspec.json.encode(drops).decode(),))

    # --- time

    @property
    def is_undated(self) -> bool:
        """Messages of this boot or an earlier one wait for the time to be found."""
        return None in self._boots.values()

    def settle(self, base: int, source: str, now: int) -> None:
        """Time was found: monotonic zero of this boot was at ``base``, and it is ``now`` (microseconds UTC).

        What this boot made moves by what its count was off. What an earlier boot made, of which that can never be
        known, is placed right before it, in its order, with clock source ``none``.
        """
        with self._file.writing() as db:
            boots = db.execute("SELECT number, id, base FROM boot WHERE shift IS NULL ORDER BY number DESC").fetchall()
            end = now
            for number, boot, counted in boots:
                first, last = db.execute("SELECT min(ts), max(ts) FROM message WHERE boot = ?", (number,)).fetchone()
                shift = base - counted if boot == self._boot else end - 1 - (last or 0)
                source_of = source if boot == self._boot else "none"
                db.execute("UPDATE boot SET shift = ?, source = ? WHERE number = ?", (shift, source_of, number))
                self._boots[number] = (shift, source_of)
                end = min(end, first + shift - GAP) if first is not None else end
            db.execute("DELETE FROM boot WHERE shift IS NOT NULL AND number NOT IN (SELECT boot FROM message)")


def _pack(body: bytes) -> bytes:
    """Huffman coding alone: a quarter less on the flash (base64 has 6 bits in 8), at next to no cost."""
    packer = zlib.compressobj(1, zlib.DEFLATED, -15, 9, zlib.Z_HUFFMAN_ONLY)
    return packer.compress(body) + packer.flush()


def _unpack(packed: bytes) -> bytes:
    return zlib.decompress(packed, -15)


def redate(body: bytes, shift: int, source: str) -> bytes:
    """The envelope ``shift`` microseconds later, its frames too, dated by ``source``."""
    envelope: dict[str, Any] = msgspec.json.decode(body)
    envelope["ts"] = max(envelope["ts"] + shift, 0)
    envelope["clock"]["source"] = source
    for block in envelope["payload"].get("blocks", ()):
        block["t0"] = max(block["t0"] + shift, 0)
    return msgspec.json.encode(envelope)

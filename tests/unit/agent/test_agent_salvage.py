"""A damaged queue: whatever happens to its bytes, what can be read is sent under its id, the rest is told of."""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent import storage
from agent.drafts import Draft
from agent.queue import Queue, Stamp
from agent.room import Limits
from agent.storage import QueueCorrupt, QueueError
from duco_workbench import wire
from duco_workbench.model import SECOND, Clock
from duco_workbench.sequences import each

NOW = 1_760_000_000 * SECOND
NORMAL, REALTIME = Stamp(Clock("ntp")), Stamp(Clock("ntp"), realtime=True)
PAGE = 4096
SEEDS = range(int(os.environ.get("DUCO_SEEDS", "40")))
RIVAL = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], timeout=0.1)
db.execute("PRAGMA locking_mode = EXCLUSIVE")
db.execute("DELETE FROM message")
"""


@pytest.fixture(autouse=True)
def small_reserve(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else each queue of a test leaves 20 MB on the disk."""
    monkeypatch.setattr(storage, "LOG_PAGES", 512)


def opened(folder: Path, batches: int = 10_000, now: int = NOW) -> tuple[Queue, str | None]:
    found = Queue(folder / "queue.db", "T", "boot", Limits(batches=batches))
    return found, found.open(now)


def event(chance: random.Random) -> Draft:
    text = chance.randbytes(chance.choice((5, 900, 3000, 9000))).hex()
    return Draft("vehicle_event", NOW + chance.randrange(SECOND), wire.EventBody("test", "info", {"text": text}))


class Past:
    """What a queue gave before it was damaged: bodies by id, which of them waited, and what was told of as dropped."""

    def __init__(self, folder: Path, chance: random.Random, steps: int = 60) -> None:
        self.folder, self.chance = folder, chance
        self.queue, _ = opened(folder, batches=40)
        self.bodies: dict[str, bytes] = {}
        self.confirmed: set[str] = set()
        for _ in range(steps):
            self.queue.put([event(chance) for _ in range(chance.randint(1, 3))], chance.choice((NORMAL, REALTIME)))
            self.look()
            if chance.random() < 0.4:
                taken = self.queue.take(2, chance.randint(0, 3))
                sent = taken[: chance.randint(0, 5)]
                self.queue.done([message.number for message in sent])
                self.confirmed |= {message.message_id for message in sent}
                self.queue.rewind()
        self.waiting = set(self.look())
        self.given = set(self.bodies) | {f"T:{self.queue.counts.epoch}:{seq}" for seq in range(self.queue.counts.seq)}

    def look(self) -> dict[str, bytes]:
        self.queue.rewind()
        found = {message.message_id: message.body for message in self.queue.take(10_000, 10_000)}
        self.queue.rewind()
        self.queue._maybe_sent.clear()  # they were not
        self.bodies |= found
        return found

    def end(self) -> None:
        """As a process that is killed ends: the log stands beside the file; or as one that is stopped."""
        names = ("queue.db", "queue.db-wal")
        found = {name: (self.folder / name).read_bytes() for name in names if (self.folder / name).exists()}
        self.queue.close()
        if self.chance.random() < 0.5:
            for name, content in found.items():
                (self.folder / name).write_bytes(content)


def overwritten(content: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(content))
    content[at : at + chance.choice((1, 20, 500, 10_000))] = chance.randbytes(chance.choice((1, 20, 500)))


def flipped(content: bytearray, chance: random.Random) -> None:
    for _ in range(chance.choice((1, 1, 30))):
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)


def cut(content: bytearray, chance: random.Random) -> None:
    del content[chance.randrange(len(content)) :]


def zeroed(content: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(content) // PAGE + 1) * PAGE
    content[at : at + PAGE] = bytes(len(content[at : at + PAGE]))


def garbage_header(content: bytearray, chance: random.Random) -> None:
    content[: chance.choice((16, 100, PAGE))] = chance.randbytes(chance.choice((16, 100, PAGE)))


DAMAGES = (overwritten, flipped, cut, zeroed, garbage_header)


def damage(folder: Path, chance: random.Random) -> None:
    """To one of the files, or to two."""
    files = [folder / name for name in ("queue.db", "queue.db-wal", "queue.db.epoch") if (folder / name).exists()]
    weights = [6, 3, 1] if len(files) == 3 else [8, 1]
    for file in chance.choices(files, weights, k=chance.choice((1, 1, 2))):
        content = bytearray(file.read_bytes())
        if content:
            chance.choice(DAMAGES)(content, chance)
            file.write_bytes(content)


def everything(queue: Queue) -> tuple[dict[str, bytes], list[dict[str, Any]]]:
    """What it sends, and what it tells of drops. It may find only now that it is damaged: as the keeper does."""
    for _ in range(5):
        try:
            queue.rewind()
            queue.tell(NOW, NORMAL)
            found = queue.take(10_000, 10_000)
        except QueueCorrupt as error:
            queue.replace(NOW, str(error))
            continue
        assert [m.number for m in found if m.is_live] == sorted(m.number for m in found if m.is_live)
        assert [m.number for m in found if not m.is_live] == sorted(m.number for m in found if not m.is_live)
        assert len({m.message_id for m in found}) == len(found)
        bodies = {message.message_id: message.body for message in found}
        payloads = [wire.decode(body).payload for body in bodies.values()]
        return bodies, [payload.data for payload in payloads if payload.name == "drop"]
    raise AssertionError("damaged again and again")


def ids_in(drops: list[dict[str, Any]]) -> set[str]:
    return {f"T:{d['epoch']}:{seq}" for d in drops for first, last in d["runs"] for seq in range(first, last + 1)}


@pytest.mark.parametrize("seed", SEEDS)
def test_damage_at_random_loses_nothing_without_a_record_and_gives_no_id_twice(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    past = Past(tmp_path, chance)
    dropped_before = {f"T:{drop.epoch}:{seq}" for drop in past.queue._state.untold for seq in each(drop.runs)}
    past.end()
    damage(tmp_path, chance)
    queue, _ = opened(tmp_path, now=NOW + SECOND)
    sent, drops = everything(queue)
    try:
        put = queue.put([event(chance) for _ in range(3)], NORMAL)
    except QueueCorrupt as error:  # found only now
        queue.replace(NOW, str(error))
        put = queue.put([event(chance) for _ in range(3)], NORMAL)
        sent, drops = everything(queue)
    new = {str(message_id) for message_id in put.ids}
    queue.close()
    assert not new & past.given, "an id was given again"
    for message_id in past.given & set(sent):
        assert sent[message_id] == past.bodies[message_id], "an id with another body"
    told = ids_in(drops)
    assert not told & set(sent)
    assert not told & past.confirmed
    if not any("text" in drop for drop in drops):
        assert past.waiting - set(sent) == told - dropped_before, "lost without a record"
        assert dropped_before <= told


def row_places(path: Path) -> dict[int, bytes]:
    """Part of each message's body, as it stands in the file."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        return {number: body[10:40] for number, body in db.execute("SELECT number, body FROM message")}


def test_one_bad_row_costs_one_message(tmp_path: Path) -> None:
    past = Past(tmp_path, random.Random(7), steps=20)
    past.queue.close()
    path = tmp_path / "queue.db"
    places = row_places(path)
    victim = sorted(places)[len(places) // 2]
    path.write_bytes(path.read_bytes().replace(places[victim], bytes(30)))
    queue, sentence = opened(tmp_path)
    assert sentence is None, "SQLite sees nothing wrong"
    sent, drops = everything(queue)
    assert [drop["runs"] for drop in drops if drop["reason"] == "corrupt"] == [[[victim, victim]]]
    assert set(past.waiting) - set(sent) == {f"T:{NOW}:{victim}"}
    assert queue.counts.epoch == NOW + 1


def test_a_row_that_is_gone_without_a_trace_is_told(tmp_path: Path) -> None:
    past = Past(tmp_path, random.Random(7), steps=20)
    past.queue.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "queue.db")) as db:
        numbers = [number for (number,) in db.execute("SELECT number FROM message")]
        db.execute("DELETE FROM message WHERE number = ?", (victim := numbers[3],))
        db.commit()
    queue, sentence = opened(tmp_path)
    assert "messages are missing in it" in str(sentence)
    sent, drops = everything(queue)
    assert [drop["runs"] for drop in drops if drop["reason"] == "corrupt"] == [[[victim, victim]]]
    assert past.waiting - set(sent) == {f"T:{NOW}:{victim}"}


def test_a_bad_first_page_costs_nothing(tmp_path: Path) -> None:
    past = Past(tmp_path, random.Random(8))
    past.queue.close()
    path = tmp_path / "queue.db"
    path.write_bytes(random.Random(8).randbytes(PAGE) + path.read_bytes()[PAGE:])
    queue, sentence = opened(tmp_path)
    assert sentence is not None
    assert f"{len(past.waiting)} messages were saved, 0 are lost" in sentence
    assert past.waiting <= set(everything(queue)[0])


def test_old_messages_go_before_new_ones_under_their_own_ids(tmp_path: Path) -> None:
    queue, _ = opened(tmp_path)
    queue.put([event(random.Random(1)) for _ in range(3)], NORMAL)
    for epoch in (1, 2):
        queue.replace(NOW, "test")
        queue.put([event(random.Random(1))], NORMAL)
        assert (queue.counts.epoch, queue.counts.seq, queue.counts.first) == (NOW + epoch, 1, 1)
    ids = [message.message_id for message in queue.take(0, 99)]
    assert ids == [f"T:{NOW}:1", f"T:{NOW}:2", f"T:{NOW}:3", f"T:{NOW + 1}:1", f"T:{NOW + 2}:1"]
    queue.close()
    queue, _ = opened(tmp_path)
    assert [message.message_id for message in queue.take(0, 99)] == ids
    queue.done([1, 2, 3])
    assert (queue.counts.acknowledged, queue.counts.depth) == (0, 2), "counted from where the epoch began"
    assert queue.counts.older == 1


def test_a_state_that_nobody_can_read_is_told_as_such(tmp_path: Path) -> None:
    queue, _ = opened(tmp_path)
    queue.put([event(random.Random(1)) for _ in range(3)], NORMAL)
    queue.done([2])
    queue.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "queue.db")) as db:
        db.execute("UPDATE state SET text = replace(text, 'T', 'U')")
        db.commit()
    queue, _ = opened(tmp_path)
    sent, (drop,) = everything(queue)
    assert (drop["epoch"], drop["runs"], drop["count"], drop["first"]) == (NOW, [], 0, None)
    assert "up to 3 may be lost" in drop["text"]
    assert {f"T:{NOW}:1", f"T:{NOW}:3"} <= set(sent)


def test_a_file_that_was_put_back_gives_no_id_again(tmp_path: Path) -> None:
    queue, _ = opened(tmp_path)
    queue.put([event(random.Random(1)) for _ in range(3)], NORMAL)
    queue.close()
    before = (tmp_path / "queue.db").read_bytes()
    queue, _ = opened(tmp_path)
    queue.put([event(random.Random(2)) for _ in range(3)], NORMAL)
    queue.close()
    (tmp_path / "queue.db").write_bytes(before)
    queue, sentence = opened(tmp_path)
    assert sentence is not None
    sent, (drop,) = everything(queue)
    assert len(sent) == 4
    assert drop["runs"] == []
    assert "after number 3: others up to 6 may be lost" in drop["text"]
    assert queue.counts.epoch == NOW + 1


@pytest.mark.parametrize(
    "at", ["begin", "write_state", "Storage.begin_epoch", "Storage.quarantine", "Storage.first_page"]
)
def test_a_salvage_that_is_killed_is_begun_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    past = Past(tmp_path, random.Random(9))
    past.queue.close()
    path = tmp_path / "queue.db"
    content = path.read_bytes()
    path.write_bytes(content[:PAGE] + bytes(PAGE // 2) + content[PAGE + PAGE // 2 :])
    target = f"agent.storage.{at}" if at.startswith("Storage") else f"agent.recovery.{at}"
    monkeypatch.setattr(target, lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        opened(tmp_path)
    monkeypatch.undo()
    queue, sentence = opened(tmp_path)
    assert sentence is not None
    assert past.waiting <= set(everything(queue)[0])
    assert not (tmp_path / "queue.db.damaged").exists()


@pytest.mark.parametrize("is_readable", [True, False])
def test_a_salvage_that_is_begun_again_knows_what_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_readable: bool
) -> None:
    queue, _ = opened(tmp_path)
    queue.put([event(random.Random(1)) for _ in range(3)], NORMAL)
    queue.done([1, 2, 3])
    if not is_readable:
        with queue._file.writing() as db:
            db.execute("UPDATE state SET text = replace(text, 'T', 'U')")

    def full(*_: Any) -> None:
        raise QueueError("disk_full", "the disk is full")

    monkeypatch.setattr("agent.recovery.write_state", full)
    with pytest.raises(QueueError):
        queue.replace(NOW, "test")
    monkeypatch.undo()
    queue, sentence = opened(tmp_path)
    assert ("nobody knows which others" in str(sentence)) is not is_readable
    queue.put([event(random.Random(1))], NORMAL)
    assert [message.number for message in queue.take(9, 9)] == [4]


def test_after_a_salvage_nobody_else_can_write_to_the_file(tmp_path: Path) -> None:
    queue, _ = opened(tmp_path)
    queue.replace(NOW, "test")
    queue.put([event(random.Random(1))], NORMAL)
    found = subprocess.run([sys.executable, "-c", RIVAL, str(tmp_path / "queue.db")], capture_output=True, text=True)
    assert "locked" in found.stderr


def test_only_the_latest_damaged_files_are_kept(tmp_path: Path) -> None:
    queue, _ = opened(tmp_path)
    for at in range(5):
        queue.replace(NOW + at, "test")
    kept = sorted(path.name for path in tmp_path.glob("queue.db.corrupt-*"))
    assert kept == [f"queue.db.corrupt-{NOW + 3}", f"queue.db.corrupt-{NOW + 4}"]


VERSION_1 = """
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


def of_version_1(folder: Path) -> dict[str, bytes]:
    """A file as the first version left it: 1 to 6 given, 1 confirmed, 2 set aside, 4 realtime, 5 and 6 undated."""
    source = folder / "source"
    queue, _ = opened(source)
    queue.put([event(random.Random(at)) for at in range(3)], NORMAL)
    queue.put([event(random.Random(3))], REALTIME)
    queue.put([event(random.Random(at)) for at in (4, 5)], Stamp(Clock(), base=7))
    with queue._file.reading() as db:
        rows = db.execute(
            "SELECT number, lane, size, ts, msg_type, boot, body FROM message WHERE number > 1"
        ).fetchall()
    queue.settle(0, "ntp", NOW)
    bodies = {message.message_id: message.body for message in queue.take(9, 9)}
    queue.close()
    with contextlib.closing(sqlite3.connect(folder / "queue.db")) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript(VERSION_1)
        db.executemany("INSERT INTO message VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        db.execute("UPDATE message SET lane = 2 WHERE seq = 2")
        db.execute("INSERT INTO boot VALUES (1, 'boot', 7, NULL, NULL)")
        db.execute("INSERT INTO state VALUES (1, 'T', ?, 6, 1, ?, '{\"too_large\": 1}')", (NOW, NOW))
        db.commit()
    (folder / "queue.db.epoch").write_text(str(NOW))
    return {message_id: body for message_id, body in bodies.items() if not message_id.endswith((":1", ":2"))}


def test_a_file_of_the_first_version_goes_on(tmp_path: Path) -> None:
    expected = of_version_1(tmp_path)
    queue, sentence = opened(tmp_path)
    assert sentence is None
    counts = queue.counts
    assert (counts.epoch, counts.seq, counts.first, counts.acknowledged, counts.depth) == (NOW, 6, 3, 1, 4)
    assert (counts.newest, counts.drops) == (NOW, {"too_large": 1})
    assert [message.number for message in queue.take(9, 9)] == [4, 3]
    queue.settle(0, "ntp", NOW)
    queue.rewind()
    assert {message.message_id: message.body for message in queue.take(9, 9)} == expected
    queue.done([3, 4])
    assert queue.put([event(random.Random(9))], NORMAL).ids[0].seq == 7
    queue.close()
    assert opened(tmp_path)[0].counts.depth == 3


@pytest.mark.parametrize("harm", [cut, garbage_header, zeroed])
def test_a_damaged_file_of_the_first_version_is_read_as_far_as_it_can_be(
    tmp_path: Path, harm: Callable[[bytearray, random.Random], None]
) -> None:
    expected = of_version_1(tmp_path)
    content = bytearray((tmp_path / "queue.db").read_bytes())
    harm(content, random.Random(3))
    (tmp_path / "queue.db").write_bytes(content)
    queue, sentence = opened(tmp_path)
    sent, drops = everything(queue)
    assert all(sent[message_id] == body for message_id, body in expected.items() if message_id in sent)
    assert f"T:{NOW}:2" not in sent, "it was set aside"
    assert sentence is None or any(drop["runs"] or "text" in drop for drop in drops)

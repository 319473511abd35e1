"""The queue: ids minted once, nothing lost that was put, whatever happens to process, disk, file and clock."""

from __future__ import annotations

import base64
import contextlib
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import storage
from agent.drafts import Draft
from agent.queue import GAP, KEPT_ASIDE, MAX_BODY, Queue, Stamp, Waiting
from agent.room import Limits
from agent.state import MAX_RUNS, Drop
from agent.storage import QueueCorrupt, QueueError
from duco_workbench import wire
from duco_workbench.errors import ConfigError
from duco_workbench.model import SECOND, Clock, MessageId
from duco_workbench.sequences import Run, each, runs_of

NOW = 1_760_000_000 * SECOND
YEAR = 365 * 86_400 * SECOND
NORMAL, REALTIME = Stamp(Clock("ntp")), Stamp(Clock("ntp"), realtime=True)
LARGE = Limits()


@pytest.fixture(autouse=True)
def small_reserve(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else each queue of a test leaves 20 MB on the disk."""
    monkeypatch.setattr(storage, "LOG_PAGES", 512)


def queue(folder: Path, boot: str = "boot-1", limits: Limits = LARGE, chassis_id: str = "T:1") -> Queue:
    """Opened; the one before it may have been killed: nothing was said to it."""
    found = Queue(folder / "queue.db", chassis_id, boot, limits)
    assert found.open(NOW) is None
    return found


def killed(queue: Queue) -> None:
    """What is left of a process that was killed: the file as it is, and no lock on it."""
    queue.close()


def event(text: str = "", ts: int = NOW) -> Draft:
    return Draft("vehicle_event", ts, wire.EventBody("test", "info", {"text": text}))


def events(count: int, size: int = 4) -> list[Draft]:
    """Of so many random letters, which hardly compress."""
    letters = random.Random(count)
    return [event(base64.b64encode(letters.randbytes(size * 3 // 4)).decode()) for _ in range(count)]


def can(ts: int, t0: int) -> Draft:
    return Draft("vehicle_can", ts, wire.Can([wire.Block("can0", t0, 0, wire.CLASSIC, "eJwDAAAAAAE=")]))


def seqs(messages: list[Waiting]) -> list[int]:
    return [message.number for message in messages]


def test_what_is_put_is_taken_in_order_with_ids_that_rise(tmp_path: Path) -> None:
    q = queue(tmp_path)
    ids, too_large = q.put([event("a"), event("b")], NORMAL)
    assert (ids, too_large) == ([MessageId("T:1", NOW, 1), MessageId("T:1", NOW, 2)], [])
    assert q.put([event("c")], NORMAL).ids == [MessageId("T:1", NOW, 3)]
    taken = q.take(10, 10)
    assert [m.message_id for m in taken] == [f"T:1:{NOW}:{seq}" for seq in (1, 2, 3)]
    envelope = wire.decode(taken[1].body)
    assert (envelope.message_id, envelope.msg_type, envelope.ts) == (f"T:1:{NOW}:2", "vehicle_event", NOW)
    assert (envelope.payload.data, envelope.clock, envelope.realtime) == ({"text": "b"}, Clock("ntp"), False)
    assert (taken[1].msg_type, q.take(10, 10)) == ("vehicle_event", [])


def test_what_was_taken_and_not_confirmed_is_taken_again(tmp_path: Path) -> None:
    q = queue(tmp_path)
    q.put(events(5), NORMAL)
    assert seqs(q.take(3, 3)) == [1, 2, 3]
    q.done([2])
    q.rewind()
    assert seqs(q.take(9, 9)) == [1, 3, 4, 5]


def test_realtime_goes_first_and_each_lane_in_order(tmp_path: Path) -> None:
    q = queue(tmp_path)
    q.put(events(3), NORMAL)
    q.put(events(2), REALTIME)
    assert seqs(q.take(1, 0)) == [4]
    q.put(events(1), REALTIME)
    assert seqs(q.take(3, 1)) == [5, 6, 1]
    assert wire.decode(q.take(1, 1)[0].body).realtime is False
    q.rewind()
    found = q.take(3, 1)
    assert [wire.decode(m.body).realtime for m in found] == [m.is_live for m in found] == [True, True, True, False]


def test_of_the_backlog_no_more_bytes_are_taken_than_asked_for(tmp_path: Path) -> None:
    q = queue(tmp_path)
    q.put(events(9, size=10_000), NORMAL)
    q.put(events(2, size=10_000), REALTIME)
    assert seqs(q.take(2, 9, 25_000)) == [10, 11, 1, 2, 3][: 2 + 25_000 // (q.counts.size // 11)]
    assert len(q.take(2, 9, 1)) == 1, "however large"


def test_everything_survives_a_restart(tmp_path: Path) -> None:
    q = queue(tmp_path)
    q.put(events(5), NORMAL)
    q.take(5, 5)
    q.done([1, 2])
    q.count_drops("disk_full", 7)
    size = q.counts.size
    killed(q)
    q = queue(tmp_path)
    assert (q.counts.epoch, q.counts.seq, q.counts.acknowledged, q.counts.depth) == (NOW, 5, 2, 3)
    assert (q.counts.size, q.counts.newest, q.counts.drops) == (size, NOW, {"disk_full": 7})
    assert seqs(q.take(9, 9)) == [3, 4, 5]
    q.done([3, 4, 5])
    killed(q)
    assert queue(tmp_path).put([event()], NORMAL).ids == [MessageId("T:1", NOW, 6)], "though nothing was left in it"


def test_done_again_and_unknown_changes_nothing(tmp_path: Path) -> None:
    q = queue(tmp_path)
    q.put(events(2), NORMAL)
    for _ in range(2):
        q.done([1, 77])
    q.done([])
    assert (q.counts.acknowledged, q.counts.depth, q.oldest()) == (1, 1, NOW)
    q.done([2])
    assert (q.counts.size, q.oldest()) == (0, None)


def told(q: Queue) -> list[dict[str, Any]]:
    """What is told of drops now: the data of the events, which are taken and done."""
    q.tell(NOW, NORMAL)
    found = q.take(0, 1000)
    bodies = [wire.decode(message.body).payload for message in found]
    q.rewind()
    q.done([message.number for message, body in zip(found, bodies, strict=True) if body.name == "drop"])
    return [body.data for body in bodies if body.name == "drop"]


def test_a_full_queue_drops_its_oldest_batches_and_tells_which(tmp_path: Path) -> None:
    q = queue(tmp_path, limits=Limits(batches=30))
    for at in range(60):
        q.put([event("a", NOW + at), event("b", NOW + at)], NORMAL)
    assert (q.counts.depth, q.counts.drops) == (60, {"queue_full": 60})
    killed(q)
    q = queue(tmp_path, limits=Limits(batches=30))
    q.put([event("c", NOW + 60)], NORMAL)
    (drop,) = told(q)
    # Opened again, it cannot know whether the 20 oldest were sent; the next ones go.
    assert drop == {
        "reason": "queue_full",
        "epoch": NOW,
        "runs": [[1, 60], [81, 82]],
        "count": 62,
        "first": NOW,
        "last": NOW + 40,
    }
    assert seqs(q.take(0, 1000)) == [*range(61, 81), *range(83, 122)]
    assert told(q) == [], "once"


def test_a_drop_is_told_in_the_form_of_the_golden_file(tmp_path: Path) -> None:
    golden = Path(__file__).parents[2] / "data" / "wire" / "vehicle_event_drop.json"
    known = wire.decode(golden.read_bytes()).payload
    with queue(tmp_path)._changing() as (_, state):
        runs = [Run(first, last) for first, last in known.data["runs"]]
        drop = Drop("queue_full", known.data["epoch"], runs, known.data["first"], known.data["last"])
        state.tell(drop)
    (told,) = drop.as_events()
    body = wire.EventBody("drop", "error", told)
    assert msgspec.json.encode(body) == msgspec.json.encode(known)


def test_a_queue_of_too_many_bytes_drops_as_many_as_it_must(tmp_path: Path) -> None:
    q = queue(tmp_path, limits=Limits(bytes=100_000))
    for _ in range(40):
        q.put(events(1, size=10_000), NORMAL)
    (drop,) = told(q)
    assert 80_000 < q.counts.size <= 100_000
    assert drop["runs"] == [[1, 40 - q.counts.depth]]
    with pytest.raises(QueueError) as caught:
        q.put(events(20, size=10_000), NORMAL)
    assert caught.value.reason == "queue_full"
    assert seqs(q.take(0, 99))[0] == drop["count"] + 1, "and nothing was dropped for what can never be held"


def test_what_may_have_been_sent_is_not_dropped(tmp_path: Path) -> None:
    q = queue(tmp_path, limits=Limits(batches=30))
    for _ in range(10):
        q.put(events(1), NORMAL)
    assert seqs(q.take(0, 4)) == [1, 2, 3, 4]
    q.done([2])
    q.rewind()
    for _ in range(40):
        q.put(events(1), NORMAL)
    assert seqs(q.take(0, 4)) == [1, 3, 4, 24]
    (drop,) = told(q)
    assert drop["runs"] == [[5, 23]]


def test_what_tells_of_drops_is_not_dropped(tmp_path: Path) -> None:
    q = queue(tmp_path, limits=Limits(batches=10))
    for at in range(100):
        q.put(events(1), NORMAL)
        if at % 30 == 29:
            q.tell(NOW, NORMAL)
    drops = told(q)
    covered = sorted(seq for drop in drops for first, last in drop["runs"] for seq in range(first, last + 1))
    assert len(drops) == 4
    assert covered == sorted(set(covered))
    waiting = seqs(q.take(0, 99))
    assert sorted([*covered, *waiting]) == [seq for seq in range(1, 105) if seq not in (31, 62, 93, 104)]


def test_what_is_older_than_the_limit_is_dropped_by_a_clock_that_is_kept(tmp_path: Path) -> None:
    q = queue(tmp_path, limits=Limits(age_days=365))
    q.put([event("", NOW), event("", NOW + SECOND)], NORMAL)
    q.put([event("", NOW + 2 * YEAR)], Stamp(Clock("rtc")))
    assert q.counts.depth == 3, "a clock that somebody set to another year ages nothing"
    q.put([event("", NOW + YEAR + SECOND)], NORMAL)
    assert told(q) == [{"reason": "too_old", "epoch": NOW, "runs": [[1, 1]], "count": 1, "first": NOW, "last": NOW}]


def test_nothing_counts_as_lost_that_the_hub_is_still_to_be_told_of(tmp_path: Path) -> None:
    q = queue(tmp_path, limits=Limits(batches=3))
    for _ in range(5):
        q.put(events(1), NORMAL)
    assert (q.counts.first, q.counts.depth) == (1, 3), "1 and 2 are dropped, and in no event yet"
    assert q.tell(NOW, NORMAL) == 1
    killed(q)
    q = queue(tmp_path)
    assert q.counts.first == 1, "the event waits as number 6"
    q.done([3])
    assert q.counts.first == 1
    q.done([6])
    assert q.counts.first == 4
    q.replace(NOW, "test")
    assert q.counts.first == 1, "of another epoch"


def test_a_record_of_very_many_runs_is_several_events(tmp_path: Path) -> None:
    q = queue(tmp_path)
    with q._changing() as (_, state):
        state.tell(Drop("corrupt", 7, runs_of(range(1, 2401, 2))))
    drops = told(q)
    assert [len(drop["runs"]) for drop in drops] == [MAX_RUNS, MAX_RUNS, 200]
    assert sum(drop["count"] for drop in drops) == q.counts.drops["corrupt"] == 1200


def test_a_drop_and_its_record_are_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process ends when the rows are deleted and their record is not yet written: none are deleted."""
    q = queue(tmp_path, limits=Limits(batches=30))
    for _ in range(60):
        q.put(events(1), NORMAL)
    monkeypatch.setattr("agent.queue.write_state", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        q.put(events(5), NORMAL)
    monkeypatch.undo()
    killed(q)
    q = queue(tmp_path, limits=Limits(batches=30))
    assert (q.counts.depth, q.counts.drops) == (30, {"queue_full": 30})
    assert [drop["runs"] for drop in told(q)] == [[[1, 30]]]


def fill_disk(q: Queue, pages: int | None) -> None:
    """SQLite then finds no room for more than so many pages."""
    with q._file.reading() as db:
        db.execute(f"PRAGMA max_page_count = {pages or 1 << 30}")


def test_a_full_disk_keeps_what_is_there_and_takes_more_when_there_is_room(tmp_path: Path) -> None:
    q = queue(tmp_path)
    q.put(events(3), NORMAL)
    fill_disk(q, 10)
    with pytest.raises(QueueError) as caught:
        q.put(events(3, size=40_000), NORMAL)
    assert caught.value.reason == "disk_full"
    assert seqs(q.take(9, 9)) == [1, 2, 3]
    q.done([1, 2])
    assert (q.counts.depth, q.counts.acknowledged) == (1, 2), "to forget needs no room"
    fill_disk(q, None)
    assert [i.seq for i in q.put(events(1, size=40_000), NORMAL).ids] == [4]


def test_the_file_has_a_ceiling(tmp_path: Path) -> None:
    q = queue(tmp_path, limits=Limits(bytes=10 << 20))
    with q._file.reading() as db:
        (pages,) = db.execute("PRAGMA max_page_count").fetchone()
    assert 20 << 20 <= pages * storage.PAGE < 25 << 20


def test_a_folder_that_cannot_be_written_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(QueueError) as caught:
        Queue(tmp_path / "file" / "queue.db", "T", "b", LARGE).open(NOW)
    assert caught.value.reason == "disk_error"
    assert str(tmp_path / "file") in str(caught.value)


def test_another_machines_queue_is_refused(tmp_path: Path) -> None:
    queue(tmp_path).close()
    with pytest.raises(ConfigError, match=r"T:1.*OTHER.*queue\.path"):
        queue(tmp_path, chassis_id="OTHER")


def test_two_agents_on_one_file_are_refused(tmp_path: Path) -> None:
    first = queue(tmp_path)
    with pytest.raises(ConfigError, match="another agent"):
        queue(tmp_path)
    first.put(events(1), NORMAL)


def damaged_head(path: Path) -> None:
    path.write_bytes(b"no database at all" * 100)


def damaged_middle(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096:] = b"\x5a" * (len(content) - 4096)
    path.write_bytes(content)


def emptied(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("DELETE FROM state")
        db.commit()


@pytest.mark.parametrize("damage", [damaged_head, damaged_middle, emptied])
def test_a_corrupt_file_is_set_aside_and_ids_are_never_given_again(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    q = queue(tmp_path)
    q.put(events(3), NORMAL)
    q.close()
    damage(tmp_path / "queue.db")
    q = Queue(tmp_path / "queue.db", "T:1", "boot-1", LARGE)
    sentence = q.open(NOW - 5 * YEAR)  # and the clock is wrong, too
    assert sentence is not None
    (aside,) = (path for path in tmp_path.glob("queue.db.corrupt-*") if not path.name.endswith("-wal"))
    assert aside.name in sentence
    assert q.counts.epoch > NOW
    assert q.put([event()], NORMAL).ids == [MessageId("T:1", q.counts.epoch, 1)]


def test_a_file_that_turns_bad_while_in_use_is_told_and_replaced(tmp_path: Path) -> None:
    q = queue(tmp_path)
    q.put(events(1, size=200_000), NORMAL)
    q.close()
    content = (tmp_path / "queue.db").read_bytes()
    (tmp_path / "queue.db").write_bytes(content[:-100_000] + b"\x5a" * 100_000)
    q = queue(tmp_path)
    with pytest.raises(QueueCorrupt):
        q.take(1, 1)
    assert "kept as" in q.replace(NOW, "test")
    assert (q.counts.epoch, q.counts.depth, q.take(9, 9)) == (NOW + 1, 0, [])
    (drop,) = told(q)
    assert (drop["reason"], drop["epoch"], drop["runs"]) == ("corrupt", NOW, [[1, 1]])


def test_a_lost_file_gives_no_old_ids(tmp_path: Path) -> None:
    queue(tmp_path).close()
    for file in tmp_path.glob("queue.db*"):
        if not file.name.endswith(".epoch"):
            file.unlink()
    assert queue(tmp_path).counts.epoch == NOW + 1


def test_too_large_for_the_hub_is_kept_aside_and_blocks_nothing(tmp_path: Path) -> None:
    q = queue(tmp_path)
    put = q.put([event("a"), event("x" * MAX_BODY), event("b")], NORMAL)
    assert put.too_large == [MessageId("T:1", NOW, 2)]
    assert seqs(q.take(9, 9)) == [1, 3]
    assert q.counts.depth == 2
    q.done([1, 3])
    assert (q.counts.depth, q.counts.size, q.oldest()) == (0, 0, None)


def test_of_what_is_set_aside_the_latest_are_kept(tmp_path: Path) -> None:
    q = queue(tmp_path)
    q.put(events(KEPT_ASIDE + 5), NORMAL)
    for message in q.take(99, 99):
        assert q.set_aside(message.number) == message.message_id
    q.rewind()
    assert (q.take(9, 9), q.counts.depth, q.counts.size) == ([], 0, 0)
    with q._file.reading() as db:
        assert db.execute("SELECT count(*), min(number) FROM aside").fetchone() == (KEPT_ASIDE, 6)


def test_after_an_outage_the_disk_gets_its_room_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "TIDY_ABOVE", 8 << 20)
    q = queue(tmp_path)
    for _ in range(6):
        q.put(events(30, size=100_000), NORMAL)
    killed(q)
    assert (tmp_path / "queue.db").stat().st_size > 10 << 20
    q = queue(tmp_path)
    while messages := q.take(50, 50):
        q.done(seqs(messages))
    assert sum(file.stat().st_size for file in (tmp_path / name for name in ("queue.db", "queue.db-wal"))) < 1 << 20


# --- time


def undated(base: int, source: str = "none") -> Stamp:
    return Stamp(Clock(source), base=base)


def test_what_is_undated_waits_and_moves_when_time_is_found(tmp_path: Path) -> None:
    q = queue(tmp_path)
    q.put([event("before")], NORMAL)
    base = -20 * YEAR  # what the count was off, for monotonic zero at 0
    q.put([event("a", NOW + base), can(NOW + base, NOW + base - 9 * SECOND)], undated(base))
    assert seqs(q.take(9, 9)) == [1]
    assert q.is_undated
    q.settle(0, "gnss", NOW)
    assert not q.is_undated
    a, frames = (wire.decode(message.body) for message in q.take(9, 9))
    assert (a.ts, a.clock.source, a.payload.data) == (NOW, "gnss", {"text": "a"})
    assert (frames.ts, frames.payload.blocks[0].t0) == (NOW, NOW - 9 * SECOND)


def test_an_agent_that_was_restarted_in_the_same_boot_dates_what_was_made_before(tmp_path: Path) -> None:
    q = queue(tmp_path)
    q.put([event("a", 5 * SECOND)], undated(0))
    killed(q)
    q = queue(tmp_path)
    q.put([event("b", 7 * SECOND + 3)], undated(3))  # its count began a little different
    assert q.take(9, 9) == []
    q.settle(NOW, "ntp", NOW + 9 * SECOND)
    assert [wire.decode(m.body).ts - NOW for m in q.take(9, 9)] == [5 * SECOND, 7 * SECOND]


def test_boots_that_never_knew_the_time_come_right_before_the_first_that_does(tmp_path: Path) -> None:
    for boot, count in (("first", 2), ("second", 1)):
        q = queue(tmp_path, boot)
        q.put([event(f"{boot}-{at}", at * SECOND) for at in range(count)], undated(0))
        killed(q)
    q = queue(tmp_path, "third")
    q.put([event("third", 4 * SECOND)], undated(0))
    q.settle(NOW, "ntp", NOW + 10 * SECOND)
    found = [wire.decode(message.body) for message in q.take(9, 9)]
    assert [e.payload.data["text"] for e in found] == ["first-0", "first-1", "second-0", "third"]
    assert [e.clock.source for e in found] == ["none", "none", "none", "ntp"]
    assert found[3].ts == NOW + 4 * SECOND
    assert found[2].ts == found[3].ts - GAP - 1
    assert found[1].ts == found[2].ts - GAP - 1
    assert found[1].ts - found[0].ts == SECOND, "in between it is as it was"
    killed(q)
    assert [wire.decode(m.body).ts for m in queue(tmp_path, "fourth").take(9, 9)] == [e.ts for e in found]


def test_settled_boots_are_forgotten_when_nothing_of_them_is_left(tmp_path: Path) -> None:
    q = queue(tmp_path)
    q.put([event("a", 0)], undated(0))
    q.settle(NOW, "ntp", NOW)
    q.done(seqs(q.take(9, 9)))
    q.put([event("b", 0)], undated(1))
    q.settle(NOW, "ntp", NOW)
    assert len(q._state.boots) == 1


def test_only_a_time_that_was_believed_is_remembered(tmp_path: Path) -> None:
    q = queue(tmp_path)
    q.put([event("", NOW)], NORMAL)
    q.put([event("", NOW + YEAR)], undated(0))
    assert q.counts.newest == NOW


# --- any interleaving

LITTLE = Limits(batches=3)

steps = st.one_of(
    st.tuples(st.just("put"), st.integers(0, 4), st.sampled_from(["normal", "realtime", "undated"])),
    st.tuples(st.just("take"), st.integers(1, 4)),
    st.tuples(st.just("done"), st.integers(0, 10)),
    st.tuples(st.just("aside"), st.integers(0, 10)),
    st.tuples(st.sampled_from(["rewind", "crash", "reboot", "full", "settle", "corrupt"])),
)


class Model:
    """What a queue must be able to show, whatever was done to it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.boot = folder, 1
        self.queue = queue(folder, "boot-1", LITTLE)
        self.sent: set[str] = set()  # taken at any time
        self.waiting: dict[str, str] = {}  # id -> text
        self.ever: set[str] = set()
        self.in_flight: list[Waiting] = []
        self.aside_ids: set[str] = set()
        self.made = 0

    def reopen(self) -> None:
        self.queue.close()
        self.queue = queue(self.folder, f"boot-{self.boot}", LITTLE)
        self.in_flight = []

    def put(self, count: int, how: str) -> None:
        stamp = {"normal": NORMAL, "realtime": REALTIME, "undated": undated(self.boot)}[how]
        drafts = [event(f"text-{self.made + at}") for at in range(count)]
        self.made += count
        try:
            ids = [str(message_id) for message_id in self.queue.put(drafts, stamp).ids]
        except QueueError:  # all that is in it may have been sent
            return
        assert not self.ever & set(ids), "an id was given twice"
        self.ever |= set(ids)
        self.waiting |= {i: draft.payload.data["text"] for i, draft in zip(ids, drafts, strict=True)}
        dropped = {f"T:1:{d.epoch}:{seq}" for d in self.queue._state.untold for seq in each(d.runs)}
        assert not dropped & self.sent - self.aside_ids
        self.waiting = {i: text for i, text in self.waiting.items() if i not in dropped}

    def take(self, count: int) -> None:
        taken = self.queue.take(count, count)
        flying = {message.message_id for message in self.in_flight}
        for message in taken:
            assert message.message_id not in flying, "taken twice without a rewind"
            assert wire.decode(message.body).payload.data["text"] == self.waiting[message.message_id]
        self.in_flight += taken
        self.sent |= {message.message_id for message in taken}

    def done(self, at: int) -> None:
        if self.in_flight:
            message = self.in_flight.pop(at % len(self.in_flight))
            self.queue.done([message.number])
            del self.waiting[message.message_id]

    def aside(self, at: int) -> None:
        if self.in_flight:
            message = self.in_flight.pop(at % len(self.in_flight))
            self.aside_ids.add(self.queue.set_aside(message.number))
            del self.waiting[message.message_id]

    def rewind(self) -> None:
        self.queue.rewind()
        self.in_flight = []

    def crash(self) -> None:
        self.reopen()

    def reboot(self) -> None:
        self.boot += 1
        self.reopen()

    def full(self) -> None:
        before = self.queue.counts.seq
        fill_disk(self.queue, 1)
        with pytest.raises(QueueError):
            self.queue.put([*events(1, size=200_000)], NORMAL)
        fill_disk(self.queue, None)
        assert self.queue.counts.seq == before

    def settle(self) -> None:
        self.queue.settle(NOW, "ntp", NOW)

    def corrupt(self) -> None:
        """Nothing in it is damaged: all of it is in the new file, and what is in flight may be confirmed."""
        self.queue.replace(NOW, "test")

    def check(self) -> None:
        assert self.queue.counts.depth == len(self.waiting)
        self.settle()
        self.rewind()
        found = self.queue.take(1000, 1000)
        assert {message.message_id for message in found} == set(self.waiting), "lost, or come back"
        assert all(wire.decode(m.body).payload.data["text"] == self.waiting[m.message_id] for m in found)


@settings(max_examples=120, deadline=None)
@given(st.lists(steps, max_size=30))
def test_any_interleaving_loses_nothing_and_repeats_no_id(
    tmp_path_factory: pytest.TempPathFactory, plan: list[tuple[Any, ...]]
) -> None:
    model = Model(tmp_path_factory.mktemp("queue"))
    for name, *arguments in plan:
        getattr(model, name)(*arguments)
    model.check()
    model.reopen()
    model.check()
    model.queue.close()

"""What the queue knows besides its messages: one struct, stored in one row, in the transaction that changes it.

A message has a **number** in its file. Numbers rise without end; an epoch's seq counts from 1 where the epoch began, so
that messages of an older epoch, saved from a damaged file, keep their ids and stand before the new ones.

The file holds exactly the messages whose numbers are in :attr:`State.waiting`. What has a number, is not there and was
never dropped, the hub has confirmed: so it is known of a damaged file which messages it should have held.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from duco_workbench.model import MessageId
from duco_workbench.sequences import Run, runs_of, size, union, up_to, without

MAX_RUNS = 500  # in one event, some 15 KB


class Boot(msgspec.Struct):
    """A boot in which time was not known.

    ``base``: when it believed monotonic zero was; ``shift``: how wrong that was, None until time is found.
    """

    number: int
    id: str
    base: int
    shift: int | None = None
    source: str = ""


class Drop(msgspec.Struct):
    """Messages of one epoch that the hub will never get, for one reason.

    Attributes:
        runs: of their seqs; empty when nobody can say which, then ``text`` says what is known.
        first, last: their device times (microseconds UTC), None when not known.
    """

    reason: str
    epoch: int
    runs: list[Run]
    first: int | None = None
    last: int | None = None
    text: str = ""

    def add(self, other: Drop) -> None:
        self.runs = union(self.runs, other.runs)
        times = [at for at in (self.first, self.last, other.first, other.last) if at is not None]
        self.first, self.last = (min(times), max(times)) if times else (None, None)
        self.text = self.text or other.text

    def as_events(self) -> Iterator[dict[str, Any]]:
        """The ``data`` of ``drop`` events, several when there are very many runs."""
        for at in range(0, max(len(self.runs), 1), MAX_RUNS):
            runs = self.runs[at : at + MAX_RUNS]
            data = {"reason": self.reason, "epoch": self.epoch, "runs": runs, "count": size(runs)}
            data |= {"first": self.first, "last": self.last}
            yield {**data, "text": self.text} if self.text else data


class Record(msgspec.Struct):
    """A ``drop`` event that waits: its number, and the lowest seq it tells of."""

    number: int
    epoch: int
    first: int


@dataclass(frozen=True, slots=True)
class Counts:
    """What the queue holds; ``seq``: highest minted; ``acknowledged``: messages confirmed since ``epoch``; ``first``:
    lowest of this epoch that waits, or was dropped and is in no event that the hub has, ``seq + 1`` without any: below
    it, what the hub has neither had nor been told of is lost; ``older``: how much of earlier epochs is as open."""

    epoch: int = 0
    seq: int = 0
    first: int = 1
    older: int = 0
    acknowledged: int = 0
    depth: int = 0
    size: int = 0
    newest: int = 0
    drops: dict[str, int] = field(default_factory=dict)


class State(msgspec.Struct):
    """Of one queue file.

    Attributes:
        epochs: each with the number before its first message, rising; the last is the one that messages are given now.
        number: the highest given.
        waiting: the numbers of the messages in the file.
        acknowledged: messages of this epoch that the hub has confirmed.
        newest: the latest device time that was believed (microseconds UTC).
        drops: messages that were lost since this epoch began, by reason, with a number or without.
        untold: what was dropped and is in no event yet.
        records: the events that tell of the others, while they wait.
    """

    chassis_id: str
    epochs: list[tuple[int, int]]
    number: int = 0
    waiting: list[Run] = []
    acknowledged: int = 0
    newest: int = 0
    drops: dict[str, int] = {}
    untold: list[Drop] = []
    records: list[Record] = []
    boots: list[Boot] = []

    @property
    def epoch(self) -> int:
        return self.epochs[-1][0]

    @property
    def before(self) -> int:
        return self.epochs[-1][1]

    @property
    def seq(self) -> int:
        return self.number - self.before

    def counts(self, held: int) -> Counts:
        """``held``: bytes of what waits."""
        return Counts(
            epoch=self.epoch,
            seq=self.seq,
            first=min(self._open(), default=self.seq + 1),
            older=size(up_to(self.waiting, self.before)) + sum(epoch != self.epoch for epoch, _ in self._untold()),
            acknowledged=self.acknowledged,
            depth=size(self.waiting),
            size=held,
            newest=self.newest,
            drops=self.drops,
        )

    def _open(self) -> Iterator[int]:
        """Seqs of this epoch, the lowest of them among these, of which the hub is still to hear."""
        yield from (max(a - self.before, 1) for a, b in self.waiting if b > self.before)
        yield from (seq for epoch, seq in self._untold() if epoch == self.epoch)

    def _untold(self) -> Iterator[tuple[int, int]]:
        """(epoch, lowest seq) of what was dropped and is in no event that the hub has."""
        yield from ((drop.epoch, drop.runs[0].first) for drop in self.untold if drop.runs)
        yield from ((record.epoch, record.first) for record in self.records)

    def id_of(self, number: int) -> MessageId:
        epoch, before = next(known for known in reversed(self.epochs) if known[1] < number)
        return MessageId(self.chassis_id, epoch, number - before)

    def give(self, count: int) -> range:
        """The next numbers, which wait from now on."""
        numbers = range(self.number + 1, self.number + 1 + count)
        if count:
            self.waiting = union(self.waiting, [Run(numbers[0], numbers[-1])])
            self.number = numbers[-1]
        return numbers

    def confirm(self, numbers: Sequence[int]) -> None:
        self._leave(numbers)
        self.acknowledged += sum(number > self.before for number in numbers)

    def _leave(self, numbers: Sequence[int]) -> None:
        self.waiting = without(self.waiting, runs_of(numbers))
        gone = set(numbers) if self.records else set()
        self.records = [record for record in self.records if record.number not in gone]

    def told(self, number: int, data: Mapping[str, Any]) -> None:
        """An event with that number tells of it; ``data``: as :meth:`Drop.as_events` gives it."""
        if data["runs"]:
            self.records.append(Record(number, data["epoch"], data["runs"][0].first))

    def drop(self, reason: str, numbers: Sequence[int], times: Sequence[int] = ()) -> None:
        """They wait no more, and it is to be told."""
        self._leave(numbers)
        first, last = (min(times), max(times)) if times else (None, None)
        for epoch, before in self.epochs:
            seqs = [number - before for number in numbers if self.id_of(number).epoch == epoch]
            if seqs:
                self.tell(Drop(reason, epoch, runs_of(seqs), first, last))

    def tell(self, drop: Drop) -> None:
        """An event is to tell of it."""
        self.drops = {**self.drops, drop.reason: self.drops.get(drop.reason, 0) + size(drop.runs)}
        alike = [known for known in self.untold if (known.reason, known.epoch) == (drop.reason, drop.epoch)]
        if alike:
            alike[0].add(drop)
        else:
            self.untold.append(drop)

    def boot(self, boot_id: str, base: int) -> Boot:
        """The one that counts from there, noted when it is new."""
        for boot in self.boots:
            if (boot.id, boot.base, boot.shift) == (boot_id, base, None):
                return boot
        self.boots.append(Boot(max((boot.number for boot in self.boots), default=0) + 1, boot_id, base))
        return self.boots[-1]

    def shifts(self) -> dict[int, Boot]:
        return {boot.number: boot for boot in self.boots}


def to_row(state: State) -> tuple[str, int]:
    """Its text and the checksum of that."""
    text = msgspec.json.encode(state)
    return text.decode(), zlib.crc32(text)


def from_row(text: Any, checksum: Any) -> State | None:
    """None when it is not what was written."""
    if not isinstance(text, str) or zlib.crc32(text.encode()) != checksum:
        return None
    try:
        return msgspec.json.decode(text, type=State)
    except msgspec.MsgspecError:
        return None

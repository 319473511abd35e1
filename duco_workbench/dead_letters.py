"""Dead letters: which there are, what is in one, and putting them back on the raw log to be judged by today's logic.

A letter is closed by the flow, not by who replays it (``schema/sql``, 0005 and 0006): a replay may be killed at any
point and run again, and running it twice changes nothing. A message that is good when it is merely delivered again
closes its letter too. All times are microseconds UTC; those that choose letters are the hub's, since a refused message
may say any time.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .errors import ConfigError
from .judge import identity
from .model import PASSED, Record, Replay
from .ports import Sink
from .sinks.clickhouse import connect, reported

PAGE = 100  # letters whose bodies are in memory at once; the hub takes no body above 256 KiB
POLL_S = 0.3

_TIMES = ("ts", "ts_enqueued", "ts_ingested")
_TEXTS = ("tenant", "chassis_id", "msg_type", "message_id", "hub_partition", "hub_sequence", "v")
_LETTER = ", ".join(
    [
        *_TEXTS,
        *(f"toUnixTimestamp64Micro({name}) AS {name}_us" for name in (*_TIMES, "replayed_at")),
        "letter, reason, detail, base64Encode(body) AS packed_body",  # bytes that are no text
    ]
)
_CHOSEN = """
    (empty({machine:String}) OR chassis_id = {machine:String})
AND (empty({reason:String}) OR reason = {reason:String})
AND (empty({letters:Array(String)}) OR has({letters:Array(String)}, letter))
AND toUnixTimestamp64Micro(ts_enqueued) >= {since:Int64} AND toUnixTimestamp64Micro(ts_enqueued) < {until:Int64}
"""
_BY_REASON = f"""
SELECT
    reason, chassis_id, msg_type, toInt64(count()) AS count, toUnixTimestamp64Micro(min(ts_enqueued)) AS first,
    toUnixTimestamp64Micro(max(ts_enqueued)) AS last, argMax(letter, (ts_enqueued, letter)) AS example,
    argMax(detail, (ts_enqueued, letter)) AS detail
FROM dead_letters_view WHERE {_CHOSEN}
GROUP BY reason, chassis_id, msg_type ORDER BY reason, chassis_id, msg_type LIMIT {{limit:UInt32}}
"""
_EACH = f"""
SELECT {_LETTER} FROM dead_letters_view WHERE {_CHOSEN}
ORDER BY ts_enqueued DESC, letter LIMIT {{limit:UInt32}}
"""
_LIKE = """
SELECT tenant, chassis_id, letter, max(letter = {letter:String}) AS is_whole FROM dead_letters
WHERE startsWith(letter, {letter:String}) AND (empty({machine:String}) OR chassis_id = {machine:String})
GROUP BY tenant, chassis_id, letter ORDER BY is_whole DESC, letter LIMIT 2
"""
_JUDGED = f"""
SELECT {_LETTER} FROM dead_letters FINAL
WHERE tenant = {{tenant:String}} AND chassis_id = {{chassis_id:String}} AND letter = {{letter:String}}
ORDER BY replayed_at, reason DESC
"""
_KEYS = (
    f"SELECT tenant, chassis_id, letter FROM dead_letters_view WHERE {_CHOSEN} ORDER BY tenant, chassis_id, ts, letter"
)
# The view would look at every letter for each page.
_PAGE = f"""
SELECT {_LETTER} FROM dead_letters
WHERE (tenant, chassis_id, letter) IN {{keys:Array(Tuple(String, String, String))}}
ORDER BY replayed_at DESC, reason LIMIT 1 BY tenant, chassis_id, letter
"""
_LAST_REPLAY = "SELECT toUnixTimestamp64Micro(max(replayed_at)) AS at FROM dead_letters"
_OUTCOME = """
SELECT judgement, toInt64(count()) AS count
FROM (
    SELECT min(reason) AS judgement FROM dead_letters
    WHERE replayed_at = fromUnixTimestamp64Micro({at:Int64}) GROUP BY tenant, chassis_id, letter
)
GROUP BY judgement ORDER BY judgement
"""


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which letters; empty fields choose all. ``since`` and ``until`` are of ``ts_enqueued``."""

    machine: str = ""
    reason: str = ""
    since: int = 0
    until: int = 1 << 62
    letters: Sequence[str] = ()

    def parameters(self) -> dict[str, Any]:
        names = ("machine", "reason", "since", "until")
        return {**{name: getattr(self, name) for name in names}, "letters": list(self.letters)}


@dataclass(frozen=True, slots=True)
class Group:
    """Open letters of one reason, machine and msgType; ``example`` and ``detail`` are of the newest."""

    reason: str
    chassis_id: str
    msg_type: str
    count: int
    first: int
    last: int
    example: str
    detail: str


@dataclass(frozen=True, slots=True)
class Letter:
    """One judgement of a message. ``replayed_at`` is 0 for the first; ``reason`` is "" where it was good."""

    letter: str
    reason: str
    detail: str
    replayed_at: int
    record: Record


@dataclass(frozen=True, slots=True)
class Replayed:
    """How many letters are back on the raw log, and the mark that their judgements will carry."""

    count: int
    at: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a replay: ``refused`` by reason; ``waiting`` were not judged yet."""

    passed: int
    refused: Mapping[str, int]
    waiting: int


class DeadLetterBox:
    """The letters in one store. Each method raises ServiceError when that does not answer."""

    def __init__(self, store_url: str) -> None:
        self._url = store_url

    def by_reason(self, chosen: Chosen, limit: int = 1000) -> list[Group]:
        return [Group(**row) for row in self._rows(_BY_REASON, limit=limit, **chosen.parameters())]

    def each(self, chosen: Chosen, limit: int = 100) -> list[Letter]:
        """The newest first."""
        return [_letter(row) for row in self._rows(_EACH, limit=limit, **chosen.parameters())]

    def judgements(self, name: str, machine: str = "") -> list[Letter]:
        """Every judgement of one letter, the newest last; ``name`` may be the beginning of its name.

        Raises: ConfigError when there is none, or more than one, of that name.
        """
        found = self._rows(_LIKE, letter=name, machine=machine)
        if not name or not found:
            raise ConfigError(f"there is no dead letter {name!r}; `duco dead-letters list --each` has their names")
        wholes = [row.pop("is_whole") for row in found]
        if len(found) > 1 and wholes[0] == wholes[1]:
            some = " and ".join(f"{row['letter']} of {row['chassis_id']}" for row in found)
            raise ConfigError(f"{name!r} may be {some}: write more of it, or say --machine")
        return [_letter(row) for row in self._rows(_JUDGED, **found[0])]

    def is_open(self, letter: Letter) -> bool:
        return bool(self.each(Chosen(letter.record.chassis_id, letters=(letter.letter,)), limit=1))

    async def replay(self, chosen: Chosen, raw_log: Sink[Record]) -> Replayed:
        """Put the records of the chosen open letters back on the raw log, each machine's in the order of its time.

        The mark is above that of every replay before, whatever this computer's clock says.
        """
        (last,) = await asyncio.to_thread(self._rows, _LAST_REPLAY)
        at = max(time.time_ns() // 1000, last["at"] + 1)
        keys = [tuple(row.values()) for row in await asyncio.to_thread(self._rows, _KEYS, **chosen.parameters())]
        count = 0
        for first in range(0, len(keys), PAGE):
            rows = await asyncio.to_thread(self._rows, _PAGE, keys=keys[first : first + PAGE])
            page = [letter for letter in map(_letter, rows) if letter.reason != PASSED]  # closed meanwhile
            await raw_log.write([_again(letter, at) for letter in sorted(page, key=_place)])
            count += len(page)
        return Replayed(count, at)

    async def outcome(self, replayed: Replayed, timeout_s: float = 0.0) -> Outcome:
        """What the flow has made of them, as soon as that is known of all, or after ``timeout_s``."""
        deadline = time.monotonic() + timeout_s
        while True:
            rows = await asyncio.to_thread(self._rows, _OUTCOME, at=replayed.at)
            judged = {row["judgement"]: row["count"] for row in rows}
            waiting = max(replayed.count - sum(judged.values()), 0)
            if not waiting or time.monotonic() > deadline:
                return Outcome(judged.pop(PASSED, 0), judged, waiting)
            await asyncio.sleep(POLL_S)

    def _rows(self, sql: str, **parameters: Any) -> list[dict[str, Any]]:
        with reported(self._url):
            client = connect(self._url)
            try:
                return list(client.query(sql, parameters=parameters).named_results())
            finally:
                client.close()


def _letter(row: Mapping[str, Any]) -> Letter:
    known = {name: row[name] for name in _TEXTS} | {name: row[f"{name}_us"] for name in _TIMES}
    record = Record(**known, body=base64.b64decode(row["packed_body"]))
    return Letter(row["letter"], row["reason"], row["detail"], row["replayed_at_us"], record)


def _place(letter: Letter) -> tuple[str, str, int, str]:
    record = letter.record
    return record.tenant, record.chassis_id, record.ts, letter.letter


def _again(letter: Letter, at: int) -> Record:
    """The record as the ingestor would make it today: what could not be read then may be readable now."""
    record = letter.record
    known = identity(record.body, record.hub_partition, record.hub_sequence, record.ts_enqueued)
    return replace(record, **known._asdict(), replay=Replay(letter.letter, at))

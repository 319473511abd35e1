"""Dead letters on the real log and store: listed, shown, replayed, closed by the flow; and nothing opens them again."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from pipes_kit import DBC, Pipes, running_pipes
from records import T, can_record, encoded, record
from stack_kit import PATIENCE_S
from typer.testing import CliRunner

from duco_workbench import cli, dead_letters, wire
from duco_workbench.dead_letters import Chosen, DeadLetterBox, Outcome
from duco_workbench.errors import ConfigError, ServiceError
from duco_workbench.judge import identity
from duco_workbench.local.dead_letters_cli import readable
from duco_workbench.local.store.process import StoreProcess
from duco_workbench.log import log_sink
from duco_workbench.log_address import LogAddress
from duco_workbench.model import PASSED, Binding, DeadLetter, Manifest, Record, Replay
from duco_workbench.parsing.logic import Knowledge, ManifestLogic
from duco_workbench.ports import Sink
from duco_workbench.schema import migrate
from duco_workbench.sinks.clickhouse import DeadLetterTable, connect
from duco_workbench.topics import DEAD_LETTERS, RAW

DEVICES = frozenset({("demo", "m1"), ("demo", "m2")})
MANIFESTS = tuple(Manifest(7, "demo", name, (Binding("*", "x", 1, DBC),)) for name in ("m1", "m2"))
EVERYTHING = Knowledge(7, DEVICES, MANIFESTS)


@pytest.fixture
def store_url(store: StoreProcess, request: pytest.FixtureRequest) -> str:
    address = f"http://127.0.0.1:{store.port}/{request.node.originalname}_{abs(hash(request.node.name))}"
    migrate(connect(address))
    return address


@pytest.fixture
def logic() -> ManifestLogic:
    return ManifestLogic(Knowledge(1, DEVICES))


@pytest.fixture
async def pipes(on_either: LogAddress, valkey_url: str, store_url: str, logic: ManifestLogic) -> AsyncIterator[Pipes]:
    async with running_pipes(on_either, valkey_url, store_url, logic) as running:
        yield running


@pytest.fixture
def box(store_url: str) -> DeadLetterBox:
    return DeadLetterBox(store_url)


async def replayed(pipes: Pipes, box: DeadLetterBox, **chosen: Any) -> Outcome:
    sink = log_sink(pipes.log, RAW)
    done = await box.replay(Chosen(**chosen), sink)
    await sink.close()
    found = await box.outcome(done, PATIENCE_S)
    await pipes.idle()  # a letter is judged before all that its message becomes is stored
    return found


def reasons(box: DeadLetterBox) -> dict[str, str]:
    return {letter.letter: letter.reason for letter in box.each(Chosen())}


async def test_a_letter_is_judged_again_by_the_logic_of_today(
    pipes: Pipes, box: DeadLetterBox, logic: ManifestLogic
) -> None:
    """The first refusal, delivered again after all of that, opens nothing; replaying again does nothing."""
    refused, fine = can_record(1), record(2)
    await pipes.send(refused, fine)
    await pipes.idle()
    assert reasons(box) == {"m1:1:1": "no_manifest"}
    assert await replayed(pipes, box) == Outcome(0, {"no_manifest": 1}, 0)
    logic.use(EVERYTHING)
    assert await replayed(pipes, box) == Outcome(1, {}, 0)
    assert reasons(box) == {}
    values = pipes.rows("SELECT DISTINCT signal, logic_version FROM samples")
    assert values == [("EEC1.EngSpeed", 7)]
    await pipes.put(DEAD_LETTERS, DeadLetter(refused, "no_manifest", "as at first"))
    await pipes.idle()
    assert reasons(box) == {}
    assert await replayed(pipes, box) == Outcome(0, {}, 0)
    assert pipes.rows("SELECT message_id FROM raw_messages ORDER BY ALL") == [("m1:1:1",), ("m1:1:2",)]
    assert pipes.rows("SELECT DISTINCT seq FROM parsed_messages ORDER BY ALL") == [(1,), (2,)]
    assert [letter.reason for letter in box.judgements("m1:1:1")] == ["no_manifest", "no_manifest", PASSED]


async def test_a_message_that_is_good_when_it_is_delivered_again_closes_its_letter(
    pipes: Pipes, box: DeadLetterBox, logic: ManifestLogic, duco: Any
) -> None:
    """As after a kill before the commit, and a change of the logic meanwhile; or the other way round."""
    twice, once, other = can_record(1), can_record(2), can_record(1, chassis_id="m2")
    nameless = replace(record(5, GARBAGE), message_id="3:5", msg_type="unknown")
    later = can_record(3, message_id="m1:2:1")  # of another epoch
    await pipes.send(twice, other, nameless, later)
    await pipes.idle()
    assert len(reasons(box)) == 4
    logic.use(EVERYTHING)
    await pipes.send(twice, once, nameless)
    await pipes.idle()
    still = {"m1:2:1": "no_manifest", "m2:1:1": "no_manifest"}
    assert {name: reason for name, reason in reasons(box).items() if reason != "malformed_json"} == still
    logic.use(Knowledge(8, DEVICES))
    await pipes.send(twice, once)
    await pipes.idle()
    assert len(reasons(box)) == 3
    assert await replayed(pipes, box, letters=["m1:1:1", "m1:1:2"]) == Outcome(0, {}, 0)
    assert "delivered again  good: the letter is closed" in (await asyncio.to_thread(duco, "show", "m1:1:1")).stdout
    assert "closed" not in (await asyncio.to_thread(duco, "show", "m2:1:1")).stdout


async def test_refused_again_for_another_reason_is_one_letter_with_the_new_one(
    pipes: Pipes, box: DeadLetterBox, logic: ManifestLogic
) -> None:
    logic.use(Knowledge())
    await pipes.send(can_record(1), can_record(2, chassis_id="m2"))
    await pipes.idle()
    assert reasons(box) == {"m1:1:1": "unknown_device", "m2:1:2": "unknown_device"}
    logic.use(Knowledge(1, DEVICES))
    assert await replayed(pipes, box, machine="m1") == Outcome(0, {"no_manifest": 1}, 0)
    assert reasons(box) == {"m1:1:1": "no_manifest", "m2:1:2": "unknown_device"}
    logic.use(EVERYTHING)
    assert await replayed(pipes, box, reason="no_manifest") == Outcome(1, {}, 0)
    assert reasons(box) == {"m2:1:2": "unknown_device"}


async def test_an_unknown_version_is_read_by_a_wire_that_knows_it(
    pipes: Pipes, box: DeadLetterBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = encoded("vehicle_event", wire.EventBody("of_version_2"), v=2)
    await pipes.send(record(1, body, v=2))
    await pipes.idle()
    assert reasons(box) == {"m1:1:1": "unknown_version"}
    monkeypatch.setattr(wire, "VERSION", 2)
    assert await replayed(pipes, box) == Outcome(1, {}, 0)
    assert pipes.rows("SELECT name, message_id FROM events_view") == [("of_version_2", "m1:1:1")]


async def test_what_could_not_be_read_at_all_gets_its_own_name_once_it_can(
    pipes: Pipes, box: DeadLetterBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its letter goes by the body's hash, and is the one that is closed although the message has another id now."""
    body = zlib.compress(encoded("vehicle_event", wire.EventBody("squeezed"), seq=7))
    bare = replace(record(1, body), **identity(body, 3, 17, T)._asdict())
    assert (bare.msg_type, bare.message_id) == ("unknown", "3:17")
    await pipes.send(bare, replace(bare, message_id="3:18", hub_sequence=18))  # and delivered again
    await pipes.idle()
    assert list(reasons(box).values()) == ["malformed_json"]
    for name in ("read_head", "decode"):
        plain = getattr(wire, name)
        monkeypatch.setattr(wire, name, lambda body, plain=plain: plain(zlib.decompress(body)))
    assert await replayed(pipes, box) == Outcome(1, {}, 0)
    assert reasons(box) == {}
    assert pipes.rows("SELECT name, message_id FROM events_view") == [("squeezed", "m1:1:7")]
    assert ("m1:1:7", "vehicle_event") in pipes.rows("SELECT message_id, msg_type FROM raw_messages")


class Breaking:
    """A raw log whose writer is gone after so many pages."""

    def __init__(self, sink: Sink[Record], pages: int) -> None:
        self._sink, self._pages = sink, pages

    async def open(self) -> None: ...

    async def write(self, batch: Sequence[Record]) -> None:
        if not self._pages:
            raise ServiceError("killed")
        self._pages -= 1
        await self._sink.write(batch)

    async def close(self) -> None: ...


async def test_a_replay_that_was_broken_off_is_run_again(
    pipes: Pipes, box: DeadLetterBox, logic: ManifestLogic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letters, "PAGE", 4)
    await pipes.send(*(can_record(seq) for seq in range(1, 11)))
    await pipes.idle()
    logic.use(EVERYTHING)
    sink = log_sink(pipes.log, RAW)
    with pytest.raises(ServiceError, match="killed"):
        await box.replay(Chosen(), Breaking(sink, 2))
    await sink.close()
    await asyncio.gather(replayed(pipes, box), replayed(pipes, box))  # and by two at once
    await pipes.idle()
    assert reasons(box) == {}
    assert pipes.rows("SELECT count(), uniqExact(message_id) FROM raw_messages") == [(10, 10)]
    assert pipes.rows("SELECT count() = uniqExact(signal, source, ts) FROM samples") == [(1,)]


def judged(seq: int, reason: str, at: int = 0) -> DeadLetter:
    return DeadLetter(replace(record(seq), replay=Replay(f"m1:1:{seq}", at) if at else None), reason)


HISTORIES: list[tuple[list[tuple[str, int]], list[str]]] = [
    ([("unknown_device", 0), ("no_manifest", 5)], ["no_manifest"]),
    ([("unknown_device", 0), ("no_manifest", 5), ("unknown_device", 6)], ["unknown_device"]),
    ([("unknown_device", 0), ("no_manifest", 5), ("unknown_device", 6), (PASSED, 7)], []),
    ([("unknown_device", 0), (PASSED, 5), ("no_manifest", 5)], []),  # the logic changed between two deliveries
]


@pytest.mark.parametrize(("history", "open_for"), HISTORIES)
async def test_no_order_of_writing_changes_what_a_letter_is(
    store_url: str, box: DeadLetterBox, history: list[tuple[str, int]], open_for: list[str]
) -> None:
    """At least once: each judgement may be written again, after any other. A message for each order."""
    orders = [(*order, order[0]) for order in permutations(history)]
    sink = DeadLetterTable(store_url)
    for moment in zip(*orders, strict=True):
        await sink.write([judged(seq, *judgement) for seq, judgement in enumerate(moment)])
    await sink.close()
    assert [letter.reason for letter in box.each(Chosen())] == open_for * len(orders)


# --- from the shell


@pytest.fixture
def duco(store_url: str, valkey_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`duco dead-letters ARGUMENTS` on this test's store and log."""
    monkeypatch.setenv("DUCO_STORE_URL", store_url)
    monkeypatch.setenv("DUCO_LOG_URL", valkey_url)

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(cli.app, ["dead-letters", *arguments, "--data", str(tmp_path)])

    return run


GARBAGE = b"\x00\xff garbage"


@pytest.fixture
async def three(store_url: str) -> None:
    """Two of m1 for one reason, and one of m2 that nobody can read."""
    unread = replace(record(5, GARBAGE, "m2", ts_enqueued=T + 60_000_000), message_id="3:5", msg_type="unknown")
    letters = [
        *(DeadLetter(can_record(n), "no_manifest", "no manifest [binds] a database") for n in (1, 2)),
        DeadLetter(unread, "malformed_json", "invalid\nUTF-8"),
    ]
    sink = DeadLetterTable(store_url)
    await sink.write(letters)
    await sink.close()


@pytest.mark.usefixtures("three")
def test_they_are_listed_by_reason_and_one_by_one(duco: Any) -> None:
    header, unread, manifest = duco("list").stdout.splitlines()
    assert header.split() == ["reason", "machine", "msgType", "letters", "first", "last", "example", "detail"]
    assert unread.split()[:4] == ["malformed_json", "m2", "unknown", "1"]
    assert manifest.split()[:4] == ["no_manifest", "m1", "vehicle_can", "2"]
    assert manifest.split()[6:] == ["m1:1:2", "no", "manifest", "[binds]", "a", "database"]
    assert "2025-10-09T08:53:20Z" in manifest
    groups = json.loads(duco("list", "--json").stdout)
    assert [(g["reason"], g["count"], g["last"]) for g in groups] == [
        ("malformed_json", 1, T + 60_000_000),
        ("no_manifest", 2, T + 90_000),
    ]
    each = json.loads(duco("list", "--each", "--json").stdout)
    assert [letter["message_id"] for letter in each] == ["3:5", "m1:1:1", "m1:1:2"]
    assert bytes.fromhex(each[0]["body_hex"]) == GARBAGE
    assert len(duco("list", "--each", "--limit", "2").stdout.splitlines()) == 3


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize(
    ("options", "count"),
    [
        (["--machine", "m1"], 2),
        (["--reason", "malformed_json"], 1),
        (["--since", "2025-10-09T08:54:00Z"], 1),
        (["--until", "2025-10-09T10:54:00+02:00"], 2),
        (["--machine", "m1", "--reason", "malformed_json"], 0),
    ],
)
def test_some_are_chosen(duco: Any, options: list[str], count: int) -> None:
    assert len(json.loads(duco("list", "--each", "--json", *options).stdout)) == count


@pytest.mark.usefixtures("three")
def test_one_is_shown_whole(duco: Any, box: DeadLetterBox) -> None:
    said = duco("show", "m1:1:2").stdout
    assert "no_manifest: no manifest [binds] a database" in said
    assert '"msgType": "vehicle_can"' in said
    name = next(letter.letter for letter in box.each(Chosen(machine="m2")))
    said = duco("show", name[:8]).stdout
    assert name in said
    assert GARBAGE.hex(" ") in said
    ambiguous = duco("show", "m1:1")
    assert isinstance(ambiguous.exception, ConfigError)
    assert "m1:1:1 of m1 and m1:1:2 of m1" in str(ambiguous.exception)
    assert "no dead letter 'm9'" in str(duco("show", "m9").exception)
    assert [one["reason"] for one in json.loads(duco("show", "m1:1:1", "--json").stdout)] == ["no_manifest"]


async def test_a_replay_from_the_shell_says_what_came_of_it(
    pipes: Pipes, duco: Any, logic: ManifestLogic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DUCO_LOG_URL", pipes.log.url)
    monkeypatch.setenv("DUCO_KAFKA_PREFIX", pipes.log.kafka.prefix)
    await pipes.send(can_record(1), can_record(2), can_record(3, chassis_id="m2"))
    await pipes.idle()
    logic.use(Knowledge(7, DEVICES, MANIFESTS[:1]))
    one = await asyncio.to_thread(duco, "replay", "m1:1:1")
    assert (one.exit_code, one.stdout) == (0, "1 replayed: 1 good now\n")
    rest = await asyncio.to_thread(duco, "replay")
    assert rest.stdout == "2 replayed: 1 good now, 1 refused again (no_manifest)\n"
    closed = await asyncio.to_thread(duco, "replay", "m1:1:1", "--json")
    assert json.loads(closed.stdout) == {"replayed": 0, "passed": 0, "refused": {}, "waiting": 0}
    assert "good: the letter is closed" in (await asyncio.to_thread(duco, "show", "m1:1:1")).stdout


@pytest.mark.usefixtures("three")
def test_nobody_judges_what_is_replayed(duco: Any) -> None:
    unwaited = duco("replay", "--reason", "no_manifest", "--no-wait")
    assert (unwaited.exit_code, unwaited.stdout) == (0, "2 replayed: 0 good now, 2 not judged yet\n")
    waited = duco("replay", "--machine", "m2", "--timeout", "0.1")
    assert isinstance(waited.exception, ServiceError)
    assert "1 of them, on the raw log now, were not judged" in str(waited.exception)


def test_no_letters_is_no_failure(duco: Any) -> None:
    assert duco("list").stdout == "no dead letters\n"
    assert duco("replay").stdout == "no letter was replayed: none that is open fits\n"


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b'{"a":[1]}', '{\n  "a": [\n    1\n  ]\n}'),
        (b'{"v":1', '{"v":1'),
        (b"\x1b[31mred", "\\x1b[31mred"),
        (b"\xff\x00", "ff 00"),
        (b"[" * 100_000, "[" * 4000 + "\n… 96,000 characters more"),
        (b"", ""),
    ],
)
def test_a_body_is_made_readable(body: bytes, shown: str) -> None:
    assert readable(body) == shown

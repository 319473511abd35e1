"""The audit on a real store, log and hub: each violation is made on purpose and must be named, each excuse accepted."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from flow_kit import EPOCH, Flow, fresh_flow
from pipes_kit import running_pipes
from records import record
from typer.testing import CliRunner

from duco_workbench import cli
from duco_workbench.columns import Event, Parsed, Samples
from duco_workbench.errors import ConfigError, ServiceError
from duco_workbench.health.audit import Asked, Audit, audit
from duco_workbench.health.audit_store import ARCHIVED, AuditStore
from duco_workbench.local.store.process import StoreProcess
from duco_workbench.model import DeadLetter
from duco_workbench.parsing.logic import Knowledge, ManifestLogic
from duco_workbench.sinks.clickhouse import SampleTable, connect
from duco_workbench.sinks.clickhouse_rows import message_rows

NETWORK = 17
TEN = range(1, 11)


@pytest.fixture
def flow(store: StoreProcess, valkey_url: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Flow]:
    with fresh_flow(store, request.node.originalname, valkey_url, tmp_path, NETWORK) as flow:
        yield flow


@dataclass
class Case:
    """One machine: where its numbers are, and what the audit must say of it."""

    archived: Iterable[int] = TEN
    parsed: Iterable[int] = TEN
    dead: Iterable[int] = ()
    drop: dict[str, Any] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)


def but(*numbers: int) -> list[int]:
    return [number for number in TEN if number not in numbers]


CASES = {
    "whole": Case(),
    "letter": Case(parsed=but(3), dead=[3]),
    "gap": Case(but(4, 5, 8), but(4, 5, 8), wrong={"missing": "4–5, 8"}),
    "beginning": Case(range(3, 11), range(3, 11), wrong={"missing": "1–2"}),
    "unparsed": Case(parsed=but(6), wrong={"unparsed": "6"}),
    "unarchived": Case(archived=but(6), wrong={"missing": "6"}),
    "drop": Case(but(4, 5, 6, 9), but(4, 5, 6, 9), drop={"epoch": EPOCH, "runs": [[4, 6], [9, 9]]}),
    "too_large": Case(but(4), but(4), drop={"messages": [f"too_large:{EPOCH}:4"]}),
    "drop_of_another": Case(but(4), but(4), drop={"messages": [f"gap:{EPOCH}:4"]}, wrong={"missing": "4"}),
    "drop_of_no_number": Case(drop={"runs": [], "count": 7}),
    "drop_of_old_epoch": Case(but(4), but(4), drop={"epoch": 5, "runs": [[4, 4]]}, wrong={"missing": "4"}),
    "drop_at_the_end": Case(drop={"epoch": EPOCH, "runs": [[11, 12]]}),
    "letter_and_row": Case(dead=[3]),  # it was good when it was delivered again, which closes the letter
    "drop_and_row": Case(drop={"epoch": EPOCH, "runs": [[3, 4]]}, wrong={"stored and dropped": "3–4"}),
    "corrupt": Case(but(4), but(4), drop={"reason": "corrupt", "epoch": EPOCH, "runs": [[4, 4]]}),
    "corrupt_and_row": Case(drop={"reason": "corrupt", "epoch": EPOCH, "runs": [[3, 4]]}),
    "corrupt_and_letter": Case(
        but(4, 5), but(3, 4, 5), dead=[3], drop={"reason": "corrupt", "epoch": EPOCH, "runs": [[3, 5]]}
    ),
    "corrupt_and_unparsed": Case(
        parsed=but(6), drop={"reason": "corrupt", "epoch": EPOCH, "runs": [[6, 6]]}, wrong={"unparsed": "6"}
    ),
    "letter_and_drop": Case(
        but(3), but(3), dead=[3], drop={"epoch": EPOCH, "runs": [[3, 3]]}, wrong={"dead and dropped": "3"}
    ),
}


def build(flow: Flow, cases: dict[str, Case]) -> None:
    """All of them in the store; a ``drop`` event comes in a message of an epoch of its own."""
    messages, parsed, letters = [], [], []
    for name, case in cases.items():
        messages += [flow.message(name, seq) for seq in case.archived]
        parsed += [Parsed(flow.message(name, seq), False, 0, Samples.empty()) for seq in case.parsed]
        letters += [DeadLetter(flow.message(name, seq), "no_manifest") for seq in case.dead]
        if case.drop:
            told = flow.message(name, 1, epoch=EPOCH + 1)
            messages.append(told)
            event = Event(flow.now, "drop", "error", json.dumps({"reason": "queue_full", **case.drop}))
            parsed.append(Parsed(told, False, 0, Samples.empty(), events=(event,)))

    flow.store(*messages)
    write_parsed(flow, parsed)
    flow.refuse(*letters)


def write_parsed(flow: Flow, parsed: list[Parsed]) -> None:
    async def write() -> None:
        sink = SampleTable(flow.settings.store_url)
        await sink.write(parsed)
        await sink.close()

    flow.hub.call(write)


def said(found: Audit) -> dict[str, dict[str, str]]:
    """What is wrong with each machine."""
    return {
        line.where.chassis_id: {name: ", ".join(map(str, runs)) for name, runs in line.account.wrong.items()}
        for line in found.lines
        if not line.holds
    }


def test_each_violation_is_named_and_each_excuse_accepted(flow: Flow) -> None:
    """No agent reports, so that nothing is in flight, settled or not."""
    build(flow, CASES)
    flow.agent("nobody")
    wrong = {name: case.wrong for name, case in CASES.items() if case.wrong}
    found = audit(flow.settings, Asked())
    assert said(found) == said(audit(flow.settings, Asked(settled=True))) == wrong
    assert not found.holds
    drop = next(line for line in found.lines if line.where == ("demo", "drop", EPOCH))
    counts = drop.account
    assert (counts.high_water, counts.stored, counts.dead, counts.dropped, counts.in_flight) == (10, 6, 0, 4, 0)
    assert {line.where.chassis_id for line in found.lines} == set(CASES)
    only = audit(flow.settings, Asked("letter"))
    assert [(line.where.chassis_id, line.account.dead, line.holds) for line in only.lines] == [("letter", 1, True)]
    assert audit(flow.settings, Asked("beginning", from_first=True)).holds


def test_what_is_under_way_is_in_flight_unless_it_is_settled(flow: Flow) -> None:
    """The agent has given 13 numbers; the hub has 12 of them; one waits on the log; a second agent has sent nothing."""
    build(flow, {"m1": Case(TEN, range(1, 10))})
    flow.carry("m1", range(1, 13), to=[])
    flow.agent("m1", queue={"seq": 13, "depth": 1, "first": 13})
    flow.agent("m2", queue={"seq": 2})
    flow.behind(1)
    found = audit(flow.settings, Asked())
    assert [(line.account.high_water, line.account.in_flight) for line in found.lines] == [(13, 4), (2, 2)]
    assert found.holds
    settled = audit(flow.settings, Asked(settled=True))
    assert said(settled) == {"m1": {"missing": "11–13", "unparsed": "10"}, "m2": {"missing": "1–2"}}


def test_what_waits_under_an_old_epoch_is_in_flight_unless_it_is_settled(flow: Flow) -> None:
    """The queue was salvaged, and goes on in a new epoch."""
    build(flow, {"m1": Case(but(4), but(4))})
    flow.agent("m1", queue={"epoch": EPOCH + 9, "seq": 0, "depth": 1, "first": 1})
    assert audit(flow.settings, Asked()).holds
    assert said(audit(flow.settings, Asked(settled=True))) == {"m1": {"missing": "4"}}


def test_the_end_is_missing_once_all_that_the_hub_has_is_judged(flow: Flow) -> None:
    flow.carry("m1", range(1, 11), to=["raw", "parsed", "distributed"])
    build(flow, {"m1": Case(but(10), but(10))})
    flow.agent("m1", queue={"seq": 10})
    assert said(audit(flow.settings, Asked())) == {"m1": {"missing": "10"}}
    apart = flow.settings.model_copy(update={"hub": ""})
    unasked = audit(apart, Asked())  # without the agents' word there is no number 10
    assert (said(unasked), unasked.notes[0][:11]) == ({}, "hub: DUCO_H")


def test_what_a_query_shows_twice_is_counted(flow: Flow) -> None:
    """The same id with another time is another key, and so is the same value in another month's partition."""
    build(flow, {"m1": Case(), "m2": Case()})
    flow.store(flow.message("m1", 5, ts=flow.now), flow.message("m2", 5), flow.message("m2", 6))
    found = audit(flow.settings, Asked(settled=True))
    assert [(line.where.chassis_id, line.doubled, line.holds) for line in found.lines] == [
        ("m1", 1, False),
        ("m2", 0, True),
    ]
    flow.sql("DROP VIEW samples")
    flow.sql("CREATE VIEW samples AS SELECT * FROM ce_technology")  # as a reader would see it who forgets FINAL
    for _ in range(3):
        flow.sql("INSERT INTO ce_technology (chassis_id, signal) VALUES ('m2', 'A.B'), ('m2', 'A.C')")
    assert audit(flow.settings, Asked("m2", settled=True)).values_doubled == 4


ODD_IDS = [
    *("", ":", "3:17", f"m1:{EPOCH}", f"m1:{EPOCH}:", f"m1::{EPOCH}:2", f"m2:{EPOCH}:2", f"m:1:{EPOCH}:2"),
    *(f"m1:0{EPOCH}:2", f"m1:+{EPOCH}:2", f"m1: {EPOCH}:2", f"m1:-{EPOCH}:2", f"m1:{EPOCH}.0:2", "m1:0:2", "m1:00:2"),
    *(f"m1:{EPOCH}:02", f"m1:{EPOCH}:+2", f"m1:{EPOCH}: 2", f"m1:{EPOCH}:-2", f"m1:{EPOCH}:0", f"m1:{EPOCH}:2\n"),
    *(f"m1:{EPOCH}:2_0", f"m1:{EPOCH}:\u0662", f"m1:{EPOCH}:x", f"m1:{EPOCH}:1{'0' * 15}", f"m1:1{'0' * 17}:2"),
    *(f"m1:{2**64 + EPOCH}:2", f"M1:{EPOCH}:2", f"xm1:{EPOCH}:2", f" m1:{EPOCH}:2", f"m1:{EPOCH}:2 "),
]
NUMBERED_IDS = [f"m1:{EPOCH}:1", "m1:1:1", f"m1:{'9' * 17}:1", f"m1:3:{'9' * 15}"]


def test_an_odd_id_has_no_number_wherever_it_is(flow: Flow) -> None:
    """The archive, the rows of what was parsed and the letters take the same ids for numbers, and no others."""
    messages = [flow.message("m1", at, message_id=name) for at, name in enumerate([*ODD_IDS, *NUMBERED_IDS])]
    rows = message_rows([Parsed(message, False, 0, Samples.empty()) for message in messages])
    assert [f"m1:{row['epoch']}:{row['seq']}" for row in rows.to_pylist()] == NUMBERED_IDS
    flow.store(*messages)
    flow.refuse(*(DeadLetter(message, "no_manifest") for message in messages))
    with connect(flow.settings.store_url) as client:
        store = AuditStore(client)
        archived, (letters, nameless) = store.count(ARCHIVED).wholes, store.letters()
    assert {f"m1:{where.epoch}:{whole[1]}" for where, whole in archived.items()} == set(NUMBERED_IDS)
    assert {where: [run.first for run in runs] for where, runs in letters.items()} == {
        where: [whole[1]] for where, whole in archived.items()
    }
    assert nameless == len(ODD_IDS)


def test_a_message_with_an_odd_id_does_not_violate_the_audit(flow: Flow) -> None:
    build(flow, {"m1": Case()})
    odd = flow.message("m1", 11, message_id=f"m1:0{EPOCH}:11")
    flow.store(odd)
    write_parsed(flow, [Parsed(odd, False, 0, Samples.empty())])
    flow.agent("m1", queue={"seq": 10})
    assert audit(flow.settings, Asked(settled=True)).holds


def test_a_drop_of_numbers_that_no_machine_reaches_is_none(flow: Flow) -> None:
    drops = [(-1, [1, 2]), (2**70, [1, 2]), (EPOCH, [1, 2**70])]
    build(flow, {f"m{at}": Case(drop={"epoch": epoch, "runs": [run]}) for at, (epoch, run) in enumerate(drops)})
    assert audit(flow.settings, Asked(settled=True)).holds


async def test_what_the_flows_themselves_leave_is_accounted_for(flow: Flow) -> None:
    """Good ones, a refused one, and the refused one replayed by the flow."""
    logic = ManifestLogic(Knowledge())
    good = [record(seq, message_id=f"m1:{EPOCH}:{seq}") for seq in TEN]
    async with running_pipes(flow.settings.log, flow.settings.log_url, flow.settings.store_url, logic) as pipes:
        await pipes.send(*good[:5])
        await pipes.idle()
        logic.use(Knowledge(1, frozenset({("demo", "m1")})))
        await pipes.send(*good[5:])
        await pipes.send(*good[5:])
        await pipes.idle()
        found = await asyncio.to_thread(audit, flow.settings, Asked(settled=True))
    counts = found.lines[0].account
    assert (found.holds, counts.stored, counts.dead) == (True, 5, 5)


# --- from the shell


def duco(flow: Flow, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Any:
    for name in ("store_url", "log_url", "hub", "hub_ca"):
        monkeypatch.setenv(f"DUCO_{name.upper()}", getattr(flow.settings, name))
    return CliRunner().invoke(cli.app, ["audit", *arguments, "--data", str(flow.settings.data)])


def test_the_shell_says_what_holds_and_what_does_not(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    build(flow, {name: CASES[name] for name in ("whole", "gap")})
    held = duco(flow, monkeypatch, "--machine", "whole")
    assert held.exit_code == 0
    assert held.stdout.splitlines()[1].split() == ["whole", str(EPOCH), "10", "10", *"000000", "holds"]
    assert held.stdout.splitlines()[-1] == "every message of 1 epochs is accounted for"
    violated = duco(flow, monkeypatch)
    assert violated.exit_code == 1
    assert violated.stdout.splitlines()[1].split() == ["gap", str(EPOCH), "10", "7", *"000300", "VIOLATED"]
    assert f"gap:{EPOCH} missing: 4–5, 8" in violated.stdout
    assert violated.stdout.splitlines()[-1] == "1 of 2 epochs violated"
    as_json = duco(flow, monkeypatch, "--json")
    assert as_json.exit_code == 1
    entry = json.loads(as_json.stdout)["epochs"][0]
    assert (entry["chassis_id"], entry["missing"], entry["holds"]) == ("gap", [[4, 5], [8, 8]], False)


def test_no_machine_and_no_store_are_sentences(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = duco(flow, monkeypatch, "--machine", "m9")
    assert isinstance(nobody.exception, ConfigError)
    assert "no message of a machine 'm9'" in str(nobody.exception)
    monkeypatch.setattr(flow, "settings", flow.settings.model_copy(update={"store_url": "http://127.0.17.254:1/duco"}))
    assert isinstance(duco(flow, monkeypatch).exception, ServiceError)

"""What the status page and `duco status` make of each process's /health."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from records import record

from duco_workbench import health, testing
from duco_workbench.health import processes
from duco_workbench.ops import Process
from duco_workbench.ports import Delivery
from duco_workbench.screens import process_table, status_view
from duco_workbench.settings import Settings

EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture
async def found(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Of a process that is well, one that is not, one that answers nobody, and one without a door."""
    monkeypatch.setattr("duco_workbench.ops.logs.set_up", lambda *_: None)
    ports = {name: testing.free_port() for name in ("processor", "ingestor", "store")}
    ops = " ".join(f"{name}=127.0.0.1:{port}" for name, port in ports.items())
    processor, ingestor = (Process(name, Settings(ops=ops)) for name in ("processor", "ingestor"))
    watch = processor.watch("processor")
    watch.opened()
    watch.asks()
    watch.begin([record(1)])
    watch.done(Delivery([record(1)]))
    processor.dropped("snapshot", lambda: 4)
    processor.figure("store_free_bytes", "Room.", lambda: 56.4e9)
    ingestor.check(lambda: EVIL)
    with processor.open_door(), ingestor.open_door():
        doors = await asyncio.to_thread(processes.read, ops)
    running = {name: {"state": "RUNNING", "said": "pid 1", "health": doors[name]} for name in ports}
    return {**running, "log": {"state": "RUNNING", "said": "pid 2", "health": None}}


async def test_each_says_in_a_word_how_it_is(found: dict[str, Any]) -> None:
    words = {name: health.health_of(process) for name, process in found.items()}
    assert words == {"processor": "ok", "ingestor": "failing", "store": "silent", "log": "running"}
    stopped = {**found["store"], "state": "STOPPED"}
    assert health.health_of(stopped) == "stopped"


async def test_the_table_has_the_figures_and_escapes_what_is_said(found: dict[str, Any]) -> None:
    text = process_table.table(found)
    assert 'data-label="behind"><b></b>' in text  # there is no such number
    assert 'data-label="dropped"><b>4</b>' in text
    assert "store free 56.4 GB" in text
    assert text.count('class="health bad"') == 2
    whole = {"troubles": {}, "machines": [], "drops": {"realtime": 0}, "refused_s": {}, "notes": {}, "processes": found}
    said = list(health.sentences(whole))
    assert said[0] == f"ingestor: {EVIL}"
    assert said[1].startswith("store: http://127.0.0.1:")
    assert len(said) == 2
    assert EVIL not in status_view._notices(whole)


async def test_a_process_that_is_not_well_is_trouble(found: dict[str, Any]) -> None:
    whole = {"lost": 0, "duplicates": 0, "dead_letters": {}, "troubles": {}}
    assert status_view.is_well({**whole, "processes": {name: found[name] for name in ("processor", "log")}})
    for name in ("ingestor", "store"):
        assert not status_view.is_well({**whole, "processes": {name: found[name]}})

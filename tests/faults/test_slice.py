"""A slice of the fault matrix for every run of the tests; `make faults` runs all of it."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest
from faults import kills, outages, plant, run, table, verdict, watch

from duco_workbench.testing import PATIENCE_S

SEED, KILLS, SECONDS = 7, 10, 90.0  # on each log: every part at least once, together three minutes


def test_a_schedule_is_its_seed_and_takes_every_part_in_turn() -> None:
    parts = ("hub", "log", "store")
    drawn = kills.schedule(3, parts, 9, 90)
    assert drawn == kills.schedule(3, parts, 9, 90) != kills.schedule(4, parts, 9, 90)
    assert [sorted(kill.part for kill in drawn[i : i + 3]) for i in (0, 3, 6)] == [sorted(parts)] * 3
    assert all(10 * i <= kill.at < 10 * i + 10 for i, kill in enumerate(drawn))


@pytest.mark.parametrize("log", plant.LOGS)
def test_kills_of_every_part_and_a_cut_link_lose_double_and_disorder_nothing(log: str, tmp_path: Path) -> None:
    with plant.running(tmp_path, 2, log, ["store"]) as stack, watch.Watch(stack) as looking:
        assert plant.wait_for(looking.is_current, PATIENCE_S) is not None, "nothing flows"
        drawn = kills.schedule(SEED, stack.parts, KILLS, SECONDS)
        assert {kill.part for kill in drawn} == set(stack.parts)
        seen = list(kills.run(stack, looking, drawn))
        assert [kill for kill in seen if kill["restart_s"] is None] == []
        cut = next(outage for outage in outages.OUTAGES if outage.name == "store link cut")
        cut.do(stack, looking, 3)
        assert plant.wait_for(looking.is_current, 60) is not None, "it does not go on"
        found = verdict.judge(stack)
        assert verdict.faults_of(found) == {}
        assert found["messages"] > 50
        verdict.command(stack, "DELETE FROM duco.raw_data_cache_store WHERE endsWith(message_id, ':3')")
        found = verdict.faults_of(verdict.judge(stack))
        assert found == {"lost": 2, "unstored": 2, "unaccounted": 2}, "a loss goes unseen"


def test_an_outage_that_is_not_seen_to_its_end_is_told_of_and_ends_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plants: list[Path] = []
    monkeypatch.setattr(plant, "running", lambda data, *_: plants.append(data) or nullcontext())
    monkeypatch.setattr(watch, "Watch", nullcontext)

    def ends(stack: object, looking: object, outage: outages.Outage, seconds: float) -> outages.Facts:
        if outage.name == "log down":
            raise RuntimeError("it stays down")
        return {"name": outage.name, "wrong": []}

    monkeypatch.setattr(outages, "run", ends)
    names = ["store down", "log down", "hub down"]
    found = list(run.outage_matrix(names, 0.5, "redis", 1, tmp_path))
    assert [facts["name"] for facts in found] == names
    assert [facts["wrong"] for facts in found] == [[], ["not seen to its end: it stays down"], []]
    assert len(set(plants)) == 2
    assert "it stays down" in next(table.rows({"outages": found[1:2]}))[2]


@pytest.mark.parametrize("wrong", verdict.MUST)
def test_a_verdict_says_what_is_not_as_it_must_be(wrong: str) -> None:
    assert verdict.faults_of(verdict.MUST) == {}
    assert set(verdict.faults_of({**verdict.MUST, wrong: 1})) == {wrong}

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import live_feed
import pytest

from duco_workbench.columns import Samples
from duco_workbench.live import Entry
from duco_workbench.model import SECOND
from duco_workbench.screens.gaps import Runs, shows

T = 1_760_000_000 * SECOND
ENGINE = {("Engine.Speed", "can0:00")}


def entry(seq: int, **changes: Any) -> Entry:
    """A second of a machine, as the stream brought it."""
    message = live_feed.message(seq, T + seq * SECOND, **changes)
    return Entry("stream", f"{(T + (seq + 1) * SECOND) // 1000}-0", b"", message)


def runs(*seqs: int, newest: int = 0) -> Runs:
    found = Runs()
    found.take([entry(seq) for seq in seqs], newest, 0.0)
    return found


@pytest.mark.parametrize("order", list(itertools.permutations((3, 4, 5, 6))))
def test_messages_without_a_hole_are_one_run_in_whatever_order_they_come(order: tuple[int, ...]) -> None:
    [run] = runs(*order).gaps(T)
    assert (run.first, run.last) == (3, 6)
    assert (run.begin, run.end) == (T + 3 * SECOND, T + 7 * SECOND - SECOND // 10)


def test_before_the_first_run_and_in_every_hole_is_a_gap() -> None:
    first, second = runs(5, 6, 9, 10, newest=T + 2 * SECOND).gaps(T)
    assert (first.left, first.begin) == (T + 2 * SECOND, T + 5 * SECOND)
    assert (second.left, second.begin) == (first.end, T + 9 * SECOND)


def test_a_hole_that_is_filled_by_the_stream_is_none() -> None:
    found = runs(5, 6, 8)
    found.gaps(T)[0].settle()
    assert [run.first for run in found.gaps(T)] == [8]
    found.take([entry(7), entry(7)], 0, 0.0)
    assert found.gaps(T) == []


def test_a_gap_out_of_sight_is_given_up() -> None:
    found = runs(5, 9)
    assert found.gaps(T + 100 * SECOND) == []


def test_another_epoch_begins_a_run_and_a_foreign_id_none() -> None:
    found = runs(5)
    again = live_feed.message(1, T + 6 * SECOND, epoch=2)
    foreign = live_feed.message(6, T + 6 * SECOND)
    foreign = replace(foreign, record=replace(foreign.record, message_id="0:17"))
    found.take([Entry("stream", "1-0", b"", message) for message in (again, foreign)], 0, 0.0)
    assert [(run.epoch, run.first, run.last) for run in found.gaps(T)] == [(1, 5, 5), (2, 1, 1)]


def test_the_store_has_come_as_far_as_a_run_when_it_shows_one_of_its_samples() -> None:
    [run] = runs(5, 6).gaps(T)
    witness = run.witness(ENGINE)
    assert {witness.signals[code] for code in witness.series.tolist()} == {"Engine.Speed"}
    before, within = (live_feed.message(n, T + n * SECOND).samples for n in (4, 5))
    assert not shows(before, witness)
    assert shows(Samples.concat([before, within[::3]]), witness)
    assert not len(run.witness({("No.Such", "can0")}))


def test_a_gap_is_looked_at_a_moment_later_and_then_less_and_less_often() -> None:
    [run] = runs(5).gaps(T)
    pauses = [run.due]
    for _ in range(8):
        at = run.due
        run.put_off(at)
        pauses.append(run.due - at)
    assert pauses == sorted(pauses)
    assert 0 < pauses[0] < pauses[-1] <= 10

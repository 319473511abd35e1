"""Which sequence numbers a dead letter's name or an agent's ``drop`` event stands for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import msgspec

from ..sequences import Run, union
from ..sinks.clickhouse_rows import MAX_EPOCH, MAX_SEQ, number_of


class Epoch(NamedTuple):
    """Within one of these a machine's messages are numbered."""

    tenant: str
    chassis_id: str
    epoch: int


class _Drop(msgspec.Struct):
    """What an agent tells of messages it gave up after they had numbers: runs of them, or their ids."""

    epoch: int = 0
    runs: list[tuple[int, int]] = []
    messages: list[str] = []


_drop = msgspec.json.Decoder(_Drop)
Numbers = Callable[[str, str], Iterator[tuple[int, Run]]]


def of_letter(chassis_id: str, letter: str) -> Iterator[tuple[int, Run]]:
    """(epoch, number); nothing where the letter is known by its body's hash, or the id is another machine's."""
    number = number_of(chassis_id, letter)
    if number:
        yield number.epoch, Run(number.seq, number.seq)


def of_drop(chassis_id: str, data: str) -> Iterator[tuple[int, Run]]:
    """(epoch, numbers); nothing where the event is of another form, or of what had no number yet."""
    try:
        told = _drop.decode(data)
    except (msgspec.DecodeError, ValueError):
        return
    for first, last in told.runs:
        if 0 < told.epoch < MAX_EPOCH and 0 < first <= last < MAX_SEQ:
            yield told.epoch, Run(first, last)
    for message_id in told.messages:
        yield from of_letter(chassis_id, message_id)


def by_epoch(rows: Iterable[tuple[str, str, str]], numbers: Numbers) -> dict[Epoch, list[Run]]:
    """Of rows (tenant, chassis_id, what ``numbers`` reads)."""
    found: dict[Epoch, list[Run]] = {}
    for tenant, chassis_id, said in rows:
        for epoch, run in numbers(chassis_id, said):
            found.setdefault(Epoch(tenant, chassis_id, epoch), []).append(run)
    return {where: union(runs) for where, runs in found.items()}

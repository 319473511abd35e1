"""Which sequence numbers a dead letter's name or an agent's ``drop`` event stands for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import msgspec

from ..model import MessageId
from ..sequences import Run, union


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
    try:
        own, epoch, seq = MessageId.parse(letter)
    except ValueError:
        return
    if own == chassis_id and seq > 0:
        yield epoch, Run(seq, seq)


def of_drop(chassis_id: str, data: str) -> Iterator[tuple[int, Run]]:
    """(epoch, numbers); nothing where the event is of another form, or of what had no number yet."""
    try:
        told = _drop.decode(data)
    except (msgspec.DecodeError, ValueError):
        return
    for first, last in told.runs:
        if 0 < first <= last:
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

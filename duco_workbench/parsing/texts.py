"""ASCII parameters of J1939 messages (VIN, component and software identification): texts, not numbers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ..j1939.identification import ascii_fields
from .database import Message, Signal

WIDEST_NUMBER = 64  # bits


class TextField(NamedTuple):
    """Where a text lies in a message's data.

    Attributes:
        signal: ``Message.Signal``.
        start: first byte.
        stop: byte after the last it may use.
        field: which of the ``*``-ended fields from ``start`` on it is.
    """

    signal: str
    start: int
    stop: int
    field: int


def text_signals(message: Message) -> frozenset[int]:
    """Indices of the signals of ``message`` that are texts.

    Those wider than a number, and those at the same place as one: databases write the ``*``-ended fields of a message
    (65259: make*model*serial*unit*) all at the start, the first at times with a short length.
    """
    if not message.is_j1939:
        return frozenset()
    long = {s.start for s in message.signals if s.length > WIDEST_NUMBER}
    return frozenset(
        i
        for i, s in enumerate(message.signals)
        if s.length > WIDEST_NUMBER or (s.start in long and s.length >= 16 and s.length % 8 == 0)
    )


def text_fields(message: Message) -> tuple[TextField, ...]:
    """The texts of a message in order; one that overlaps the one before it is the next ``*``-ended field."""
    chains: list[list[int]] = []
    stop = 0
    for i in sorted(text_signals(message)):
        signal = message.signals[i]
        if not chains or signal.start >= stop:
            chains.append([])
        chains[-1].append(i)
        stop = max(stop, signal.start + signal.length)
    return tuple(field for chain in chains for field in _chain(message, [message.signals[i] for i in chain]))


def _chain(message: Message, signals: list[Signal]) -> list[TextField]:
    start, stop = signals[0].start // 8, max(s.start + s.length for s in signals) // 8
    return [TextField(f"{message.name}.{s.name}", start, stop, number) for number, s in enumerate(signals)]


def read_texts(fields: Iterable[TextField], data: bytes) -> list[tuple[str, str]]:
    """(signal, text) of every field that is present; empty and all-FF ("not available") fields are left out."""
    found = []
    for field in fields:
        parts = ascii_fields(data[field.start : field.stop])
        if field.field < len(parts) and parts[field.field]:
            found.append((field.signal, parts[field.field]))
    return found

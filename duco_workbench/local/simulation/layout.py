"""The demo DBCs as the encoder needs them: where each signal lies, who sends a message and how often.

Reads the few statements our own hand-written files use. cantools is not used here because it imports python-can's
log readers (pandas, polars: 140 MB), far more than a machine; the tests hold this reader against it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ...model import ID_MASK

_MESSAGE = re.compile(r"^BO_ (\d+) (\w+) *: *(\d+) (\w+)")
_SIGNAL = re.compile(r"^\s+SG_ (\w+) *(M|m\d+)? *: *(\d+)\|(\d+)@([01])([+-]) *\(([^,]+),([^)]+)\)")
_ATTRIBUTE = re.compile(r'^BA_ "(GenMsgCycleTime|VFrameFormat)" BO_ (\d+) (\d+);')
_FLOAT = re.compile(r"^SIG_VALTYPE_ (\d+) (\w+) *: *([12]);")
_LONG = re.compile(r'^BA_ "SystemSignalLongSymbol" SG_ (\d+) (\w+) "(\w+)";')
_J1939 = 3  # index of J1939PG in the VFrameFormat enumeration


@dataclass(frozen=True, slots=True)
class Signal:
    """Bits of one signal; ``page`` is the multiplexer value it belongs to, None where it is always there."""

    name: str
    start: int
    length: int
    is_big_endian: bool
    is_signed: bool
    is_float: bool
    scale: float
    offset: float
    page: int | None
    is_multiplexer: bool


@dataclass(frozen=True, slots=True)
class Message:
    """``arbitration_id`` as SocketCAN writes it (bit 31 extended), ``period`` in microseconds, ``length`` in bytes."""

    name: str
    arbitration_id: int
    length: int
    period: int
    is_j1939: bool
    signals: tuple[Signal, ...]

    @property
    def pages(self) -> tuple[int | None, ...]:
        """Multiplexer values in use, (None,) for a plain message."""
        return tuple(sorted({s.page for s in self.signals if s.page is not None})) or (None,)

    @property
    def pgn(self) -> int:
        """Parameter group number (PDU2: the demo database has no other)."""
        return (self.arbitration_id & ID_MASK) >> 8 & 0x3FFFF


@lru_cache(8)
def read(path: Path) -> tuple[Message, ...]:
    """The messages of a demo DBC in the order of the file."""
    lines = path.read_text(encoding="ascii").splitlines()
    attributes = {(m[1], m[2]): int(m[3]) for m in map(_ATTRIBUTE.match, lines) if m}
    floats = {(m[1], m[2]) for m in map(_FLOAT.match, lines) if m}
    long_names = {(m[1], m[2]): m[3] for m in map(_LONG.match, lines) if m}
    messages: list[Message] = []
    for head, signals in _blocks(lines):
        code = head[1]
        messages.append(
            Message(
                name=head[2],
                arbitration_id=int(code),
                length=int(head[3]),
                period=attributes["GenMsgCycleTime", code] * 1000,
                is_j1939=attributes.get(("VFrameFormat", code), 0) == _J1939,
                signals=tuple(_signal(s, (code, s[1]) in floats, long_names.get((code, s[1]))) for s in signals),
            )
        )
    return tuple(messages)


def _blocks(lines: list[str]) -> list[tuple[re.Match[str], list[re.Match[str]]]]:
    found: list[tuple[re.Match[str], list[re.Match[str]]]] = []
    for line in lines:
        if head := _MESSAGE.match(line):
            found.append((head, []))
        elif signal := _SIGNAL.match(line):
            found[-1][1].append(signal)
    return found


def _signal(m: re.Match[str], is_float: bool, long_name: str | None) -> Signal:
    mux = m[2] or ""
    return Signal(
        name=long_name or m[1],
        start=int(m[3]),
        length=int(m[4]),
        is_big_endian=m[5] == "0",
        is_signed=m[6] == "-",
        is_float=is_float,
        scale=float(m[7]),
        offset=float(m[8]),
        page=int(mux[1:]) if mux.startswith("m") else None,
        is_multiplexer=mux == "M",
    )

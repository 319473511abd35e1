"""What a database says: messages and their signals, as small values of our own that outlive whatever parsed them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .. import j1939
from ..model import EXTENDED

Skipped = list[tuple[str, str]]  # (where, why): the file and line, what stood there and why it was left out


@dataclass(frozen=True, slots=True)
class Signal:
    """One signal of a message.

    Attributes:
        start, length: bits, as a DBC counts them (Motorola: ``start`` is the most significant bit).
        scale, offset: value = raw * scale + offset, in ``unit``.
        minimum, maximum: the database's limits in ``unit``, or None.
        choices: names of raw values; a decoded value stays the number.
        spn: J1939 suspect parameter number, or None.
        long_name: SystemSignalLongSymbol, "" where there is none; ``name`` is then the same.
        multiplexer_signal, multiplexer_ids: present only when that signal has one of these values.
        validity: override of the J1939 rule: ``""``, ``"none"``, ``"j1939"``; see :mod:`.validity`.
    """

    name: str
    start: int
    length: int
    byte_order: str = "little_endian"
    is_signed: bool = False
    is_float: bool = False
    scale: float = 1
    offset: float = 0
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    choices: Mapping[int, str] = field(default_factory=dict)
    spn: int | None = None
    comment: str = ""
    long_name: str = ""
    is_multiplexer: bool = False
    multiplexer_signal: str | None = None
    multiplexer_ids: tuple[int, ...] = ()
    validity: str = ""

    @property
    def first_bit(self) -> int:
        """Where it begins when bits are counted in the order its bytes are read."""
        return 8 * (self.start // 8) + 7 - self.start % 8 if self.byte_order == "big_endian" else self.start

    @property
    def end_bit(self) -> int:
        """The bit after its last: it is present in data of that many bits."""
        return self.first_bit + self.length


@dataclass(frozen=True, slots=True)
class Message:
    """One message; ``frame_id`` without SocketCAN's bit 31, ``length`` in bytes."""

    name: str
    frame_id: int
    is_extended: bool
    is_j1939: bool
    length: int
    signals: tuple[Signal, ...]
    senders: tuple[str, ...] = ()
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Database:
    """The messages of one or more files.

    Attributes:
        messages: in file order. Of two with one id the later decodes, as in cantools.
        skipped: what was left out or is shadowed: (where, why).
        fingerprint: 16 hex digits that change with any text or override.
    """

    messages: tuple[Message, ...]
    skipped: tuple[tuple[str, str], ...] = ()
    fingerprint: str = ""

    def by_id(self) -> dict[int, int]:
        """Index of the message of each id (bit 31 for extended): what a frame is looked up by first."""
        return {m.frame_id | (EXTENDED if m.is_extended else 0): i for i, m in enumerate(self.messages)}

    def by_group(self) -> dict[int, int]:
        """Index of the J1939 message of each parameter group, by :func:`~duco_workbench.j1939.match_key`.

        One whose id names no sender speaks for its parameter group; else the first one of that group does.
        """
        groups: dict[int, int] = {}
        for i in sorted(range(len(self.messages)), key=lambda i: self.messages[i].frame_id & 0xFF != j1939.ANY_SENDER):
            if self.messages[i].is_j1939:
                groups.setdefault(j1939.match_key(self.messages[i].frame_id), i)
        return groups

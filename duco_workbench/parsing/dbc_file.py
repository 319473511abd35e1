"""What the statements of a DBC file say, gathered before messages are made of it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import NamedTuple

from . import bounds
from .dbc_attributes import Attributes
from .definitions import Signal, Skipped


class Located(NamedTuple):
    """A signal as it stands in its message: marker is ``M``, ``m3``, ``m3M`` or ""."""

    signal: Signal
    marker: str
    line: int
    said: str


@dataclass(slots=True)
class Draft:
    """A message while its statements are gathered."""

    line: int
    said: str
    dbc_id: int
    name: str
    length: int
    sender: str
    signals: list[Located] = field(default_factory=list)


@dataclass(slots=True)
class File:
    """What the statements of a file say, by the ids and names that the file uses."""

    name: str
    skipped: Skipped
    drafts: list[Draft] = field(default_factory=list)
    comments: dict[tuple[int, str], str] = field(default_factory=dict)  # (id, signal), (id, "") of the message
    choices: dict[tuple[int, str], dict[int, str]] = field(default_factory=dict)
    floats: set[tuple[int, str]] = field(default_factory=set)
    mux: dict[int, dict[str, tuple[str, str]]] = field(default_factory=lambda: defaultdict(dict))  # parent, ranges
    senders: dict[int, list[str]] = field(default_factory=lambda: defaultdict(list))
    attributes: Attributes = field(default_factory=Attributes)
    mux_values: int = bounds.MAX_MUX_VALUES  # how many more there may be
    mux_entries: int = bounds.MAX_MUX_ENTRIES

    notes: int = 0

    def skip(self, line: int, said: str, why: str) -> None:
        self.notes += 1
        if self.notes <= bounds.MAX_NOTES:
            self.skipped.append((f"{self.name}:{line}", f"{said}: {why}"))
        elif self.notes == bounds.MAX_NOTES + 1:
            self.skipped.append((f"{self.name}:{line}", f"{said}: {why}; what follows like it is not listed"))

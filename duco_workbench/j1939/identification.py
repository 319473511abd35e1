"""What a sender says it is: component, vehicle and software identification (SAE J1939-71) as texts that change.

=====  ================================  ==============================================================
PGN    carries                           texts
=====  ================================  ==============================================================
65259  CI, component identification      ``make``, ``model``, ``serial_number``, ``unit_number``
65260  VI, vehicle identification        ``vin``
65242  SOFT, software identification     ``software_1``, ``software_2`` ...; its first byte counts them
=====  ================================  ==============================================================

Each text is ASCII and ends at ``*``, or at the end of the message. A text of FF or zero bytes is "not available": it is
left out, and never a change.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..model import FrameBatch
from .messages import messages_of
from .transport import LongMessage

SOFTWARE, COMPONENT, VEHICLE = 65242, 65259, 65260
_FIELDS = {COMPONENT: ("make", "model", "serial_number", "unit_number"), VEHICLE: ("vin",)}
_MOST_SOFTWARE = 125  # SPN 965 counts up to 125 fields
_PADDING = b"\x00\xff"


@dataclass(frozen=True, slots=True)
class Identification:
    """One text of one message: ``field`` as the table above names it."""

    ts: int
    bus: str
    sender: int
    field: str
    text: str


@dataclass(frozen=True, slots=True)
class IdentityChange:
    """A sender's text is seen for the first time (``before`` None), or is another one than before."""

    ts: int
    bus: str
    sender: int
    field: str
    before: str | None
    after: str


def identifications(frames: FrameBatch, long: Iterable[LongMessage]) -> list[Identification]:
    """Every identification text of a batch, in order of time.

    Args:
        long: what :func:`~.transport.reassemble` made of the same batch: most of these messages have over 8 bytes.
    """
    return [
        Identification(m.ts, frames.channels[m.channel], m.source, field, text)
        for m in messages_of(frames, long, (SOFTWARE, COMPONENT, VEHICLE))
        for field, text in texts(m.pgn, m.data)
    ]


def texts(pgn: int, data: bytes) -> list[tuple[str, str]]:
    """(field, text) of one message of these groups; empty when it has none that is available."""
    if pgn == SOFTWARE:
        count = min(data[0], _MOST_SOFTWARE) if data else 0  # FF, "not available", takes as many as are there
        names, data = tuple(f"software_{i}" for i in range(1, count + 1)), data[1:]
    else:
        names = _FIELDS.get(pgn, ())
    return [(name, text) for name, text in zip(names, ascii_fields(data), strict=False) if text]


def ascii_fields(data: bytes) -> list[str]:
    """The ``*``-ended texts of ``data``; "" for one that is empty or not available."""
    return [part.strip(_PADDING).decode("ascii", "replace").strip() for part in data.split(b"*")]


def identity_changes(seen: Iterable[Identification]) -> list[IdentityChange]:
    """First sights and changes among texts given in order of time, from as many batches as wanted."""
    known: dict[tuple[str, int, str], str] = {}
    found = []
    for one in seen:
        key = one.bus, one.sender, one.field
        before = known.get(key)
        if before != one.text:
            known[key] = one.text
            found.append(IdentityChange(one.ts, one.bus, one.sender, one.field, before, one.text))
    return found

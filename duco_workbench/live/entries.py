"""One entry of a live stream, decoded once, shared by everyone who watches."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..columns import Parsed
from ..parsed_ipc import from_ipc

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """``stream`` and ``id`` name it in Redis; ``json`` is the small form as written, ``parsed`` everything."""

    stream: str
    id: str
    json: bytes = field(repr=False)
    parsed: Parsed = field(repr=False)

    @property
    def arrived(self) -> int:
        """When the live server took it, microseconds UTC of its clock (an entry's id begins with its time)."""
        return int(self.id.partition("-")[0]) * 1000


def decode(stream: str, entry_id: bytes, fields: Mapping[bytes, bytes]) -> Entry | None:
    """None, and a line in the log, for an entry that cannot be read: the next one may be good."""
    try:
        return Entry(stream, entry_id.decode(), fields[b"json"], from_ipc(fields[b"arrow"])[0])
    except Exception as error:  # whatever bytes someone put there, a reader of many machines goes on
        log.warning("entry %s of %s cannot be read: %r", entry_id.decode(), stream, error)
        return None

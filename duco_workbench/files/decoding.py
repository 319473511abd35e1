"""Every bus by the databases bound to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..model import FrameBatch
from ..parsing import Decoded, Decoder
from ..survey.bindings import Databases
from .selection import Selection


class BusDecoders:
    """Decodes a recording, a batch of any buses at a time; those that share their databases share a decoder."""

    def __init__(self, databases: Databases, selection: Selection) -> None:
        self._databases, self._selection = databases, selection
        self._decoders: dict[tuple[str, ...], tuple[Decoder, Any]] = {}  # each with its open transport sessions

    def decode(self, frames: FrameBatch) -> Iterator[Decoded]:
        """One part for each set of databases; none for buses that have no database."""
        sets = [self._databases.of(bus) for bus in frames.channels]
        for names in dict.fromkeys(sets):
            if not names:
                continue
            mine = np.array([other == names for other in sets], bool)
            # Rows by number: a mask takes three times as long.
            part = frames if mine.all() else frames[np.flatnonzero(mine[frames.channel])]
            if len(part):
                decoder, sessions = self._decoder(names)
                yield decoder.decode_all(part, sessions, is_last=False)

    def end(self) -> Iterator[Decoded]:
        """After the last batch: counts of the sessions that are open."""
        for decoder, sessions in self._decoders.values():
            yield decoder.decode_all(FrameBatch.empty(), sessions)

    def _decoder(self, names: tuple[str, ...]) -> tuple[Decoder, Any]:
        if names not in self._decoders:
            decoder = Decoder(self._selection.database(self._databases.merged(names)))
            self._decoders[names] = decoder, decoder.sessions()
        return self._decoders[names]

"""``--signals``: which signals are wanted, and the smallest database that decodes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

import numpy as np

from ..columns import Samples
from ..errors import ConfigError
from ..parsing.database import Database, Message
from ..parsing.texts import text_signals


class Selection:
    """The signals that match any of some globs over ``Message.Signal``, in any case; without globs all of them.

    Raises: ConfigError when a glob matches no signal of the databases.
    """

    def __init__(self, globs: Sequence[str], databases: Iterable[Database]) -> None:
        self._names: frozenset[str] | None = None
        if not globs:
            return
        names = {f"{m.name}.{s.name}" for database in databases for m in database.messages for s in m.signals}
        chosen = {glob: {name for name in names if fnmatchcase(name.lower(), glob.lower())} for glob in globs}
        for glob, found in chosen.items():
            if not found:
                raise ConfigError(f"--signals {glob!r} matches no signal; write Message.Signal, e.g. 'EEC1.*Speed*'")
        self._names = frozenset().union(*chosen.values())

    def has(self, name: str) -> bool:
        """Of a series or a text: ``Message.Signal``, or ``Message.Signal#2`` where a message repeats the name."""
        return self._names is None or name in self._names or name.rpartition("#")[0] in self._names

    def database(self, database: Database) -> Database:
        """With the messages that have a wanted signal, each with what is needed to decode it."""
        if self._names is None:
            return database
        messages = (self._message(message) for message in database.messages)
        return replace(database, messages=tuple(message for message in messages if message.signals))

    def _message(self, message: Message) -> Message:
        wanted = {s.name for s in message.signals if self.has(f"{message.name}.{s.name}")}
        texts = {message.signals[i].name for i in text_signals(message)}
        if wanted & texts:
            wanted |= texts  # they are found by their order
        parents: Mapping[str, str | None] = {s.name: s.multiplexer_signal for s in message.signals}
        needed = set(wanted)
        for name in wanted:
            while (above := parents.get(name)) is not None and above not in needed:
                needed.add(above)
                name = above
        return replace(message, signals=tuple(s for s in message.signals if s.name in needed))

    def samples(self, samples: Samples) -> Samples:
        """Without the rows of the multiplexers that only had to be decoded."""
        if self._names is None or all(map(self.has, samples.signals)):
            return samples
        return samples.only(np.array([self.has(name) for name in samples.signals], bool))

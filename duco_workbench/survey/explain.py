"""Which messages of which database explain which ids, and which databases a bus should therefore be given.

The rule is the decoder's: the exact id first; then, on 29 bits and for messages that are J1939's, the parameter group.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .. import j1939
from ..model import EXTENDED
from ..parsing.database import Database, Message

UNKNOWN, EXACT, GROUP = 0, 1, 2  # how an id is found
WORTHWHILE = 0.01  # a database is proposed when it explains this share of a bus' frames more


class Index:
    """The messages of a database by id, and by parameter group."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @cached_property
    def _exact(self) -> dict[int, int]:
        return self.database.by_id()

    @cached_property
    def _groups(self) -> dict[int, int]:
        return self.database.by_group()

    @property
    def has_j1939(self) -> bool:
        """Whether some message is found by its parameter group."""
        return bool(self._groups)

    def find(self, arbitration_id: int) -> tuple[Message | None, int]:
        """The message of an id (bit 31 for extended), and how it was found."""
        if (number := self._exact.get(arbitration_id)) is not None:
            return self.database.messages[number], EXACT
        if arbitration_id & EXTENDED and (number := self._groups.get(j1939.match_key(arbitration_id))) is not None:
            return self.database.messages[number], GROUP
        return None, UNKNOWN

    def how(self, ids: NDArray[np.uint32]) -> NDArray[np.uint8]:
        """(k) how each id is found."""
        return np.array([self.find(i)[1] for i in ids.tolist()], np.uint8)


@dataclass(frozen=True, slots=True)
class Share:
    """How much of the data frames of a bus, or of a log, a database explains (0..1 each).

    Attributes:
        exact: by their id. ``j1939``: by their parameter group.
        ids: number of ids explained.
    """

    database: str
    exact: float
    j1939: float
    ids: int

    @property
    def total(self) -> float:
        return self.exact + self.j1939


def share(name: str, how: NDArray[np.uint8], counts: NDArray[np.int64]) -> Share:
    """Of ids found ``how``, seen ``counts`` times."""
    total = max(int(counts.sum()), 1)
    exact, group = int(counts[how == EXACT].sum()), int(counts[how == GROUP].sum())
    return Share(name, exact / total, group / total, int((how != UNKNOWN).sum()))


@dataclass(frozen=True, slots=True)
class Proposal:
    """Databases for a bus, the best first, each with the share of frames that those before it do not explain."""

    bus: str
    databases: tuple[tuple[str, float], ...]

    @property
    def explained(self) -> float:
        return sum(gain for _, gain in self.databases)


def propose(
    bus: str, how: Mapping[str, NDArray[np.uint8]], counts: NDArray[np.int64], sizes: Mapping[str, int]
) -> Proposal:
    """Greedily: the database that explains most, then each that explains at least 1 % of the frames more.

    Args:
        how: of each database, how it finds each id of the bus.
        sizes: messages of each database; of two that explain as much the smaller says more by it.
    """
    left, total = counts.astype(np.int64), max(int(counts.sum()), 1)
    chosen: list[tuple[str, float]] = []
    while True:
        gains = {name: int(left[found != UNKNOWN].sum()) for name, found in how.items()}
        best = min(gains, key=lambda name: (-gains[name], sizes[name], name), default="")
        if not best or gains[best] < max(WORTHWHILE * total, 1):
            return Proposal(bus, tuple(chosen))
        chosen.append((best, gains[best] / total))
        left = np.where(how[best] != UNKNOWN, 0, left)


def indexes(files: Mapping[str, Database], names: Sequence[str] | None = None) -> dict[str, Index]:
    return {name: Index(files[name]) for name in (files if names is None else names)}

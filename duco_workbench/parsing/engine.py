"""What a decoder runs on: compiled kernels, or numpy alone where numba is not installed. Both give the same."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from ..columns import Samples
from ..j1939.transport import LongMessage
from ..model import FrameBatch


class Explained(NamedTuple):
    """What a batch held besides samples.

    Attributes:
        long: messages put together from transport sessions.
        texts: (row, message) of every message with ASCII parameters: row ``n + k`` is ``long[k]``, n the frames.
        counts: as :class:`~.decoder.Decoded` says.
    """

    long: list[LongMessage]
    texts: list[tuple[int, int]]
    counts: dict[str, int]


class Engine(Protocol):
    """Decodes by one plan; one call at a time."""

    def sessions(self) -> Any:
        """No open transport session: what :meth:`decode` wants at the beginning."""

    def decode(self, frames: FrameBatch, sessions: Any, is_last: bool) -> Samples:
        """The samples of a batch, its frames' sessions taken up from ``sessions`` and left there.

        Args:
            is_last: what is open at the end is given up, and counted.

        Raises:
            DataError: ``bad_frames``.
        """

    def explain(self, frames: FrameBatch) -> Explained:
        """What else the batch decoded last held."""

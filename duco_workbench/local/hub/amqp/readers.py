"""Who reads which partition for which consumer group, and who has to give way.

As in Event Hubs: a receiver with an owner level (epoch) reads alone; one of the same or a higher level takes its
place, one of a lower level or of none is refused; without levels up to five may read side by side.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from .errors import LIMIT_EXCEEDED, STOLEN, LinkRefused

MAX_READERS = 5


class Place(NamedTuple):
    group: str
    partition: int


class Receiver(Protocol):
    name: str

    def detach(self, error: LinkRefused) -> None:
        """Lose the place."""


class Readers:
    """Every reader of every connection."""

    def __init__(self) -> None:
        self._at: dict[Place, dict[Receiver, int | None]] = {}

    def admit(self, place: Place, reader: Receiver, epoch: int | None) -> None:
        """Give ``reader`` the place, ending those that it supersedes. Raises: LinkRefused."""
        present = dict(self._at.get(place, {}))
        highest = max((e for e in present.values() if e is not None), default=None)
        if epoch is None:
            _check_shared(present, highest)
            self._at[place] = {**present, reader: None}
        elif highest is not None and epoch < highest:
            raise LinkRefused(
                STOLEN,
                f"Receiver with a higher epoch '{highest}' already exists. Receiver '{reader.name}' with epoch {epoch} "
                "cannot be created. Make sure you are creating receiver with increasing epoch value to ensure "
                "connectivity, or ensure all old epoch receivers are closed or disconnected.",
            )
        else:
            self._at[place] = {reader: epoch}
            _supersede(present, reader, epoch)

    def leave(self, place: Place, reader: Receiver) -> None:
        present = self._at.get(place, {})
        present.pop(reader, None)
        if not present:
            self._at.pop(place, None)


def _supersede(present: dict[Receiver, int | None], new: Receiver, epoch: int) -> None:
    for old, old_epoch in present.items():
        old.detach(
            LinkRefused(
                STOLEN,
                f"New receiver '{new.name}' with higher epoch of '{epoch}' is created hence current receiver "
                f"'{old.name}' with epoch '{'none' if old_epoch is None else old_epoch}' is getting disconnected. "
                "If you are recreating the receiver, make sure a higher epoch is used.",
            )
        )


def _check_shared(present: dict[Receiver, int | None], highest: int | None) -> None:
    if highest is not None:
        raise LinkRefused(
            STOLEN,
            f"At least one receiver for the endpoint is created with epoch of '{highest}', and so non-epoch receiver "
            "is not allowed. Either reconnect with a higher epoch, or make sure all epoch receivers are closed or "
            "disconnected.",
        )
    if len(present) >= MAX_READERS:
        raise LinkRefused(
            LIMIT_EXCEEDED,
            f"Exceeded the maximum number of allowed receivers per partition in a consumer group which is "
            f"{MAX_READERS}. List of connected receivers - {', '.join(reader.name for reader in present)}.",
        )

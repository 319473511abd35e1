"""What the hub has and no ingestor has committed, by what the ingestors say in their pulses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Beats = Sequence[Mapping[str, Any]]  # of ingestors: see IoTHubSource.facts
_NOTHING = (-1, -1)


def has_read(beats: Beats, ends: Mapping[str, int], newest: int) -> bool:
    """Whether all that the hub had of a machine is on the raw log. It does not matter how old a pulse is: what is
    committed stays so.

    Args:
        ends: by partition the last sequence number that the hub had, -1 for none.
        newest: when the hub took the machine's last message, microseconds UTC. A partition of which something later is
            committed has no message of the machine left, for the hub's times rise in each.
    """
    committed: dict[str, tuple[int, int]] = {}
    for beat in beats:
        for partition, (sequence, at) in beat.get("committed", {}).items():
            committed[partition] = max(committed.get(partition, _NOTHING), (sequence, at))
    known = ((last, *committed.get(partition, _NOTHING)) for partition, last in ends.items())
    return all(sequence >= last or at > newest for last, sequence, at in known)


def unread(beats: Beats) -> int | None:
    """As the ingestors know it, for a hub that does not tell; None while one of them does not know, or nobody reads
    some partition.
    """
    behind = [beat.get("behind") for beat in beats]
    read = {partition for beat in beats for partition in beat.get("partitions", ())}
    if not beats or len(read) < max(beat.get("hub_partitions", 0) for beat in beats):
        return None
    return None if None in behind else sum(messages for messages in behind if messages)

"""What a link can be attached to, and who may: addresses, tokens, the endpoint that all connections share."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import unquote

from ..journal import Journal
from .errors import NOT_FOUND, OUT_OF_RANGE, UNAUTHORIZED, LinkRefused
from .readers import Place, Readers

CBS, MANAGEMENT = "$cbs", "$management"
Path = tuple[str, ...]


@dataclass(frozen=True)
class Endpoint:
    """One event hub: what its connections share.

    Attributes:
        name: of the event hub, the ``EntityPath`` of its connection string.
        check: (token, resource) -> None, or why the token is no good for it.
        readers: of all connections.
    """

    journal: Journal
    name: str
    check: Callable[[str, str], str | None]
    readers: Readers = field(default_factory=Readers)


class Node(NamedTuple):
    """One end of a link.

    Attributes:
        path: what a token must cover.
        service: ``$cbs`` or ``$management``; "" for a partition or the event hub itself.
        place: of a partition's reader.
    """

    path: Path
    service: str = ""
    place: Place | None = None


def path_of(address: str) -> Path:
    """``amqps://host/Hub/ConsumerGroups/g/Partitions/0`` or the same without host, as lower-case segments."""
    without_host = re.sub(r"^[a-z]+://[^/]*/?", "", address, flags=re.IGNORECASE)
    return tuple(segment.lower() for segment in unquote(without_host).split("/") if segment)


def node_at(endpoint: Endpoint, address: str) -> Node:
    """Raises: LinkRefused (not-found, argument-out-of-range)."""
    path, hub = path_of(address), endpoint.name.lower()
    if path and path[-1] in (CBS, MANAGEMENT) and path[:-1] in ((), (hub,)):
        return Node((hub,), path[-1])
    if path[:1] != (hub,):
        raise LinkRefused(NOT_FOUND, f"The messaging entity '{address}' could not be found: this is '{endpoint.name}'.")
    match path[1:]:
        case ():
            return Node(path)
        case ("partitions", _) | ("publishers", _):
            return Node(path)
        case ("consumergroups", group, "partitions", partition):
            return Node(path, place=Place(group, _partition(endpoint, partition)))
    raise LinkRefused(NOT_FOUND, f"The messaging entity '{address}' could not be found.")


def _partition(endpoint: Endpoint, text: str) -> int:
    count = endpoint.journal.partitions
    if text.isascii() and text.isdigit() and int(text[:9]) < count:
        return int(text[:9])
    raise LinkRefused(
        OUT_OF_RANGE,
        f"The specified partition '{text}' is invalid for an EventHub partition sender or receiver. "
        f"It should be between 0 and {count - 1}.",
    )


class Grants:
    """The tokens one connection has shown. They are judged again at each use: they expire."""

    def __init__(self, check: Callable[[str, str], str | None]) -> None:
        self._check = check
        self._tokens: dict[str, str] = {}

    def put(self, audience: str, token: str) -> str | None:
        """None, or why the token is no good for ``audience``."""
        refusal = self._check(token, audience)
        if refusal is None:
            self._tokens[audience] = token
        return refusal

    def require(self, node: Node) -> None:
        """Raises: LinkRefused (unauthorized-access)."""
        if node.service == CBS:
            return  # here tokens are shown
        refusals = []
        for audience, token in self._tokens.items():
            if covers(audience, node):
                refusal = self._check(token, audience)
                if refusal is None:
                    return
                refusals.append(f"the token for {audience} is no good any longer: {refusal}")
        why = "; ".join(refusals) or "no token for it was put to $cbs"
        raise LinkRefused(UNAUTHORIZED, f"Unauthorized access to '{'/'.join(node.path)}': {why}")


def covers(audience: str, node: Node) -> bool:
    """Whether what ``audience`` names holds the node, or is in it: who reads a group may ask about its event hub."""
    return all(ours == theirs for ours, theirs in zip(path_of(audience), node.path, strict=False))

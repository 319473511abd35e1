"""What a source, a sink, a log and parsing logic are: the order of calls, and what failure means.

``open`` connects (constructors only check settings), then any number of calls, then ``close``. A method that raises
:class:`ServiceError` may be called again with the same arguments; nothing was committed. Nothing else is retried.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from .columns import Parsed
from .model import DeadLetter, Message

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
T_contra = TypeVar("T_contra", contravariant=True)


@dataclass(frozen=True, slots=True)
class Delivery(Generic[T]):
    """One batch and the position to commit once every sink has it; ``position`` means something to its source only."""

    items: Sequence[T]
    position: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T_co]):
    """What a step made of a batch: the good ones, and one dead letter for each bad one."""

    ok: Sequence[T_co]
    failed: Sequence[DeadLetter] = ()


class Source(Protocol[T]):
    """Gives batches in order; after a crash it starts again behind the last committed one (at least once)."""

    async def open(self) -> None: ...

    def deliveries(self) -> AsyncIterator[Delivery[T]]:
        """One batch at a time: the next is asked for only when the last was committed."""
        ...

    async def commit(self, delivery: Delivery[Any]) -> None: ...

    async def close(self) -> None: ...


class Sink(Protocol[T_contra]):
    """``write`` returns only when the batch is durable (live sinks: when it was handed on or dropped)."""

    async def open(self) -> None: ...

    async def write(self, batch: Sequence[T_contra]) -> None: ...

    async def close(self) -> None: ...


class ParsingLogic(Protocol):
    """A pure function of one message and the manifest that applies to it; bad messages become dead letters."""

    def parse(self, messages: Sequence[Message]) -> Outcome[Parsed]: ...

"""One stay at the hub: the SDK's client, what it has received and nobody has taken yet, and a watch on both.

The SDK balances partitions between ingestors, and reconnects by itself; but a link that cannot be opened it tries
again twenty times a second for ever, and says so to nobody. So the watch asks the hub every few seconds what it has:
no answer, or messages that do not arrive, end the stay, and :mod:`.iot_hub` begins another one, calmly.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from azure.eventhub import EventData
from azure.eventhub.aio import CheckpointStore, EventHubConsumerClient, PartitionContext
from azure.eventhub.exceptions import AuthenticationError, OwnershipLostError

from ..errors import ConfigError, DucoError, ServiceError
from ..iothub.sas import parse_connection_string
from .checkpoints import store_errors

T = TypeVar("T")
log = logging.getLogger(__name__)

PREFETCH = 100  # events of a partition on their way; with what waits below, what an ingestor that is stuck holds
BATCHES = 8  # of up to PREFETCH events that wait to be taken …
BYTES = 8 << 20  # … unless their bodies are this heavy before: a message may be 256 kB
ASK_S = 10.0  # for one question to the hub
WATCH_S = 5.0  # between two looks at what the hub has
IDLE_S = 60.0  # without a frame from the hub: its connection is dead, even if nobody said so
CLOSE_S = 4.0  # for all of it: a process that is told to stop has 9 s, and others have to close as well


class Hub(NamedTuple):
    """Where to read, as the settings say it."""

    connection_string: str
    group: str
    ca: str = ""


@dataclass(slots=True, eq=False)
class Part:
    """A partition that this process reads, from its claim to its loss.

    Attributes:
        expected: the next sequence number, or -1 when any will do.
        committed: the last sequence number that was committed, and when the hub took that message (microseconds).
        last: the last one the hub has; ``asked``: it has told so itself, be it that it has none.
    """

    context: PartitionContext
    expected: int = -1
    committed: int = -1
    committed_at: int = 0
    last: int = -1
    asked: bool = False

    @property
    def behind(self) -> int:
        return max(0, self.last - self.committed)

    @property
    def is_known(self) -> bool:
        """Whether ``behind`` is so, and not 0 because nobody has looked yet."""
        return self.asked or self.last >= 0


class Batch(NamedTuple):
    part: Part
    events: Sequence[EventData]
    weight: int  # bytes of their bodies


class Session:
    """``start`` once, then ``take`` until it raises, then ``close``."""

    def __init__(self, hub: Hub, checkpoints: CheckpointStore) -> None:
        """Raises: ConfigError for a connection string that is none."""
        self._hub, self._checkpoints = hub, checkpoints
        names = parse_connection_string(
            hub.connection_string, "DUCO_HUB_EVENTS", "Endpoint", "SharedAccessKeyName", "SharedAccessKey", "EntityPath"
        )
        self._host = names["Endpoint"].partition("://")[2].rstrip("/")
        self._place = self._host, names["EntityPath"], hub.group
        self._client = EventHubConsumerClient.from_connection_string(
            hub.connection_string,
            hub.group,
            checkpoint_store=checkpoints,
            connection_verify=hub.ca or None,
            idle_timeout=IDLE_S,
            retry_backoff_factor=0.1,  # of questions: a hub that is away is known after 2 s, not after 12
            **getattr(checkpoints, "balancing", {}),
        )
        self.parts: dict[str, Part] = {}
        self._begins: dict[str, int] = {}  # by partition: the first sequence number the hub still had
        self._missing: dict[str, int] = {}  # by partition: what was expected and missing at the watch's last look
        self._errors: dict[str, str] = {}  # by partition, "" for claiming them: what the SDK said last
        self._batches: deque[Batch] = deque()
        self._arrived, self._changed = asyncio.Event(), asyncio.Event()  # changed: batches taken, or a partition lost
        self._failure: DucoError | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Raises: ConfigError (key, certificate, hub's name, checkpoints' container), ServiceError."""
        with store_errors("how far the hub was read"):
            known = {c["partition_id"]: c for c in await self._checkpoints.list_checkpoints(*self._place)}
        partitions = await self._answer(self._client.get_partition_ids())
        for has in await asyncio.gather(*map(self._ask_of, partitions)):
            self._begins[has["id"]] = has["beginning_sequence_number"]
            checkpoint = known.get(has["id"])
            if checkpoint and checkpoint["sequence_number"] > has["last_enqueued_sequence_number"]:
                await self._begin_anew(checkpoint)
        self._tasks = [asyncio.create_task(self._receive()), asyncio.create_task(self._watch())]

    async def _begin_anew(self, checkpoint: Any) -> None:
        """Unless another ingestor took the partition from us: it sees the same, and is the one to say so."""
        partition = checkpoint["partition_id"]
        try:
            with store_errors(f"the checkpoint of partition {partition}"):
                await self._checkpoints.update_checkpoint({**checkpoint, "offset": "-1", "sequence_number": -1})
        except OwnershipLostError as error:
            log.info("%s", error)
            return
        log.warning(
            "partition %s was read up to message %s, which the hub does not have: it is another hub, or began anew; "
            "it is read from its beginning",
            partition,
            checkpoint["sequence_number"],
        )

    async def take(self, seconds: float) -> list[Batch]:
        """What has arrived of partitions that are still ours, waiting up to ``seconds`` for the first.

        Raises: ServiceError or ConfigError that ended this session.
        """
        if not self._batches and not self._failure:
            self._arrived.clear()
            await _set_within(self._arrived, seconds)
        if self._failure:
            raise self._failure
        taken = [batch for batch in self._batches if self._is_ours(batch.part)]
        self._batches.clear()
        self._changed.set()
        return taken

    async def close(self) -> None:
        """Gives up the partitions, so that another ingestor need not wait for them to lapse.

        Takes CLOSE_S at most: whom the hub or the checkpoints leave without an answer ends by itself, unwatched.
        """
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_S / 2)
        await asyncio.wait([asyncio.create_task(self._client.close())], timeout=CLOSE_S / 2)
        self.parts.clear()
        self._batches.clear()
        self._changed.set()

    # What the SDK calls.

    async def _receive(self) -> None:
        try:
            await self._client.receive_batch(
                self._on_batch,
                max_batch_size=PREFETCH,
                prefetch=PREFETCH,
                track_last_enqueued_event_properties=True,
                starting_position="-1",
                on_error=self._on_error,
                on_partition_initialize=self._on_claim,
                on_partition_close=self._on_loss,
            )
        except Exception as error:
            self._fail(ServiceError(f"reading the hub at {self._host} ended: {error or type(error).__name__}"))

    async def _on_claim(self, context: PartitionContext) -> None:
        partition = context.partition_id
        part = self.parts[partition] = Part(context, committed=self._begins.get(partition, 0) - 1)
        for checkpoint in await self._checkpoints.list_checkpoints(*self._place):
            if checkpoint["partition_id"] == partition and checkpoint["sequence_number"] >= 0:
                part.committed = checkpoint["sequence_number"]
                part.expected = part.committed + 1

    async def _on_loss(self, context: PartitionContext, reason: object) -> None:
        self.parts.pop(context.partition_id, None)
        self._changed.set()

    async def _on_error(self, context: PartitionContext | None, error: Exception) -> None:
        """The SDK goes on trying by itself; whether it gets anywhere the watch finds out."""
        where, text = context.partition_id if context else "", _one_line(error)
        if context is None and self._errors.get(where) != text:
            log.warning("claiming partitions of the hub: %s", text)
        self._errors[where] = text

    async def _on_batch(self, context: PartitionContext, events: Sequence[EventData]) -> None:
        """Waits for room, which holds the hub back.

        The SDK forgets whoever still waits here when a link is lost, and comes with the same events over the next one:
        what waits is given up with its partition, or each lost link would leave another batch behind.
        """
        part = self.parts.get(context.partition_id)
        if part is None:
            return
        fresh = _in_sequence(part, events)
        end = context.last_enqueued_event_properties
        if end and end["sequence_number"] is not None:
            part.last = max(part.last, end["sequence_number"])
        while self._is_full() and self._is_ours(part):
            self._changed.clear()
            await self._changed.wait()
        if fresh and self._is_ours(part):
            self._batches.append(Batch(part, fresh, sum(len(body_of(event)) for event in fresh)))
            self._arrived.set()

    def _is_ours(self, part: Part) -> bool:
        """From its claim to its loss: claimed again it is another part."""
        return self.parts.get(part.context.partition_id) is part

    def _is_full(self) -> bool:
        return len(self._batches) >= BATCHES or sum(batch.weight for batch in self._batches) >= BYTES

    # The watch.

    async def _watch(self) -> None:
        try:
            while True:
                await asyncio.sleep(WATCH_S)
                for partition, part in list(self.parts.items()):
                    had = part.expected  # it may grow while the hub answers
                    last = (await self._ask_of(partition))["last_enqueued_sequence_number"]
                    if last < had - 1:
                        raise ServiceError(f"the hub at {self._host} began anew: partition {partition} is shorter now")
                    self._look_for_missing(partition, part, last)
        except DucoError as error:
            self._fail(error)

    def _look_for_missing(self, partition: str, part: Part, last: int) -> None:
        """Raises: ServiceError when the hub has what it does not give us, for the second time."""
        part.last, part.asked = max(part.last, last), True
        if last < max(part.expected, self._begins.get(partition, 0)) or self._batches:
            self._missing.pop(partition, None)
        elif self._missing.get(partition) != part.expected:
            self._missing[partition] = part.expected  # it may be on its way: look once more
        else:
            raise ServiceError(
                f"the hub at {self._host} has messages of partition {partition} that it does not give to consumer "
                f"group {self._hub.group!r}: is there such a group (DUCO_HUB_GROUP), and no other program reading it? "
                f"{self._errors.get(partition, '')}".rstrip()
            )

    @property
    def hub_partitions(self) -> int:
        """How many the hub has, whoever reads them."""
        return len(self._begins)

    def _fail(self, error: DucoError) -> None:
        self._failure = self._failure or error
        self._arrived.set()

    async def _ask_of(self, partition: str) -> dict[str, Any]:
        return await self._answer(self._client.get_partition_properties(partition))

    async def _answer(self, question: Awaitable[T]) -> T:
        """Raises: ConfigError, ServiceError."""
        asked = asyncio.ensure_future(question)
        await asyncio.wait([asked], timeout=ASK_S)
        if not asked.done():
            asked.cancel()  # and not awaited: its own closing may hang as well
            raise ServiceError(f"the hub at {self._host} does not answer within {ASK_S:.0f} s")
        try:
            return asked.result()
        except Exception as error:
            raise self._said(error) from error

    def _said(self, error: Exception) -> DucoError:
        """The SDK's error as ours: what a person can mend, and what may pass."""
        text = _one_line(error)
        if "CERTIFICATE_VERIFY_FAILED" in text:
            who = f"those of {self._hub.ca!r}" if self._hub.ca else "any that this computer knows"
            return ConfigError(
                f"DUCO_HUB_CA: the authority that signed the certificate of the hub at {self._host} is none of {who}; "
                f"set it to that authority's PEM file ({text})"
            )
        if "Status code: 404" in text:
            return ConfigError(f"DUCO_HUB_EVENTS: at {self._host} there is no EntityPath {self._place[1]!r} ({text})")
        if isinstance(error, AuthenticationError):
            return ConfigError(
                f"DUCO_HUB_EVENTS: the hub at {self._host} refuses the key for {self._place[1]!r}; copy the connection "
                f"string again, and see that this computer's clock is right ({text})"
            )
        return ServiceError(f"the hub at {self._host} does not answer: {text}")


def body_of(event: EventData) -> bytes:
    """Verbatim."""
    return event.body if isinstance(event.body, bytes) else b"".join(event.body)  # type: ignore[arg-type]


def _one_line(error: Exception) -> str:
    """Without what the SDK repeats below it."""
    return " ".join(str(error).partition("\nError")[0].split()) or type(error).__name__


def _in_sequence(part: Part, events: Sequence[EventData]) -> list[EventData]:
    """Those that did not come before: after a lost link the SDK gives what it had in hand once more."""
    fresh = []
    for event in events:
        number = event.sequence_number or 0
        if number < part.expected:
            continue
        if number > part.expected >= 0:
            log.warning(
                "partition %s: %d messages were older than the hub keeps them before they were read; they are lost",
                part.context.partition_id,
                number - part.expected,
            )
        part.expected = number + 1
        fresh.append(event)
    return fresh


async def _set_within(event: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return

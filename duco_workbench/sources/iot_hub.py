"""The hub as a source of raw records: every partition it gives us, each in order, from its last checkpoint on.

Reads the Event Hubs-compatible endpoint with azure-eventhub. Several ingestors of one consumer group share the
partitions; all messages of a machine are in one.
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from azure.eventhub import EventData
from azure.eventhub.aio import CheckpointStore
from azure.eventhub.exceptions import OwnershipLostError

from ..errors import ConfigError, ServiceError
from ..judge import identity
from ..model import SECOND, Record
from ..ports import Delivery
from .checkpoints import store_errors
from .hub_session import Batch, Hub, Part, Session, body_of
from .own import now

log = logging.getLogger(__name__)

POLL_S = 0.25  # an idle hub gives an empty delivery this often
FIRST_PAUSE_S, LAST_PAUSE_S = 0.5, 5.0

DEVICE_ID = b"iothub-connection-device-id"
NO_TENANT = "$twin.tags.tenant"  # what message enrichment stamps for a device that has no such tag
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class IoTHubSource:
    """At least once: what was not committed is delivered again after a restart.

    A hub that goes away is waited for: it is logged once, ``facts()["trouble"]`` says so, deliveries are empty.
    """

    def __init__(
        self, connection_string: str, group: str, checkpoints: CheckpointStore, tenant: str, ca: str = ""
    ) -> None:
        """``tenant``: of devices the hub stamps none on. ``ca``: PEM file, "" for the public ones.

        Raises: ConfigError when one of the settings is none.
        """
        if not connection_string:
            raise ConfigError(
                "DUCO_HUB_EVENTS is not set: it takes the connection string of the hub's Event Hub-compatible endpoint"
            )
        _check_ca(ca)
        self._hub, self._checkpoints, self._tenant = Hub(connection_string, group, ca), checkpoints, tenant
        self._session: Session | None = None
        self.trouble: str | None = None  # why nothing is read
        self._read = _Rate()

    def facts(self) -> dict[str, Any]:
        """For the pulse. ``behind``: messages of our partitions the hub has and we did not commit, None while nobody
        knows; ``behind_s``: age of the oldest of them at most; ``committed``: by partition the last sequence number and
        when the hub took it (microseconds UTC); ``trouble``: why nothing is read, or None."""
        parts = self._parts
        late = [now() - part.committed_at for part in parts.values() if part.behind and part.committed_at]
        return {
            "partitions": sorted(parts, key=lambda p: (len(p), p)),
            "hub_partitions": self._session.hub_partitions if self._session else 0,
            "behind": sum(part.behind for part in parts.values()) if self._is_known else None,
            "committed": {name: (part.committed, part.committed_at) for name, part in parts.items()},
            "behind_s": round(max(late, default=0) / SECOND, 1),
            "messages_s": self._read.per_second(),
            "trouble": self.trouble,
        }

    @property
    def _parts(self) -> Mapping[str, Part]:
        return self._session.parts if self._session else {}

    @property
    def _is_known(self) -> bool:
        return self._session is not None and not self.trouble and all(part.is_known for part in self._parts.values())

    async def lag(self) -> int:
        """Messages of our partitions the hub has and we did not commit."""
        return sum(part.behind for part in self._parts.values())

    async def open(self) -> None:
        """Raises: ConfigError (key, certificate, name of the hub), ServiceError."""
        if self._session is None:
            session = Session(self._hub, self._checkpoints)
            try:
                await session.start()
            except BaseException:
                await session.close()
                raise
            self._session = session

    async def deliveries(self) -> AsyncIterator[Delivery[Record]]:
        """An empty delivery means that nothing was new, or that the hub is away. Raises: ConfigError."""
        pause = FIRST_PAUSE_S
        while True:
            try:
                await self.open()
                self._well()
                while True:
                    assert self._session is not None
                    delivery = self._delivery(await self._session.take(POLL_S))
                    pause = FIRST_PAUSE_S if delivery.items else pause
                    yield delivery
            except ServiceError as error:
                self._complain(str(error))
            await self._leave()
            until = time.monotonic() + pause * random.uniform(0.5, 1.0)
            pause = min(pause * 2, LAST_PAUSE_S)
            while time.monotonic() < until:
                yield Delivery(())
                await asyncio.sleep(POLL_S)

    def _delivery(self, batches: list[Batch]) -> Delivery[Record]:
        items = [record_of(event, batch.part, self._tenant) for batch in batches for event in batch.events]
        self._read.count += len(items)
        return Delivery(items, {b.part.context.partition_id: (b.part, b.events[-1]) for b in batches})

    async def commit(self, delivery: Delivery[Any]) -> None:
        """A partition that another ingestor took meanwhile is left to it: it reads what was not committed again."""
        await asyncio.gather(*(self._commit(part, event) for part, event in delivery.position.values()))

    async def _commit(self, part: Part, event: EventData) -> None:
        try:
            with store_errors(f"the checkpoint of partition {part.context.partition_id}"):
                await part.context.update_checkpoint(event)
        except OwnershipLostError as error:
            log.info("%s", error)
        else:
            part.committed, part.committed_at = event.sequence_number or 0, enqueued(event)

    async def close(self) -> None:
        await self._leave()
        await self._checkpoints.close()  # type: ignore[attr-defined]  # both stores have it, their base has not

    async def _leave(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _complain(self, trouble: str) -> None:
        if trouble != self.trouble:
            log.warning("%s; waiting for it", trouble)
        self.trouble = trouble

    def _well(self) -> None:
        if self.trouble:
            log.info("the hub is read again")
        self.trouble = None


class _Rate:
    """Counts, and says how many there were a second since it was last asked."""

    def __init__(self) -> None:
        self.count, self._asked = 0, (0, time.monotonic())

    def per_second(self) -> float:
        (count, at), self._asked = self._asked, (self.count, time.monotonic())
        return round((self.count - count) / max(self._asked[1] - at, 0.001), 1)


def _check_ca(ca: str) -> None:
    if not ca:
        return
    try:
        ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"DUCO_HUB_CA = {ca!r} is no file of certificates (PEM): {error}") from None


def record_of(event: EventData, part: Part, tenant: str) -> Record:
    """The body verbatim; who sent it by the hub's word; the rest by the envelope's, where that can be read."""
    body = body_of(event)
    partition, sequence, at = int(part.context.partition_id), event.sequence_number or 0, enqueued(event)
    known = identity(body, partition, sequence, at)
    return Record(
        tenant=_tenant(event.properties) or tenant,
        chassis_id=_text(event.system_properties.get(DEVICE_ID)),
        msg_type=known.msg_type,
        message_id=known.message_id,
        ts=known.ts,
        ts_enqueued=at,
        ts_ingested=now(),
        body=body,
        hub_partition=partition,
        hub_sequence=sequence,
        v=known.v,
    )


def enqueued(event: EventData) -> int:
    """When the hub took it, microseconds UTC; its clock gives milliseconds."""
    return (event.enqueued_time - _EPOCH) // timedelta(microseconds=1) if event.enqueued_time else now()


def _tenant(properties: Mapping[Any, Any]) -> str:
    stamped = _text(properties.get(b"tenant", properties.get("tenant")))
    return "" if stamped == NO_TENANT else stamped


def _text(value: object) -> str:
    """What AMQP gives as bytes or text; "" for nothing."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value or "")

"""How far the hub was read, and who of several ingestors reads which partition: on Redis beside the log, or in Blobs.

Both are a :class:`~azure.eventhub.aio.CheckpointStore`, so the hub's SDK balances by either. On Redis two hashes for a
consumer group, by partition: ``hub:{host}/{hub}/{group}:owners`` and ``…:checkpoints``.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec
from azure.core.exceptions import AzureError, ClientAuthenticationError, ResourceNotFoundError
from azure.eventhub.aio import CheckpointStore
from azure.eventhub.exceptions import OwnershipLostError

from .. import redis_log
from ..errors import ConfigError, ServiceError

# An ownership is "etag milliseconds owner instance". It changes hands only from the state the claimer has seen, and by
# the server's clock, so that ingestors need not agree about the time.
_NOW = "local t = redis.call('TIME') local now = t[1] * 1000 + math.floor(t[2] / 1000) "
_CLAIM = (
    _NOW
    + """
local held = redis.call('HGET', KEYS[1], ARGV[1])
if held and string.match(held, '^%S+') ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3] .. ' ' .. string.format('%.0f', now) .. ' ' .. ARGV[4])
return 1
"""
)
_LIST = _NOW + "return {string.format('%.0f', now), redis.call('HGETALL', KEYS[1])}"
# Whoever lost the partition must not move its checkpoint under the new owner.
_CHECKPOINT = """
local held = redis.call('HGET', KEYS[1], ARGV[1])
if held and ARGV[2] ~= '*' and string.match(held, '^%S+ %d+ (.*)') ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
return 1
"""

# For one question to the Blobs. The SDK's own patience is a minute and a half: who asks them tries again by himself,
# says so, and has little time once he is told to stop.
_BLOBS: Mapping[str, Any] = {"retry_total": 0, "connection_timeout": 5, "read_timeout": 5}

_PLACE = ("fully_qualified_namespace", "eventhub_name", "consumer_group")


def checkpoint_store(setting: str, state_url: str, instance: str = "") -> CheckpointStore:
    """``setting`` is DUCO_HUB_CHECKPOINTS: "" for Redis, else a Blob connection string with ``;Container=NAME``.

    Raises: ConfigError.
    """
    return _blobs(setting) if setting else RedisCheckpoints(state_url, instance)


def _blobs(setting: str) -> CheckpointStore:
    parts = [part for part in setting.split(";") if part]
    containers = [part.partition("=")[2] for part in parts if part.lower().startswith("container=")]
    connection = ";".join(part for part in parts if not part.lower().startswith("container="))
    if len(containers) != 1 or not containers[0]:
        raise ConfigError("DUCO_HUB_CHECKPOINTS: add ;Container=NAME, the Blob container that holds the checkpoints")
    try:
        from azure.eventhub.extensions.checkpointstoreblobaio import BlobCheckpointStore

        return BlobCheckpointStore.from_connection_string(connection, containers[0], **_BLOBS)
    except ImportError as error:
        raise ConfigError(
            f"DUCO_HUB_CHECKPOINTS: Blob checkpoints need the extra `azure` ({error}): "
            "pip install 'duco-workbench[azure]'"
        ) from None
    except ValueError as error:
        raise ConfigError(f"DUCO_HUB_CHECKPOINTS: {error}; copy the storage account's connection string") from None


@contextmanager
def store_errors(what: str) -> Iterator[None]:
    """The Blobs' errors as ours, naming what could not be done; those of Redis are ours already.

    Raises: ConfigError (no such container, or a key that is refused), ServiceError.
    """
    try:
        yield
    except AzureError as error:
        text = str(error).partition("\n")[0] or type(error).__name__
        if isinstance(error, ResourceNotFoundError):
            raise ConfigError(f"DUCO_HUB_CHECKPOINTS: there is no such container, create it ({text})") from error
        if isinstance(error, ClientAuthenticationError) or getattr(error, "status_code", None) in (401, 403):
            raise ConfigError(
                "DUCO_HUB_CHECKPOINTS: the storage account refuses its key; copy the connection string again, and see "
                f"that this computer's clock is right and may reach the account ({text})"
            ) from error
        raise ServiceError(f"{what}: the Blobs of DUCO_HUB_CHECKPOINTS do not answer: {text}") from error


class RedisCheckpoints(CheckpointStore):
    """Of any hubs and groups. Every method raises ServiceError when the log's server is away.

    To a process with a name (``instance``, as in :class:`LogAddress`) what it owned before a restart is free at once.
    """

    # For the client that uses this store: a round trip costs little here, so that a killed ingestor's partitions are
    # read on after seconds; the SDK's own 30 s and 180 s are made for Blobs.
    balancing: Mapping[str, float] = {"load_balancing_interval": 1, "partition_ownership_expiration_interval": 5}

    def __init__(self, state_url: str, instance: str = "") -> None:
        self._redis: Any = redis_log.connect(state_url)
        self._instance = instance
        self._mine: dict[tuple[str, str], str] = {}  # by key and partition: as whom this process last claimed it

    async def list_ownership(
        self, fully_qualified_namespace: str, eventhub_name: str, consumer_group: str, **kwargs: Any
    ) -> Iterable[dict[str, Any]]:
        place = dict(zip(_PLACE, (fully_qualified_namespace, eventhub_name, consumer_group), strict=True))
        key = _key(place, "owners")
        with redis_log.service_errors("the log does not say who reads the hub"):
            now, pairs = await self._redis.eval(_LIST, 1, key)
        found = []
        for partition, held in zip(pairs[::2], pairs[1::2], strict=True):
            etag, modified, who = held.decode().split(" ", 2)
            owner, _, instance = who.partition(" ")
            if instance == self._instance != "" and who != self._mine.get((key, partition.decode())):
                owner = ""  # this process', before it was started again
            age = (int(now) - int(modified)) / 1000
            known = {"owner_id": owner, "etag": etag, "last_modified_time": time.time() - age}
            found.append({**place, "partition_id": partition.decode(), **known})
        return found

    async def claim_ownership(
        self, ownership_list: Iterable[dict[str, Any]], **kwargs: Any
    ) -> Iterable[dict[str, Any]]:
        """Those of the list that were claimed: each only if nobody changed it since it was listed."""
        return [claimed for claimed in [await self._claim(wanted) for wanted in ownership_list] if claimed]

    async def _claim(self, wanted: Mapping[str, Any]) -> dict[str, Any] | None:
        key, partition, etag = _key(wanted, "owners"), wanted["partition_id"], uuid.uuid4().hex
        seen, who = wanted.get("etag") or "", f"{wanted['owner_id']} {self._instance}"
        with redis_log.service_errors(f"claiming partition {partition} of the hub"):
            if not await self._redis.eval(_CLAIM, 1, key, partition, seen, etag, who):
                return None
        self._mine[key, partition] = who
        return {**wanted, "etag": etag, "last_modified_time": time.time()}

    async def update_checkpoint(self, checkpoint: Mapping[str, Any], **kwargs: Any) -> None:
        """Raises: OwnershipLostError when this process had claimed the partition and another has it now."""
        owners, partition = _key(checkpoint, "owners"), checkpoint["partition_id"]
        place = msgspec.json.encode({name: checkpoint[name] for name in ("offset", "sequence_number")})
        mine = self._mine.get((owners, partition), "*")  # "*" for one who never claimed it; "" once it was released
        with redis_log.service_errors(f"committing partition {partition} of the hub"):
            keys = owners, _key(checkpoint, "checkpoints")
            if not await self._redis.eval(_CHECKPOINT, 2, *keys, partition, mine, place):
                raise OwnershipLostError(f"another ingestor reads partition {partition} of the hub now")

    async def list_checkpoints(
        self, fully_qualified_namespace: str, eventhub_name: str, consumer_group: str, **kwargs: Any
    ) -> Iterable[dict[str, Any]]:
        place = dict(zip(_PLACE, (fully_qualified_namespace, eventhub_name, consumer_group), strict=True))
        with redis_log.service_errors("the log does not say how far the hub was read"):
            stored = await self._redis.hgetall(_key(place, "checkpoints"))
        return [{**place, "partition_id": p.decode(), **msgspec.json.decode(text)} for p, text in stored.items()]

    async def close(self) -> None:
        await self._redis.aclose()


def _key(place: Mapping[str, Any], what: str) -> str:
    return f"hub:{'/'.join(place[name] for name in _PLACE)}:{what}"

"""The registry: which devices there are, their keys and their twins. In memory to be read, on disk before it is told.

One process per folder: the file is locked while the hub runs.
"""

from __future__ import annotations

import asyncio
import base64
import re
import secrets
import sqlite3
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec

from ...errors import ConfigError, ServiceError
from ...iothub.sas import is_key
from . import twins
from .groupcommit import GroupCommit
from .refusals import Refusal, bad_argument, unknown_device

_ID = re.compile(r"[A-Za-z0-9\-:.+%_#*?!(),=@;$']{1,128}\Z")
MIN_KEY, MAX_KEY = 16, 64  # bytes

Row = tuple[str, bytes | None]  # device id, record; None deletes


class Device(msgspec.Struct):
    """A device and its twin.

    Attributes:
        generation: another one when a device is deleted and made again under its name.
        etag, twin_etag: rise when a service changes the identity, the twin.
        version: rises with every change of the twin.
        desired_at, reported_at: when they were last changed, microseconds UTC; 0 = never.
        subscriptions: topics of its MQTT session. It outlives connections: azure-iot-device subscribes once.
    """

    device_id: str
    generation: str
    primary_key: str
    secondary_key: str
    enabled: bool = True
    etag: int = 1
    tags: dict[str, Any] = {}
    desired: dict[str, Any] = {}
    reported: dict[str, Any] = {}
    desired_version: int = 1
    reported_version: int = 1
    desired_at: int = 0
    reported_at: int = 0
    twin_etag: int = 1
    version: int = 2
    subscriptions: list[str] = []

    @property
    def keys(self) -> tuple[bytes, bytes]:
        return base64.b64decode(self.primary_key), base64.b64decode(self.secondary_key)


class Registry:
    """Devices in ``folder/registry.db``. Used from one event loop, between ``open`` and ``close``.

    Changes return when they are durable. Raises: Refusal as the real hub refuses, ServiceError when the disk fails.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "registry.db"
        self._devices: dict[str, Device] = {}
        self._saves = GroupCommit[Row, None](self._commit, f"the hub's registry {self._path}")
        self._is_open = False

    async def open(self) -> None:
        """Raises: ConfigError when the file cannot be used, or another hub uses it."""
        self._thread = ThreadPoolExecutor(1, "registry")
        try:
            self._connection = await self._run(_connect, self._path)
            rows = await self._run(_load, self._connection)
            self._devices = {name: msgspec.json.decode(record, type=Device) for name, record in rows}
        except sqlite3.OperationalError as error:
            hint = "another hub uses this folder" if "locked" in str(error) else str(error)
            raise ConfigError(f"the hub's registry {self._path} cannot be opened: {hint}") from None
        except (sqlite3.Error, msgspec.DecodeError) as error:
            raise ConfigError(f"the hub's registry {self._path} is damaged: {error}; move it away") from None
        self._is_open = True

    async def close(self) -> None:
        if not self._is_open:
            return
        self._is_open = False
        await self._saves.finish()
        await self._run(self._connection.close)
        self._thread.shutdown()

    # -- reading

    def __iter__(self) -> Iterator[Device]:
        """By id, as the real one lists them."""
        return iter([self._devices[name] for name in sorted(self._devices)])

    def __len__(self) -> int:
        return len(self._devices)

    def find(self, device_id: str) -> Device | None:
        return self._devices.get(device_id)

    def device(self, device_id: str) -> Device:
        """Raises: Refusal when there is none."""
        found = self._devices.get(device_id)
        if found is None:
            raise unknown_device(device_id)
        return found

    # -- identities

    async def create(
        self, device_id: str, primary_key: str = "", secondary_key: str = "", enabled: bool = True
    ) -> Device:
        """A new device; keys that are not given are made."""
        if not _ID.match(device_id):
            raise bad_argument(
                f"{device_id[:130]!r} is no device id: 1 to 128 of A-Z a-z 0-9 and - : . + % _ # * ? ! ( ) , = @ ; $ '"
            )
        if device_id in self._devices:
            raise Refusal(409, "DeviceAlreadyExists", f"A device with ID '{device_id}' is already registered.")
        device = Device(device_id, str(uuid.uuid4()), _key(primary_key), _key(secondary_key), enabled)
        self._devices[device_id] = device
        try:
            await self._save(device)
        except ServiceError:
            del self._devices[device_id]  # who asked will ask again
            raise
        return device

    async def update(
        self, device_id: str, primary_key: str = "", secondary_key: str = "", enabled: bool | None = None
    ) -> Device:
        """Keys and state that are not given stay."""
        device = self.device(device_id)
        primary, secondary = _key(primary_key or device.primary_key), _key(secondary_key or device.secondary_key)
        device.primary_key, device.secondary_key = primary, secondary
        device.enabled = device.enabled if enabled is None else enabled
        device.etag += 1
        await self._save(device)
        return device

    async def delete(self, device_id: str) -> None:
        self.device(device_id)
        del self._devices[device_id]
        await self._saves.put((device_id, None))

    # -- twins

    async def change_twin(
        self,
        device_id: str,
        tags: Mapping[str, Any] | None = None,
        desired: Mapping[str, Any] | None = None,
        replace: bool = False,
    ) -> Device:
        """What a service may change: patches, or whole sections when ``replace``. None leaves a section as it is."""
        device = self.device(device_id)
        new_tags, new_desired = device.tags, device.desired
        if tags is not None:
            new_tags = _changed("tags", {} if replace else device.tags, tags, twins.MAX_TAGS)
        if desired is not None:
            new_desired = _changed("desired", {} if replace else device.desired, desired, twins.MAX_PROPERTIES)
            device.desired_version += 1
            device.desired_at = _now()
        device.tags, device.desired = new_tags, new_desired
        device.twin_etag += 1
        device.version += 1
        await self._save(device)
        return device

    async def report(self, device_id: str, patch: Mapping[str, Any]) -> int:
        """A device's patch of its reported properties. Returns their new version."""
        device = self.device(device_id)
        device.reported = _changed("reported", device.reported, patch, twins.MAX_PROPERTIES)
        device.reported_version += 1
        device.reported_at = _now()
        device.version += 1
        await self._save(device)
        return device.reported_version

    async def subscribe(self, device_id: str, topics: Sequence[str]) -> None:
        """What the device's session is subscribed to, from now on."""
        device = self.device(device_id)
        if device.subscriptions != list(topics):
            device.subscriptions = list(topics)
            await self._save(device)

    # -- the file

    async def _save(self, device: Device) -> None:
        await self._saves.put((device.device_id, msgspec.json.encode(device)))

    async def _commit(self, rows: Sequence[Row]) -> list[None]:
        await self._run(_store, self._connection, rows)
        return [None] * len(rows)

    async def _run(self, function: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)


def _now() -> int:
    return time.time_ns() // 1000


def _changed(section: str, old: Mapping[str, Any], patch: Mapping[str, Any], limit: int) -> dict[str, Any]:
    try:
        new = twins.merged(old, twins.without_marks(patch))
        twins.check(section, new, limit)
    except (ValueError, RecursionError) as error:
        raise bad_argument(str(error)) from None
    return new


def _key(given: str) -> str:
    if not given:
        return base64.b64encode(secrets.token_bytes(32)).decode()
    if not is_key(given) or not MIN_KEY <= len(base64.b64decode(given)) <= MAX_KEY:
        raise bad_argument(f"a device's key is base64 of {MIN_KEY} to {MAX_KEY} bytes")
    return given


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=2.0)
    for pragma in ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = FULL"):
        connection.execute(f"PRAGMA {pragma}")
    with connection:
        connection.execute("CREATE TABLE IF NOT EXISTS devices (device_id TEXT PRIMARY KEY, record BLOB)")
        connection.execute("UPDATE devices SET record = record WHERE false")  # takes the lock
    return connection


def _load(connection: sqlite3.Connection) -> list[tuple[str, bytes]]:
    return connection.execute("SELECT device_id, record FROM devices").fetchall()


def _store(connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
    with connection:
        for device_id, record in rows:
            if record is None:
                connection.execute("DELETE FROM devices WHERE device_id = ?", (device_id,))
            else:
                connection.execute("INSERT OR REPLACE INTO devices VALUES (?, ?)", (device_id, record))

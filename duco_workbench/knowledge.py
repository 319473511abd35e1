"""Keeps parsing logic at the catalog's newest revision, without a restart: the catalog is asked every two seconds."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from .catalog.client import CatalogClient
from .errors import ServiceError
from .ops.logs import Complaint
from .parsing.logic import Knowledge, ManifestLogic
from .runtime import Stop, retry

log = logging.getLogger(__name__)
POLL_S = 2.0


def unread(logic: ManifestLogic, meta_url: str) -> str | None:
    """A sentence while nothing is known of the catalog: it was not reached yet, or nothing was ever put in it."""
    if logic.knowledge.revision != Knowledge().revision:
        return None
    return f"nothing has been read yet from the catalog at {meta_url}"


def fetch(client: CatalogClient) -> Knowledge:
    """Raises: ServiceError. The revision is read first: what changes meanwhile is fetched again next time."""
    revision = client.revision()
    devices = frozenset((d.tenant, d.chassis_id) for d in client.devices())
    return Knowledge(revision, devices, tuple(client.manifests()))


@asynccontextmanager
async def kept(
    logic: ManifestLogic, meta_url: str, stop: Stop, trouble: Complaint | None = None
) -> AsyncIterator[None]:
    """On entry ``logic`` knows the catalog (or the stop was set); inside it follows it.

    ``trouble``: where it is said that the catalog is away meanwhile.
    """
    client, complaint = CatalogClient(meta_url), trouble or Complaint(log)

    async def refresh() -> None:
        if await asyncio.to_thread(client.revision) != logic.knowledge.revision:
            logic.use(await asyncio.to_thread(fetch, client))
            log.info("decoding by catalog revision %d", logic.knowledge.revision)

    async def follow() -> None:
        while True:
            await asyncio.sleep(POLL_S)
            try:
                await refresh()
                complaint.over()
            except ServiceError as error:
                complaint.say(f"{error}; decoding goes on by revision {logic.knowledge.revision}")

    await retry(refresh, stop)
    task = asyncio.create_task(follow())
    try:
        yield
    finally:
        task.cancel()
        client.close()

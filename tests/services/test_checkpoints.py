"""The checkpoint store's contract, on the SDK's own in memory and on a real Valkey; and what only ours has."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from azure.eventhub.aio import CheckpointStore
from azure.eventhub.aio._eventprocessor.in_memory_checkpoint_store import InMemoryCheckpointStore
from azure.eventhub.exceptions import OwnershipLostError

from duco_workbench.errors import ConfigError, ServiceError
from duco_workbench.sources.checkpoints import RedisCheckpoints, checkpoint_store, store_errors

LONG_S = 10  # less than the SDK goes on trying by itself
NAMES = ("fully_qualified_namespace", "eventhub_name", "consumer_group")
PLACE = ("127.0.0.1", "duco-hub", "$Default")
BLOBS = "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=a2V5;EndpointSuffix=core.windows.net"


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest, fresh_valkey: str) -> CheckpointStore:
    return InMemoryCheckpointStore() if request.param == "memory" else RedisCheckpoints(fresh_valkey)


def ownership(partition: str, owner: str, **seen: Any) -> dict[str, Any]:
    return {**dict(zip(NAMES, PLACE, strict=True)), "partition_id": partition, "owner_id": owner, **seen}


def checkpoint(partition: str, sequence: int) -> dict[str, Any]:
    known = {"partition_id": partition, "offset": str(sequence), "sequence_number": sequence}
    return {**dict(zip(NAMES, PLACE, strict=True)), **known}


async def owners(store: CheckpointStore) -> dict[str, str]:
    return {o["partition_id"]: o["owner_id"] for o in await store.list_ownership(*PLACE)}


async def test_what_nobody_has_can_be_claimed(store: CheckpointStore) -> None:
    assert not list(await store.list_ownership(*PLACE))
    claimed = list(await store.claim_ownership([ownership("0", "a"), ownership("1", "a")]))
    assert [c["partition_id"] for c in claimed] == ["0", "1"]
    listed = list(await store.list_ownership(*PLACE))
    assert {o["etag"] for o in listed} == {c["etag"] for c in claimed}
    assert all(abs(o["last_modified_time"] - time.time()) < 60 for o in listed)


async def test_a_claim_renews_and_releases_from_what_was_seen(store: CheckpointStore) -> None:
    [first] = await store.claim_ownership([ownership("0", "a")])
    [again] = await store.claim_ownership([dict(first)])
    assert again["etag"]
    [released] = await store.claim_ownership([{**again, "owner_id": ""}])
    assert await owners(store) == {"0": ""}
    [taken] = await store.claim_ownership([{**released, "owner_id": "b"}])
    assert taken["owner_id"] == "b"
    assert await owners(store) == {"0": "b"}


async def test_of_two_who_saw_the_same_one_gets_it(store: CheckpointStore) -> None:
    await store.claim_ownership([ownership("0", "a")])
    [seen] = [dict(o) for o in await store.list_ownership(*PLACE)]
    wanting = [store.claim_ownership([{**seen, "owner_id": f"b{n}"}]) for n in range(8)]
    won = [claimed for claims in await asyncio.gather(*wanting) for claimed in claims]
    assert len(won) == 1
    assert await owners(store) == {"0": won[0]["owner_id"]}


async def test_checkpoints_are_kept_by_partition(store: CheckpointStore) -> None:
    await store.update_checkpoint(checkpoint("0", 5))
    await store.update_checkpoint(checkpoint("1", 7))
    await store.update_checkpoint(checkpoint("0", 6))
    found = {c["partition_id"]: c for c in await store.list_checkpoints(*PLACE)}
    assert found == {"0": checkpoint("0", 6), "1": checkpoint("1", 7)}


async def test_another_hub_or_group_has_its_own(fresh_valkey: str) -> None:
    store = RedisCheckpoints(fresh_valkey)
    await store.claim_ownership([ownership("0", "a")])
    await store.update_checkpoint(checkpoint("0", 5))
    for other in (("elsewhere", *PLACE[1:]), (*PLACE[:2], "another group")):
        assert not list(await store.list_ownership(*other))
        assert not list(await store.list_checkpoints(*other))


async def test_checkpoints_outlive_the_process(fresh_valkey: str) -> None:
    first = RedisCheckpoints(fresh_valkey)
    await first.claim_ownership([ownership("0", "a")])
    await first.update_checkpoint(checkpoint("0", 5))
    await first.close()
    second = RedisCheckpoints(fresh_valkey)
    assert list(await second.list_checkpoints(*PLACE)) == [checkpoint("0", 5)]
    assert await owners(second) == {"0": "a"}
    await second.close()


async def test_an_ingestor_that_comes_back_by_its_name_finds_its_partitions_free(fresh_valkey: str) -> None:
    killed, back, other = (RedisCheckpoints(fresh_valkey, name) for name in ("ingestor-1", "ingestor-1", "ingestor-2"))
    await killed.claim_ownership([ownership("0", "a")])
    assert await owners(killed) == {"0": "a"}
    assert await owners(other) == {"0": "a"}
    [free] = await back.list_ownership(*PLACE)
    assert free["owner_id"] == ""
    await back.claim_ownership([{**free, "owner_id": "b"}])
    assert await owners(back) == await owners(other) == {"0": "b"}
    with pytest.raises(OwnershipLostError):
        await killed.update_checkpoint(checkpoint("0", 6))


async def test_who_lost_a_partition_does_not_move_its_checkpoint(fresh_valkey: str) -> None:
    mine, theirs = RedisCheckpoints(fresh_valkey), RedisCheckpoints(fresh_valkey)
    [held] = await mine.claim_ownership([ownership("0", "a")])
    await mine.update_checkpoint(checkpoint("0", 5))
    await theirs.claim_ownership([{**held, "owner_id": "b"}])
    await theirs.update_checkpoint(checkpoint("0", 9))
    with pytest.raises(OwnershipLostError, match="partition 0"):
        await mine.update_checkpoint(checkpoint("0", 6))
    assert list(await mine.list_checkpoints(*PLACE)) == [checkpoint("0", 9)]


async def test_who_released_a_partition_may_commit_until_another_has_it(fresh_valkey: str) -> None:
    mine, theirs = RedisCheckpoints(fresh_valkey), RedisCheckpoints(fresh_valkey)
    [held] = await mine.claim_ownership([ownership("0", "a")])
    [released] = await mine.claim_ownership([{**held, "owner_id": ""}])
    await mine.update_checkpoint(checkpoint("0", 5))
    await theirs.claim_ownership([{**released, "owner_id": "b"}])
    with pytest.raises(OwnershipLostError):
        await mine.update_checkpoint(checkpoint("0", 6))


async def test_a_claim_has_an_age_by_the_servers_clock(fresh_valkey: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = RedisCheckpoints(fresh_valkey)
    await store.claim_ownership([ownership("0", "a")])
    real = time.time
    monkeypatch.setattr("duco_workbench.sources.checkpoints.time.time", lambda: real() + 3600)
    [listed] = await store.list_ownership(*PLACE)
    assert abs(time.time() - listed["last_modified_time"]) < 30  # this computer is an hour ahead, and it is still fresh


async def test_a_log_that_is_away_is_a_service_error() -> None:
    store = RedisCheckpoints("redis://127.0.0.1:1/0")
    for call in (
        store.list_ownership(*PLACE),
        store.claim_ownership([ownership("0", "a")]),
        store.update_checkpoint(checkpoint("0", 1)),
        store.list_checkpoints(*PLACE),
    ):
        with pytest.raises(ServiceError, match=r"127\.0\.0\.1:1"):
            await call


@asynccontextmanager
async def blobs_that_say(status: int, code: str) -> AsyncIterator[CheckpointStore]:
    """A store on an account that gives this one answer, as Azure words it; without an account for status 0."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>It is so.\nRequestId:1</Message></Error>"
        head = f"HTTP/1.1 {status} No\r\nx-ms-error-code: {code}\r\nContent-Type: application/xml\r\n"
        writer.write(f"{head}Connection: close\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode())
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1] if status else 1
        account = f"BlobEndpoint=http://127.0.0.1:{port}/a;AccountName=a;AccountKey=a2V5"
        blobs: Any = checkpoint_store(f"DefaultEndpointsProtocol=http;{account};Container=c", "")
        try:
            yield blobs
        finally:
            await blobs.close()


@pytest.mark.parametrize(
    ("status", "code", "kind", "said"),
    [
        (0, "", ServiceError, r"^asking: .*do not answer: Cannot connect to host 127\.0\.0\.1:1"),
        (503, "ServerBusy", ServiceError, r"^asking: .*do not answer: It is so\.$"),
        (404, "ContainerNotFound", ConfigError, r"^DUCO_HUB_CHECKPOINTS: .*container.*\(It is so\.\)$"),
        (403, "AuthenticationFailed", ConfigError, r"^DUCO_HUB_CHECKPOINTS: .*refuses its key"),
        (403, "AuthorizationFailure", ConfigError, r"^DUCO_HUB_CHECKPOINTS: .*refuses its key"),
    ],
)
async def test_what_blobs_answer_is_said_at_once(status: int, code: str, kind: type[Exception], said: str) -> None:
    async with blobs_that_say(status, code) as blobs, asyncio.timeout(LONG_S):
        for call in (blobs.list_checkpoints(*PLACE), blobs.update_checkpoint(checkpoint("0", 1))):
            with pytest.raises(kind, match=said), store_errors("asking"):
                await call


async def test_a_blob_container_is_taken_by_its_setting(fresh_valkey: str) -> None:
    blobs: Any = checkpoint_store(f"{BLOBS};Container=c", fresh_valkey)
    assert type(blobs).__name__ == "BlobCheckpointStore"
    await blobs.close()
    assert isinstance(checkpoint_store("", fresh_valkey), RedisCheckpoints)


@pytest.mark.parametrize(
    ("setting", "said"), [(BLOBS, ";Container=NAME"), ("nonsense;Container=c", "DUCO_HUB_CHECKPOINTS: .*storage")]
)
def test_a_setting_that_is_none_is_said(setting: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        checkpoint_store(setting, "")


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "azure.eventhub.extensions.checkpointstoreblobaio", None)
    with pytest.raises(ConfigError, match=r"duco-workbench\[azure\]"):
        checkpoint_store(f"{BLOBS};Container=c", "")

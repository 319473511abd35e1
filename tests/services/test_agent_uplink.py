"""The agent's uplink against the local hub: whatever happens in between, everything arrives, in order, by one id."""

from __future__ import annotations

import asyncio
import base64
import datetime
import logging
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
import trustme
from hub_kit import HubThread, free_address, running_hub
from paho.mqtt import client as mqtt

from agent import uplink as module
from agent.clock import AgentClock
from agent.config import Config, Hub, Machine, Upload, connection_parts
from agent.drafts import Draft
from agent.keeper import Keeper
from agent.queue import Queue
from agent.uplink import Uplink
from duco_workbench import wire
from duco_workbench.local.hub import connection as hub_limits

KEY = base64.b64encode(b"a key of our own that fits").decode()
PATIENCE = 40.0  # seconds; only ends what hangs
log = logging.getLogger("agent.machine.test")


class Sender:
    """Queue and uplink of one machine, as the agent has them."""

    def __init__(self, folder: Path, device: str, connection: str, ca: Path, **options: Any) -> None:
        self.config = Config(
            machine=Machine(chassis_id=device),
            hub=Hub(connection_string=connection, ca_file=str(ca), keep_alive_s=5),
            upload=Upload(retry_first_s=0.05, retry_last_s=0.2, **{"send_timeout_s": 2.0, **options}),
        )
        self.threads, self.clock = ThreadPoolExecutor(1), AgentClock()
        self.keeper = Keeper(Queue(folder / "queue.db", device, "boot"), self.threads, self.clock, log)
        self.uplink = Uplink(self.config, self.keeper, self.clock, lambda name, payload: (200, {}), log)

    async def put(self, count: int, size: int = 20, realtime: bool = False) -> None:
        body = wire.EventBody("test", "info", {"text": "x" * size})
        drafts = [Draft("vehicle_event", self.clock.now(), body) for _ in range(count)]
        await self.keeper.put(drafts, self.keeper.stamp(realtime))

    async def sent(self) -> None:
        await eventually(lambda: self.keeper.counts.depth == 0, "everything confirmed")

    async def troubled(self, kind: str) -> str:
        await eventually(lambda: self.uplink.trouble and self.uplink.trouble.kind == kind, f"trouble {kind!r}")
        return str(self.uplink.trouble)


async def eventually(condition: Callable[[], Any], what: str) -> None:
    for _ in range(int(PATIENCE / 0.02)):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"{what}: not within {PATIENCE} s")


@asynccontextmanager
async def sending(sender: Sender) -> AsyncIterator[Sender]:
    await sender.keeper.open()
    task = asyncio.create_task(sender.uplink.run())
    try:
        yield sender
    finally:
        task.cancel()
        await asyncio.wait({task}, timeout=PATIENCE)
        await sender.keeper.close()
        sender.threads.shutdown()


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubThread]:
    with running_hub(tmp_path_factory.mktemp("hub"), free_address(13)) as running:
        yield running


@pytest.fixture(autouse=True)
def no_faults(hub: HubThread) -> Iterator[None]:
    yield
    hub.call(hub.faults.clear)


Connect = Callable[..., AbstractAsyncContextManager[Sender]]


@pytest.fixture
def connect(hub: HubThread, tmp_path: Path, request: pytest.FixtureRequest) -> Connect:
    """A sender of a device of the test's own."""
    device = "".join(c if c.isalnum() else "-" for c in request.node.name)[:60]
    connection = hub.add(device)
    return lambda **options: sending(Sender(tmp_path, device, connection, hub.identity.ca, **options))


def arrived(hub: HubThread, sender: Sender) -> list[int]:
    """Seqs in the order in which the hub has them."""
    device = sender.config.machine.chassis_id
    return [int(message.system["message_id"].rpartition(":")[2]) for message in hub.messages(device)]


async def test_everything_arrives_once_and_in_order(hub: HubThread, connect: Connect) -> None:
    async with connect() as sender:
        await sender.put(200)
        await sender.put(100, size=20_000)
        await sender.sent()
        assert arrived(hub, sender) == list(range(1, 301))
        await sender.put(1)
        await sender.sent()
    message = hub.messages(sender.config.machine.chassis_id)[-1]
    assert message.system["content_type"] == "application/json"
    assert message.system["content_encoding"] == "utf-8"
    assert message.properties["msgType"] == "vehicle_event"
    assert wire.decode(message.body).message_id == message.system["message_id"]


async def test_realtime_messages_and_a_backlog_are_sent_side_by_side(hub: HubThread, connect: Connect) -> None:
    async with connect() as sender:
        await sender.put(400, size=20_000)
        begun: list[int] = []  # how much of the backlog was there when each realtime message was stored
        while sender.keeper.counts.acknowledged < 350:
            begun.append(sum(seq <= 400 for seq in await asyncio.to_thread(arrived, hub, sender)))
            await sender.put(1, realtime=True)
            await eventually(lambda: live_of(hub, sender) == len(begun), "the realtime message")
        await sender.sent()
    seqs = arrived(hub, sender)
    live = [seq for seq in seqs if seq > 400]
    overtaken = [seqs.index(seq) - at - before for at, (seq, before) in enumerate(zip(live, begun, strict=True))]
    assert len(live) > 5
    assert live == sorted(live)
    assert [seq for seq in seqs if seq <= 400] == list(range(1, 401)), "and the backlog in its order, whole"
    assert max(overtaken) < 100, "of 400 that were before it"


def live_of(hub: HubThread, sender: Sender) -> int:
    return sum(seq > 400 for seq in arrived(hub, sender))


async def test_the_hub_goes_away_under_messages_in_flight_and_comes_back(tmp_path: Path) -> None:
    with running_hub(tmp_path / "hub", free_address(13)) as hub:
        sender = Sender(tmp_path, "truck", hub.add("truck"), hub.identity.ca)
        async with sending(sender):
            await sender.put(400)
            await eventually(lambda: sender.keeper.counts.acknowledged > 20, "some are there")
            await asyncio.to_thread(hub.stop)
            assert sender.keeper.counts.depth > 0
            assert "nobody listens" in await sender.troubled("away")
            await sender.put(50)
            await asyncio.to_thread(hub.start)
            await sender.sent()
        seqs = arrived(hub, sender)
        assert sorted(set(seqs)) == list(range(1, 451))
        assert list(dict.fromkeys(seqs)) == list(range(1, 451)), "each for the first time in order"
        assert len(seqs) - 450 <= sender.config.upload.in_flight


async def test_a_confirmation_that_is_lost_doubles_by_the_same_id_only(hub: HubThread, connect: Connect) -> None:
    async with connect() as sender:
        await sender.put(10)
        await sender.sent()
        hub.call(hub.faults.drop_puback, 3, sender.config.machine.chassis_id)
        await sender.put(20)
        assert "does not answer" in await sender.troubled("silent")
        await sender.sent()
    seqs = arrived(hub, sender)
    assert list(dict.fromkeys(seqs)) == list(range(1, 31))
    assert 3 <= len(seqs) - 30 <= sender.config.upload.in_flight


async def test_a_link_that_swallows_everything_is_left(hub: HubThread, connect: Connect) -> None:
    async with connect(send_timeout_s=1.0) as sender:
        await sender.put(5)
        await sender.sent()
        hub.call(hub.faults.black_hole, 4, sender.config.machine.chassis_id)
        await sender.put(20, size=50_000)
        await sender.troubled("silent")
        await sender.sent()
    assert list(dict.fromkeys(arrived(hub, sender))) == list(range(1, 26))


async def test_a_quiet_connection_that_is_cut_is_noticed(hub: HubThread, connect: Connect) -> None:
    async with connect() as sender:
        await eventually(sender.uplink.connected.is_set, "online")
        first = sender.uplink.reconnects
        hub.call(hub.faults.kick, sender.config.machine.chassis_id)
        assert "closed the connection" in await sender.troubled("closed")
        await eventually(lambda: sender.uplink.reconnects == first + 1, "online again")


async def test_a_connection_is_replaced_before_its_token_ends_without_doubling(
    hub: HubThread, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LIFE_S", 0.5)
    async with connect() as sender:
        for _ in range(60):
            await sender.put(5)
            await asyncio.sleep(0.03)
        await sender.sent()
        assert sender.uplink.reconnects >= 2
        assert sender.uplink.trouble is None
    assert arrived(hub, sender) == list(range(1, 301))


async def test_a_wrong_key_is_named_and_mended_at_the_hub(hub: HubThread, connect: Connect) -> None:
    async with connect() as sender:
        parts = connection_parts(sender.config.hub.connection_string)
        await set_key(hub, parts["DeviceId"], KEY)
        hub.call(hub.faults.kick, parts["DeviceId"])
        await sender.put(3)
        assert "the key is wrong" in await sender.troubled("key")
        await set_key(hub, parts["DeviceId"], parts["SharedAccessKey"])
        await sender.sent()


async def set_key(hub: HubThread, device: str, key: str) -> None:
    await asyncio.to_thread(hub.call, hub.hub.registry.update, device, key, key)


async def test_a_device_the_hub_does_not_know_yet(hub: HubThread, tmp_path: Path) -> None:
    sender = Sender(tmp_path, "newcomer", hub.identity.device("newcomer", KEY), hub.identity.ca)
    async with sending(sender):
        await sender.put(2)
        assert "unknown" in await sender.troubled("key")
        await asyncio.to_thread(hub.call, hub.hub.registry.create, "newcomer", KEY)
        await sender.sent()


async def test_a_wrong_ca_is_named_and_a_right_file_is_taken_without_a_restart(hub: HubThread, tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_bytes(trustme.CA().cert_pem.bytes())
    sender = Sender(tmp_path, "mistrust", hub.add("mistrust"), ca)
    async with sending(sender):
        await sender.put(2)
        assert "hub.ca_file" in await sender.troubled("ca")
        ca.write_text("oh")
        await sender.troubled("client")
        ca.write_text(hub.ca_text)
        await sender.sent()


async def test_a_certificate_of_another_time_points_at_the_clock(tmp_path: Path) -> None:
    authority, address = trustme.CA(), free_address(13)
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    leaf = authority.issue_cert(address, not_before=past, not_after=past + datetime.timedelta(days=30))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf.configure_cert(context)
    (tmp_path / "ca.pem").write_bytes(authority.cert_pem.bytes())
    with closing(socket.create_server((address, 8883))) as listener:
        threading.Thread(target=handshake_with_all, args=(listener, context), daemon=True).start()
        connection = f"HostName={address};DeviceId=d;SharedAccessKey={KEY}"
        async with sending(Sender(tmp_path, "d", connection, tmp_path / "ca.pem")) as sender:
            assert "set the clock" in await sender.troubled("clock")


def handshake_with_all(listener: socket.socket, context: ssl.SSLContext) -> None:
    while True:
        try:
            plain, _ = listener.accept()
        except OSError:
            return
        try:
            context.wrap_socket(plain, server_side=True).close()
        except OSError:
            plain.close()


async def test_a_name_that_nobody_knows(tmp_path: Path) -> None:
    connection = f"HostName=hub.invalid;DeviceId=d;SharedAccessKey={KEY}"
    ca = tmp_path / "ca.pem"
    ca.write_bytes(trustme.CA().cert_pem.bytes())
    async with sending(Sender(tmp_path, "d", connection, ca)) as sender:
        assert "hub.invalid" in await sender.troubled("away")


async def test_a_hub_that_takes_no_connections_for_now(hub: HubThread, connect: Connect) -> None:
    hub.call(hub.faults.refuse, 2)
    async with connect() as sender:
        await sender.put(1)
        assert "throttling" in await sender.troubled("busy")
        await sender.sent()


async def test_a_hub_that_throttles_slows_down_and_loses_nothing(hub: HubThread, connect: Connect) -> None:
    async with connect(send_timeout_s=30.0) as sender:
        hub.call(hub.faults.throttle, 3)
        await sender.put(10)
        await sender.sent()
    assert arrived(hub, sender) == list(range(1, 11))


async def test_two_agents_on_one_identity_are_named_and_both_lose_nothing(
    hub: HubThread, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RIVAL_WAIT_S", 0.3)
    monkeypatch.setattr(module, "STABLE_S", 2.0)
    connection = hub.add("twice")
    one, other = (Sender(tmp_path / name, "twice", connection, hub.identity.ca) for name in ("one", "other"))
    async with sending(one):
        async with sending(other):
            await one.put(5)
            await other.put(5)
            sentence = await one.troubled("rival")
            assert "another agent" in sentence
            await one.sent()
            await other.sent()
        await eventually(lambda: one.uplink.state == "online" and one.uplink.trouble is None, "alone, and well again")


def test_an_end_of_tls_without_a_farewell_is_a_lost_connection() -> None:
    """Else the client's thread ends of it, and the link is silent until a message times out."""

    class Torn:
        def send(self, data: bytes) -> int:
            raise ssl.SSLEOFError(8, "EOF occurred in violation of protocol")

        def close(self) -> None: ...

    client = mqtt.Client("truck")
    client._sock = Torn()
    with pytest.raises(ConnectionResetError, match="EOF occurred"):
        client._sock_send(b"x")


async def test_a_message_the_hub_cannot_take_is_found_and_set_aside(
    hub: HubThread, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real limit is checked before; this hub takes less than it should."""
    monkeypatch.setattr(hub_limits, "MAX_MESSAGE", 5000)
    monkeypatch.setattr(module, "POISON_S", 0.5)
    async with connect() as sender:
        await sender.put(5)
        await sender.put(1, size=6000)
        await sender.put(5)
        await sender.sent()
        seqs = arrived(hub, sender)
        assert list(dict.fromkeys(seqs)) == [1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12]
        assert sender.keeper.counts.drops == {"too_large": 1}
    drop = wire.decode(hub.messages(sender.config.machine.chassis_id)[-1].body).payload
    assert (drop.name, drop.data["epoch"], drop.data["runs"]) == ("drop", sender.keeper.counts.epoch, [[6, 6]])


def sender_id(sender: Sender) -> str:
    return sender.config.machine.chassis_id


async def test_nothing_of_a_client_is_left_after_many_connections(hub: HubThread, connect: Connect) -> None:
    async with connect() as sender:
        await eventually(sender.uplink.connected.is_set, "online")
        await asyncio.sleep(0.5)
        before = threading.active_count()
        for _ in range(6):
            reconnects = sender.uplink.reconnects
            hub.call(hub.faults.kick, sender_id(sender))
            await sender.put(1)
            await eventually(lambda r=reconnects: sender.uplink.reconnects > r, "online again")  # type: ignore[misc]
            sender.uplink._short = 0  # kicked by us, not by a rival
        await sender.sent()
        await eventually(lambda: threading.active_count() <= before + 2, "the threads of the old ones are gone")


async def test_what_was_collected_while_time_was_unknown_waits_for_it(hub: HubThread, connect: Connect) -> None:
    async with connect() as sender:
        sender.clock.trusted = False
        await sender.put(3)
        await asyncio.wait_for(sender.uplink.idle.wait(), PATIENCE)
        assert sender.keeper.counts.depth == 3
        sender.clock.trusted = True
        await sender.put(2)
        await sender.sent()
    assert arrived(hub, sender) == [1, 2, 3, 4, 5]

"""The machine's application hands over, well or badly, over a real connection."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from agent_frames import PATIENCE, Clock, T

from agent import peers
from agent.drafts import Draft
from agent.intake import LONGEST, MOST_CLIENTS, Intake
from duco_workbench import wire
from duco_workbench.errors import ConfigError, ServiceError
from duco_workbench.model import SECOND


class Agent:
    """An intake that runs, and what it was handed."""

    def __init__(self, port: int = 0) -> None:
        self.drafts: list[Draft] = []
        self.fails = False
        self.intake = Intake(port=port, clock=Clock())
        self.task = asyncio.create_task(self.intake.run(self._emit))

    def _emit(self, draft: Draft) -> None:
        if self.fails and draft.msg_type != "vehicle_log":
            raise ServiceError("the disk is full")
        self.drafts.append(draft)

    @property
    def handed(self) -> list[Draft]:
        return [d for d in self.drafts if not (d.msg_type == "vehicle_log" and d.payload.logger == "intake")]

    @property
    def texts(self) -> list[str]:
        return [d.payload.text for d in self.drafts if d.msg_type == "vehicle_log" and d.payload.logger == "intake"]

    async def until(self, text: str) -> None:
        async with asyncio.timeout(PATIENCE):
            while not any(text in said for said in self.texts):
                await asyncio.sleep(0.005)

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.wait_for(asyncio.wait([self.task]), PATIENCE)


class Client:
    """An application that is connected."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def of(cls, agent: Agent) -> Client:
        return cls(*await asyncio.open_connection(agent.intake.host, agent.intake.port))

    async def send(self, line: bytes) -> dict[str, Any]:
        """A line, and its answer; {} when the connection ended instead."""
        self.writer.write(line)
        return await self.answer()

    async def answer(self) -> dict[str, Any]:
        line = await asyncio.wait_for(self.reader.readline(), PATIENCE)
        return json.loads(line) if line else {}

    async def hand(self, msg_type: str, payload: Any, **more: Any) -> dict[str, Any]:
        return await self.send(json.dumps({"msgType": msg_type, "payload": payload, **more}).encode() + b"\n")


@pytest.fixture
async def agent() -> AsyncIterator[Agent]:
    agent = Agent()
    await agent.until("can hand over")
    yield agent
    await agent.stop()


@pytest.fixture
async def client(agent: Agent) -> AsyncIterator[Client]:
    client = await Client.of(agent)
    yield client
    client.writer.close()


GOOD = [
    ("vehicle_event", {"name": "door_open", "data": {"door": 2}}, wire.EventBody("door_open", "info", {"door": 2})),
    ("vehicle_log", {"level": "info", "logger": "hmi", "text": "übrig"}, wire.LogLine("info", "hmi", "übrig")),
    (
        "client_raw_data",
        {"fields": {"fps": 29.5, "on": True, "v": "1"}},
        wire.Client({"fps": 29.5, "on": True, "v": "1"}),
    ),
    ("vehicle_position", {"lat": 48.1, "lon": 11.5}, wire.Position(48.1, 11.5)),
    ("vehicle_dtc", {"source": "hmi", "dtcs": [{"spn": 7, "fmi": 31}]}, wire.Dtcs("hmi", [wire.Code(7, 31)])),
]


@pytest.mark.parametrize(("msg_type", "payload", "struct"), GOOD)
async def test_what_is_handed_over_is_the_agent_s(
    agent: Agent, client: Client, msg_type: str, payload: Any, struct: msgspec.Struct
) -> None:
    assert await client.hand(msg_type, payload, ts=T - 5) == {"ok": True}
    assert await client.hand(msg_type, payload) == {"ok": True}
    assert agent.handed == [Draft(msg_type, T - 5, struct), Draft(msg_type, T, struct)]


BAD = [
    (b"no json\n", "JSON"),
    (b"\xff\xfe\n", ""),
    (b"[]\n", "object"),
    (b"\n", ""),
    (b'{"payload":{}}\n', "msgType"),
    (b'{"msgType":"vehicle_event"}\n', "payload"),
    (b'{"msgType":"vehicle_event","payload":{}}\n', "name"),
    (b'{"msgType":"vehicle_event","payload":{"name":7}}\n', "name"),
    (b'{"msgType":"vehicle_event","payload":{"name":"a"},"tenant":"b"}\n', "tenant"),
    (b'{"msgType":"vehicle_event","payload":{"name":"a"},"ts":"now"}\n', "ts"),
    (b'{"msgType":"vehicle_event","payload":{"name":"a"},"ts":-1}\n', "ts"),
    (b'{"msgType":"vehicle_event","payload":{"name":"a"},"ts":%d}\n' % (T + 301 * SECOND), "ahead"),
    (b'{"msgType":"vehicle_can","payload":{"blocks":[]}}\n', "vehicle_can"),
    (b'{"msgType":"door","payload":{}}\n', "vehicle_event"),
    (b'{"msgType":"client_raw_data","payload":{"fields":{"a":[1]}}}\n', "fields"),
    (b'{"msgType":"client_raw_data","payload":{"fields":{"a":NaN}}}\n', ""),
    (b'{"msgType":"client_raw_data","payload":{"fields":{"a":1e999}}}\n', ""),
    (b'{"msgType":"vehicle_event","payload":{"name":"a","data":{"b":' + b"[" * 30_000 + b"]" * 30_000 + b"}}}\n", ""),
]


@pytest.mark.parametrize(("line", "says"), BAD)
async def test_what_is_wrong_is_answered_and_the_next_line_is_taken(
    agent: Agent, client: Client, line: bytes, says: str
) -> None:
    answer = await client.send(line)
    assert answer.keys() == {"error"}
    assert answer["error"]
    assert says in answer["error"]
    assert await client.hand("vehicle_event", {"name": "a"}) == {"ok": True}
    assert len(agent.handed) == 1


async def test_an_application_is_held_back_while_there_is_no_room(agent: Agent, client: Client) -> None:
    asked = list[bool]()

    def is_full() -> bool:
        asked.append(len(asked) < 3)
        return asked[-1]

    agent.intake._is_full = is_full
    assert await client.hand("vehicle_event", {"name": "a"}) == {"ok": True}
    assert asked == [True, True, True, False]


async def test_a_line_in_pieces_and_lines_in_one_piece(agent: Agent, client: Client) -> None:
    line = b'{"msgType":"vehicle_event","payload":{"name":"a"}}\r\n'
    client.writer.write(line[:20])
    await client.writer.drain()
    await asyncio.sleep(0.02)
    assert await client.send(line[20:] + line * 2) == {"ok": True}
    assert [await client.answer(), await client.answer()] == [{"ok": True}] * 2
    assert len(agent.handed) == 3


async def test_a_line_without_end_ends_that_connection_alone(agent: Agent, client: Client) -> None:
    other = await Client.of(agent)
    assert f"longer than {LONGEST} bytes" in (await other.send(b"x" * (2 * LONGEST + 10)))["error"]
    assert await client.hand("vehicle_event", {"name": "a"}) == {"ok": True}


async def test_clients_that_vanish_or_never_read_disturb_nobody(agent: Agent, client: Client) -> None:
    rude = await Client.of(agent)
    rude.writer.write(b"no json\n" * 20_000)  # and its answers are not read
    gone = await Client.of(agent)
    gone.writer.write(b'{"msgType":')
    gone.writer.transport.abort()
    for _ in range(5):
        assert await client.hand("vehicle_event", {"name": "a"}) == {"ok": True}
    rude.writer.transport.abort()


async def test_there_is_an_end_to_clients(agent: Agent) -> None:
    clients = [await Client.of(agent) for _ in range(MOST_CLIENTS)]
    for client in clients:
        assert await client.hand("vehicle_event", {"name": "a"}) == {"ok": True}
    one_more = await Client.of(agent)
    assert "clients already" in (await one_more.answer())["error"]
    clients[0].writer.close()
    async with asyncio.timeout(PATIENCE):
        while "error" in await (await Client.of(agent)).hand("vehicle_event", {"name": "a"}):
            await asyncio.sleep(0.01)


async def test_what_the_agent_cannot_take_is_not_acknowledged(agent: Agent, client: Client) -> None:
    agent.fails = True
    assert "the disk is full" in (await client.hand("vehicle_event", {"name": "a"}))["error"]
    agent.fails = False
    assert await client.hand("vehicle_event", {"name": "a"}) == {"ok": True}


async def test_a_port_in_use_is_said_once_and_taken_when_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "RETRY_FIRST", 0.01)
    monkeypatch.setattr(peers, "RETRY_LAST", 0.02)
    with socket.create_server(("127.0.0.1", 0)) as blocker:
        agent = Agent(blocker.getsockname()[1])
        await agent.until("cannot hand over")
        await asyncio.sleep(0.1)
        assert len(agent.texts) == 1
    await agent.until("can hand over")
    client = await Client.of(agent)
    assert await client.hand("vehicle_event", {"name": "a"}) == {"ok": True}
    await agent.stop()  # with a client still connected


async def test_stopping_closes_the_door_and_the_clients() -> None:
    agent = Agent()
    await agent.until("can hand over")
    client = await Client.of(agent)
    await client.hand("vehicle_event", {"name": "a"})
    rude = await Client.of(agent)
    rude.writer.write(b"no json\n" * 20_000)  # and its answers are not read
    await rude.writer.drain()
    await agent.stop()
    assert await client.answer() == {}
    async with asyncio.timeout(PATIENCE):
        while agent.intake._clients:
            await asyncio.sleep(0.005)
    rude.writer.transport.abort()
    with pytest.raises(OSError, match=r"refused|failed"):
        await Client.of(agent)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "example.org", ""])
def test_others_do_not_reach_it(host: str) -> None:
    with pytest.raises(ConfigError, match=r"127\.0\.0\.1"):
        Intake(host)

"""Between two attempts to connect: each wait about twice the one before, never the same for all, a minute at most."""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from agent import uplink as module
from agent.clock import AgentClock
from agent.config import Config, Hub, Machine
from agent.drafts import Draft
from agent.keeper import Keeper
from agent.queue import Queue, Waiting
from agent.trouble import LinkLost, Trouble
from agent.uplink import STABLE_S, Flying, Uplink
from duco_workbench import wire

CONNECTION = "HostName=h;DeviceId=T;SharedAccessKey=a2V5"


class Time:
    """The uplink's clock, which only its own waits move."""

    def __init__(self) -> None:
        self.now, self.waits = 1000.0, list[float]()

    def monotonic(self) -> float:
        return self.now


class Lost(asyncio.Event):
    """The end of a connection, found when it is first asked for."""

    def __init__(self, time: Time, lasts: float) -> None:
        super().__init__()
        self._time, self._lasts = time, lasts

    def is_set(self) -> bool:
        self._time.now, self._lasts = self._time.now + self._lasts, 0.0
        return True


class FailingLink:
    """One a connection: refused, failed, or lost after as many seconds as the plan says."""

    plan: Iterator[float | Exception]
    time: Time
    made: list[FailingLink]

    def __init__(self, *_: Any) -> None:
        self.host, self.device, self.closed = "h", "T", False
        self.made.append(self)

    async def connect(self) -> None:
        lasts = next(self.plan)
        if isinstance(lasts, Exception):
            raise lasts
        if not lasts:
            raise LinkLost(Trouble("away", "nobody listens"))
        self.lost = Lost(self.time, lasts)

    async def close(self) -> None:
        self.closed = True


@pytest.fixture
async def keeper(tmp_path: Path) -> AsyncIterator[Keeper]:
    with ThreadPoolExecutor(1) as threads:
        found = Keeper(Queue(tmp_path / "queue.db", "T", "boot"), threads, AgentClock(), logging.getLogger("test"))
        await found.open()
        yield found
        await found.close()


async def waits(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch, plan: Sequence[float | Exception], seed: int = 1
) -> list[float]:
    """Seconds the uplink waited after each of these attempts: an error, or how long the link lasts (0: refused)."""
    time, made, real_sleep = Time(), list[FailingLink](), asyncio.sleep
    ended = asyncio.Event()

    async def sleep(seconds: float) -> None:
        time.waits.append(seconds)
        time.now += seconds
        if len(time.waits) == len(plan):
            ended.set()
            await real_sleep(3600)

    class Planned(FailingLink):
        pass

    Planned.plan, Planned.time, Planned.made = iter(plan), time, made
    monkeypatch.setattr(module, "Link", Planned)
    monkeypatch.setattr(module, "time", time)
    monkeypatch.setattr(module.asyncio, "sleep", sleep)
    random.seed(seed)
    config = Config(machine=Machine(chassis_id="T"), hub=Hub(connection_string=CONNECTION))
    uplink = Uplink(config, keeper, AgentClock(), lambda *_: (200, {}), logging.getLogger("test"))
    task = asyncio.create_task(uplink.run())
    await asyncio.wait({task, asyncio.create_task(ended.wait())}, timeout=30, return_when=asyncio.FIRST_COMPLETED)
    assert ended.is_set(), task
    task.cancel()
    monkeypatch.undo()
    assert len(made) == len(plan), "each attempt has a client of its own"
    assert all(link.closed for link in made)
    return time.waits


async def test_waits_double_up_to_a_minute(keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    found = await waits(keeper, monkeypatch, [0.0] * 12)
    for attempt, wait in enumerate(found):
        longest = min(2.0**attempt, 60)
        assert longest / 2 <= wait <= longest
    assert max(found) > 30


async def test_no_two_machines_wait_the_same(keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = [await waits(keeper, monkeypatch, [0.0] * 8, seed) for seed in (1, 2)]
    assert not set(one) & set(other)


async def test_a_connection_that_lasted_begins_anew_a_short_one_does_not(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = await waits(keeper, monkeypatch, [0.0, 0.0, 0.0, 0.0, 1.0, 0.0])
    assert found[4] >= 8, "lost after a second: the fifth wait"
    found = await waits(keeper, monkeypatch, [0.0, 0.0, 0.0, 0.0, STABLE_S + 1, 0.0])
    assert found[4] <= 1


async def test_what_nobody_expected_is_tried_again_as_anything_else(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    faults = [OSError(24, "Too many open files"), RuntimeError("can't start new thread"), ssl.SSLError(), MemoryError()]
    found = await waits(keeper, monkeypatch, faults)
    assert all(2.0**attempt / 2 <= wait <= 2.0**attempt for attempt, wait in enumerate(found))
    assert "Too many open files" in caplog.text


class Slow:
    """A connection whose hub confirms nothing until it is told to."""

    host, device = "h", "T"

    def __init__(self) -> None:
        self.lost, self.confirms, self.sent = asyncio.Event(), asyncio.Event(), list[int]()

    async def send(self, message: Waiting, _: float, submitted: asyncio.Event) -> None:
        self.sent.append(message.number)
        submitted.set()
        await self.confirms.wait()


@pytest.mark.parametrize("is_careful", [True, False])
async def test_while_a_message_is_in_flight_and_no_other_may_be_sent_the_uplink_sleeps(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch, is_careful: bool
) -> None:
    config = Config(machine=Machine(chassis_id="T"), hub=Hub(connection_string=CONNECTION))
    uplink = Uplink(config, keeper, AgentClock(), lambda *_: (200, {}), logging.getLogger("test"))
    rounds, link, land = list[None](), Slow(), uplink._land

    async def counted(flying: Flying) -> None:
        rounds.append(None)
        await land(flying)

    monkeypatch.setattr(uplink, "_land", counted)
    drafts = [Draft("vehicle_event", 1, wire.EventBody("x", "info", {}))]
    await keeper.put(drafts, keeper.stamp())
    uplink._since, uplink._careful = time.monotonic(), {1} if is_careful else set()
    pump = asyncio.create_task(uplink._pump(link))  # type: ignore[arg-type]
    await until(lambda: link.sent == [1])
    if not is_careful:
        uplink._since -= module.LIFE_S  # too old for another one
    await keeper.put(drafts, keeper.stamp())
    await until(lambda: bool(rounds))
    for _ in range(1000):
        await asyncio.sleep(0)
    assert len(rounds) < 5
    link.confirms.set()
    if is_careful:
        await until(lambda: link.sent == [1, 2])
        pump.cancel()
    await asyncio.wait({pump}, timeout=30)
    assert link.sent == ([1, 2] if is_careful else [1])


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)

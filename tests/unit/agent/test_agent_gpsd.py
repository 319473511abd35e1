"""gpsd as it speaks: recorded lines from a real TCP server, which may also be away, die, or be something else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from itertools import pairwise

import pytest
from agent_frames import PATIENCE, Clock, T

from agent import peers
from agent.drafts import Draft
from agent.gpsd import Gpsd
from duco_workbench.model import SECOND

VERSION = b'{"class":"VERSION","release":"3.25","rev":"3.25","proto_major":3,"proto_minor":15}\r\n'
DEVICES = b'{"class":"DEVICES","devices":[{"class":"DEVICE","path":"/dev/ttyACM0","driver":"u-blox"}]}\r\n'
SKY = (
    b'{"class":"SKY","device":"/dev/ttyACM0","hdop":0.9,"nSat":3,"uSat":2,'
    b'"satellites":[{"PRN":4,"el":29.0,"used":true},{"PRN":9,"used":true},{"PRN":17,"used":false}]}\r\n'
)
OLD_SKY = b'{"class":"SKY","satellites":[{"PRN":4,"used":true},{"PRN":9,"used":false}]}\r\n'
TPV = (
    b'{"class":"TPV","device":"/dev/ttyACM0","mode":3,"time":"2024-05-01T10:00:00.500Z","ept":0.005,"lat":48.137000100,'
    b'"lon":11.575000200,"altHAE":565.1,"altMSL":519.3,"alt":519.3,"track":271.537,"speed":23.191,"climb":-0.1}\r\n'
)
NO_FIX = b'{"class":"TPV","device":"/dev/ttyACM0","mode":1}\r\n'


class Daemon:
    """A gpsd that says what a test gives it to each who connects and asks to watch; then it is silent, or gone."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.hangs_up = False
        self.watched = 0
        self.server: asyncio.Server | None = None
        self.port = 0

    async def start(self) -> None:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self.server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self.server is not None:
            self.server.close()
            self.server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(VERSION)
        if b'?WATCH={"enable":true,"json":true}' in await reader.readline():
            self.watched += 1
            for part in self.lines:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(0.005)
        if not self.hangs_up:
            await reader.read()
        writer.close()


@pytest.fixture
async def daemon() -> AsyncIterator[Daemon]:
    daemon = Daemon()
    await daemon.start()
    yield daemon
    await daemon.stop()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "RETRY_FIRST", 0.02)
    monkeypatch.setattr(peers, "RETRY_LAST", 0.05)


class Running:
    """A collector that runs, and what it said."""

    def __init__(self, collector: Gpsd) -> None:
        self.drafts: list[Draft] = []
        self.task = asyncio.create_task(collector.run(self.drafts.append))

    def of(self, msg_type: str) -> list[Draft]:
        return [draft for draft in self.drafts if draft.msg_type == msg_type]

    def texts(self) -> list[str]:
        return [f"{d.payload.level}: {d.payload.text}" for d in self.of("vehicle_log")]

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                assert not self.task.done(), self.task
                await asyncio.sleep(0.005)

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])
        assert self.task.cancelled()


async def test_a_report_becomes_a_position_in_our_units_and_tells_the_time(daemon: Daemon) -> None:
    daemon.lines = [DEVICES, SKY, TPV]
    heard: list[tuple[int, int]] = []
    running = Running(Gpsd(port=daemon.port, on_time=lambda utc, ts: heard.append((utc, ts)), clock=Clock()))
    await running.until(lambda: running.of("vehicle_position"))
    (draft,) = running.of("vehicle_position")
    p = draft.payload
    assert draft.ts == T
    assert (p.lat, p.lon, p.alt, p.heading, p.fix, p.sats) == (48.1370001, 11.5750002, 519.3, 271.54, 3, 2)
    assert p.speed == pytest.approx(23.191 * 3.6, abs=0.001)
    assert heard == [(1_714_557_600 * SECOND + SECOND // 2, T)]
    await running.stop()


async def test_no_fix_no_position(daemon: Daemon) -> None:
    two_d = TPV.replace(b'"mode":3', b'"mode":2')
    stale = TPV.replace(b'"mode":3', b'"mode":1')
    daemon.lines = [NO_FIX, stale, b'{"class":"TPV","mode":3}\r\n', OLD_SKY, two_d]
    running = Running(Gpsd(port=daemon.port, clock=Clock()))
    await running.until(lambda: running.of("vehicle_position"))
    (draft,) = running.of("vehicle_position")
    assert (draft.payload.fix, draft.payload.alt, draft.payload.sats) == (2, None, 1)
    await running.stop()


async def test_at_most_one_a_second(daemon: Daemon) -> None:
    ticking = iter(range(T, T + 1000 * SECOND, SECOND // 5))
    daemon.lines = [TPV] * 20
    running = Running(Gpsd(port=daemon.port, clock=lambda: next(ticking)))
    await running.until(lambda: len(running.of("vehicle_position")) >= 3)
    times = [draft.ts for draft in running.of("vehicle_position")]
    assert all(later - earlier >= SECOND for earlier, later in pairwise(times))
    await running.stop()


async def test_lines_in_pieces_and_garbage_between_them_lose_no_report(daemon: Daemon) -> None:
    daemon.lines = [TPV[:70], TPV[70:] + b"\xff\xfe{{{\r\n" + b'"text"\r\n[1]\r\n' + SKY[:5], SKY[5:], b"\r\n", TPV]
    running = Running(Gpsd(port=daemon.port, interval_s=0.04, clock=Clock()))
    await running.until(lambda: len(running.of("vehicle_position")) == 2)
    assert [d.payload.sats for d in running.of("vehicle_position")] == [None, 2]
    await running.stop()


async def test_a_daemon_away_is_said_once_and_so_is_its_return(daemon: Daemon) -> None:
    await daemon.stop()
    running = Running(Gpsd(port=daemon.port, clock=Clock()))
    await running.until(lambda: running.texts())
    await asyncio.sleep(0.3)  # several tries
    (text,) = running.texts()
    assert text.startswith(f"warning: gpsd at 127.0.0.1:{daemon.port} is away: ")
    daemon.lines = [TPV]
    await daemon.start()
    await running.until(lambda: running.of("vehicle_position"))
    assert running.texts()[1:] == [f"info: gpsd at 127.0.0.1:{daemon.port} is there"]
    await running.stop()


async def test_a_daemon_that_hangs_up_is_connected_to_again(daemon: Daemon) -> None:
    daemon.lines, daemon.hangs_up = [TPV], True
    running = Running(Gpsd(port=daemon.port, clock=Clock()))
    await running.until(lambda: daemon.watched >= 3)
    assert any("it closed the connection" in text for text in running.texts())
    await running.stop()


@pytest.mark.parametrize(
    ("lines", "says"),
    [([b"220 mail.example.org ESMTP\r\n"] * 30, "no gpsd"), ([b"x" * 70_000], "is away: ")],
)
async def test_what_is_no_gpsd_is_said_and_tried_again(daemon: Daemon, lines: list[bytes], says: str) -> None:
    daemon.lines = lines
    running = Running(Gpsd(port=daemon.port, clock=Clock()))
    await running.until(lambda: any(says in text for text in running.texts()))
    await running.until(lambda: daemon.watched >= 2)
    assert not running.of("vehicle_position")
    await running.stop()

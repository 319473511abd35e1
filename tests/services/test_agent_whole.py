"""A whole agent against the local hub: what is read arrives; it obeys, tells of itself, and stops as it should."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hub_kit import HubThread, free_address, running_hub

from agent.agent import Agent
from agent.batch import MOST
from agent.clock import AgentClock
from agent.config import Config, Gnss, Hub, Intake, Machine, Performance, Queue, Upload
from agent.drafts import Draft, Emit
from agent.key import Key
from agent.queue import Queue as QueueFile
from agent.queue import Stamp
from duco_workbench import wire
from duco_workbench.errors import ConfigError
from duco_workbench.iothub.service import HubService
from duco_workbench.model import SECOND, Envelope, FrameBatch, MessageId

PATIENCE = 40.0  # seconds; only ends what hangs
RATE = 200  # frames a second of the synthetic bus
REPOSITORY = Path(__file__).parents[2]


class CountingBus:
    """A source whose frames are numbered, one each 5 ms of the clock."""

    def __init__(self, clock: Callable[[], int] = lambda: time.time_ns() // 1000) -> None:
        self.name, self.ended, self.state, self.dropped = "can0", False, "up", 0
        self.clock, self.count, self.is_open = clock, 0, False

    def open(self) -> None:
        self.is_open, self._at = True, self.clock()

    def close(self) -> None:
        self.is_open = False

    def read(self) -> FrameBatch:
        assert self.is_open
        n = (self.clock() - self._at) * RATE // SECOND
        if n <= 0:
            return FrameBatch.empty()
        ts = self._at + np.arange(n, dtype=np.int64) * (SECOND // RATE)
        numbers = self.count + np.arange(n, dtype=np.uint64)
        self._at, self.count = self._at + n * SECOND // RATE, self.count + n
        full, none = np.full(n, 8, np.uint8), np.zeros(n, np.uint8)
        return FrameBatch(ts, np.full(n, 0x123, np.uint32), full, none, numbers.view(np.uint8).reshape(n, 8), none)


class Speaker:
    """A collector that says what it is told to, and fails when told to."""

    def __init__(self) -> None:
        self.emit: Emit | None = None
        self.fails, self.runs = asyncio.Event(), 0

    async def run(self, emit: Emit) -> None:
        self.emit, self.runs = emit, self.runs + 1
        await self.fails.wait()
        self.fails.clear()
        raise RuntimeError("no more to say")


class FailingWatcher:
    def on_frames(self, frames: FrameBatch) -> list[Draft]:
        raise ValueError("an odd frame")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubThread]:
    with running_hub(tmp_path_factory.mktemp("hub"), free_address(13)) as running:
        yield running


@pytest.fixture(scope="module")
def service(hub: HubThread) -> Iterator[HubService]:
    with HubService(hub.identity.hub, str(hub.identity.ca)) as opened:
        yield opened


@pytest.fixture
def config(hub: HubThread, tmp_path: Path, request: pytest.FixtureRequest) -> Config:
    device = request.node.name.replace("_", "-")[:60]
    return Config(
        machine=Machine(chassis_id=device),
        hub=Hub(connection_string=hub.add(device), ca_file=str(hub.identity.ca)),
        queue=Queue(path=str(tmp_path / "queue.db")),
        upload=Upload(seal_s=2, realtime_seal_s=0.5, retry_first_s=0.05, retry_last_s=0.2),
        gnss=Gnss(source="none"),
        performance=Performance(enabled=False),
    )


async def eventually(condition: Callable[[], Any], what: str) -> Any:
    """Polled beside the loop: a condition may ask the hub, which answers from another thread."""
    for _ in range(int(PATIENCE / 0.05)):
        if found := await asyncio.to_thread(condition):
            return found
        await asyncio.sleep(0.05)
    raise AssertionError(f"{what}: not within {PATIENCE} s")


@asynccontextmanager
async def running(agent: Agent) -> AsyncIterator[Agent]:
    stop = asyncio.Event()
    task = asyncio.create_task(agent.run(stop))
    try:
        yield agent
    finally:
        stop.set()
        await asyncio.wait_for(task, PATIENCE)


def envelopes(hub: HubThread, config: Config, *msg_types: str) -> list[Envelope]:
    found = [wire.decode(message.body) for message in hub.messages(config.machine.chassis_id)]
    return [envelope for envelope in found if not msg_types or envelope.msg_type in msg_types]


def numbers(found: Sequence[Envelope]) -> list[int]:
    """Of the counting bus, in order of the messages."""
    frames = [wire.unpack_blocks(envelope.payload.blocks) for envelope in found if envelope.msg_type == "vehicle_can"]
    return [int(n) for batch in frames for n in batch.data.view("<u8")[:, 0]]


def event_names(found: Sequence[Envelope]) -> list[str]:
    return [envelope.payload.name for envelope in found if envelope.msg_type == "vehicle_event"]


def reported(service: HubService, config: Config) -> dict[str, Any]:
    found: dict[str, Any] = service.twin(config.machine.chassis_id)["properties"]["reported"]
    return found


async def test_every_frame_arrives_once_in_windows_of_absolute_time(hub: HubThread, config: Config) -> None:
    bus = CountingBus()
    async with running(Agent(config, [bus], [])):
        await eventually(lambda: len(envelopes(hub, config, "vehicle_can")) >= 3, "three windows")
    found = envelopes(hub, config)
    assert numbers(found) == list(range(bus.count)), "also what the last window held when it was stopped"
    assert not bus.is_open
    assert all(
        e.ts // (2 * SECOND) == e.payload.blocks[0].t0 // (2 * SECOND) for e in found if e.msg_type == "vehicle_can"
    )
    assert event_names(found)[0] == "key_on"
    assert {(e.realtime, e.clock.source) for e in found} <= {(False, "ntp"), (False, "rtc")}


async def test_realtime_is_turned_on_and_off_by_the_method_and_outlives_a_reconnect(
    hub: HubThread, service: HubService, config: Config
) -> None:
    name = config.machine.chassis_id
    bus = CountingBus()
    async with running(Agent(config, [bus], [])) as agent:
        await eventually(agent.uplink.connected.is_set, "online")

        def invoke(method: str, payload: Any) -> tuple[int, Any]:
            return service.invoke(name, method, payload, connect_s=10)

        start = {"action": "start", "reason": "user_action", "commandId": "c-1"}
        status, answer = await asyncio.to_thread(invoke, "setRealTimeUpload", start)
        assert (status, answer["accepted"], answer["commandId"], answer["on"]) == (200, True, "c-1", True)
        live = await eventually(lambda: [e for e in envelopes(hub, config) if e.realtime][:4], "realtime messages")
        assert agent.is_streaming
        hub.call(hub.faults.kick, name)
        count = len([e for e in envelopes(hub, config) if e.realtime])
        more = lambda: len([e for e in envelopes(hub, config) if e.realtime]) > count + 4  # noqa: E731
        await eventually(more, "realtime goes on over another connection")
        assert (await asyncio.to_thread(invoke, "setRealTimeUpload", {"action": "?"}))[0] == 400
        assert (await asyncio.to_thread(invoke, "reboot", None))[0] == 404
        assert (await asyncio.to_thread(invoke, "setRealTimeUpload", {**start, "action": "stop"}))[1]["on"] is False
        await eventually(lambda: not agent.is_streaming, "normal mode again")
        count = len(envelopes(hub, config, "vehicle_can"))
        await eventually(lambda: len(envelopes(hub, config, "vehicle_can")) >= count + 2, "normal messages")
    found = envelopes(hub, config, "vehicle_can")
    assert live
    assert numbers(sorted(found, key=lambda e: e.ts)) == list(range(bus.count))
    seconds = [(e.ts - e.payload.blocks[0].t0) / SECOND for e in found if e.realtime]
    assert max(seconds[1:]) <= 0.5, "the first is the batch that was open"


async def test_the_twin_tells_what_the_agent_is_and_does(
    hub: HubThread, service: HubService, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.agent.DRAIN_S", 30.0)  # all that is left goes, however busy the computer is
    bus = CountingBus()
    async with running(Agent(config, [bus], [])):
        await eventually(lambda: reported(service, config).get("queue"), "a report")
        found = reported(service, config)
        assert (found["agent"]["state"], found["buses"]) == ("collecting", {"can0": "up"})
        assert found["realtime"] == {"on": False}
        assert "trouble" not in found
        assert "SharedAccessKey" not in str(found)
        assert found["config"]["upload"]["seal_s"] == 2
    found = reported(service, config)
    assert found["agent"]["state"] == "stopped"
    assert (found["queue"]["depth"], found["queue"]["seq"]) == (0, len(envelopes(hub, config)))
    assert found["queue"]["acknowledged"] == found["queue"]["seq"] == found["queue"]["first"] - 1


async def test_what_another_process_reported_is_replaced_in_one_patch(
    hub: HubThread, service: HubService, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(Agent(config, [CountingBus()], [])):
        await eventually(lambda: reported(service, config).get("queue"), "a report")
    bus = CountingBus()
    bus.name = "can1"
    agent = Agent(config, [bus], [])
    patches, report = list[dict[str, Any]](), agent.uplink.report

    async def noted(patch: dict[str, Any]) -> None:
        patches.append(patch)
        await report(patch)

    monkeypatch.setattr(agent.uplink, "report", noted)
    async with running(agent):
        await eventually(lambda: "can1" in reported(service, config)["buses"], "another report")
        assert reported(service, config)["buses"] == {"can1": "up"}
        assert patches[0]["buses"] == {"can0": None, "can1": "up"}
        assert patches[0]["queue"]["epoch"] == agent.keeper.counts.epoch


async def test_a_key_that_is_turned_off_stores_everything_and_reads_no_bus(hub: HubThread, config: Config) -> None:
    class Hand:
        trouble, position = "", True

        def is_on(self) -> bool:
            return self.position

    hand, bus, speaker = Hand(), CountingBus(), Speaker()
    async with running(Agent(config, [bus], [speaker], key=Key(hand))):
        await eventually(lambda: bus.count > 50, "some frames")
        hand.position = False
        await eventually(lambda: not bus.is_open, "off")
        collected = bus.count
        await eventually(lambda: numbers(envelopes(hub, config)) == list(range(collected)), "all of it, open or not")
        await eventually(lambda: event_names(envelopes(hub, config)) == ["key_on", "key_off"], "told")
        hand.position = True
        await eventually(lambda: bus.count > collected + 50, "on again")
        assert speaker.runs == 2, "a collector rests with the key"
    assert numbers(envelopes(hub, config)) == list(range(bus.count))


async def test_buses_that_go_away_frames_that_are_lost_and_parts_that_fail_are_told(
    hub: HubThread, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.collecting.AGAIN_S", 0.1)
    bus, speaker = CountingBus(), Speaker()
    async with running(Agent(config, [bus], [speaker], [FailingWatcher()])):
        await eventually(lambda: speaker.emit, "the collector runs")
        bus.state = "can0: the cable is out"
        speaker.fails.set()
        await eventually(lambda: "bus_down" in event_names(envelopes(hub, config)), "told")
        bus.state, bus.dropped = "up", 7
        await eventually(lambda: "drop" in event_names(envelopes(hub, config)), "told")
        await eventually(lambda: speaker.runs == 2, "started again")
    events = {e.payload.name: e.payload.data for e in envelopes(hub, config, "vehicle_event")}
    assert events["bus_down"] == {"bus": "can0", "state": "can0: the cable is out"}
    assert events["bus_up"]["bus"] == "can0"
    assert events["drop"] == {"bus": "can0", "count": 7, "reason": "overrun"}
    lines = [e.payload.text for e in envelopes(hub, config, "vehicle_log")]
    assert len([line for line in lines if "FailingWatcher" in line and "an odd frame" in line]) == 1
    assert any("Speaker" in line and "no more to say" in line for line in lines)
    assert numbers(envelopes(hub, config)) == list(range(bus.count)), "no frame less for that"


async def test_frames_collected_before_time_was_found_get_their_true_times(hub: HubThread, config: Config) -> None:
    year = 365 * 86_400 * SECOND
    error = [-30 * year]

    def wall() -> int:
        return time.time_ns() // 1000 + error[0]

    clock, bus = AgentClock(wall=wall, is_synchronised=lambda: error[0] == 0), CountingBus(wall)
    begun = time.time_ns() // 1000
    async with running(Agent(config, [bus], [], clock=clock)) as agent:
        await eventually(lambda: agent.keeper.counts.depth >= 2, "two windows wait")
        assert envelopes(hub, config) == [], "nothing is sent that is not dated"
        assert "time is not known" in str(agent._trouble())
        error[0] = 0
        bus._at -= -30 * year  # a real bus dates its frames by the system's clock, whatever that is
        await eventually(lambda: len(envelopes(hub, config, "vehicle_can")) >= 4, "what waited, and more")
    found = envelopes(hub, config, "vehicle_can")
    assert numbers(found) == list(range(bus.count))
    ts = np.concatenate([wire.unpack_blocks(e.payload.blocks).ts for e in found])
    assert begun - SECOND < ts[0] < begun + 5 * SECOND
    assert np.abs(np.diff(ts) - SECOND // RATE).max() < SECOND, "no gap of years in between"
    assert {e.clock.source for e in found} == {"ntp"}
    (told,) = [e for e in envelopes(hub, config, "vehicle_event") if e.payload.name == "time_found"]
    assert told.payload.data["by_s"] == pytest.approx(30 * year / SECOND, abs=1)


async def test_its_warnings_travel_and_nobody_elses(hub: HubThread, config: Config) -> None:
    async with running(Agent(config, [CountingBus()], [])) as agent:
        await eventually(agent.uplink.connected.is_set, "online")
        for _ in range(3):
            await asyncio.to_thread(agent.log.warning, "said %d times", 3)
        agent.log.info("not of note")
        logging.getLogger("agent.machine.other").warning("not mine")
        await eventually(lambda: envelopes(hub, config, "vehicle_log"), "a line")
    lines = [e.payload for e in envelopes(hub, config, "vehicle_log")]
    assert [(line.level, line.text) for line in lines] == [("warning", "said 3 times")]
    assert not agent.log.handlers


async def test_a_queue_that_is_in_use_is_refused_with_a_sentence(config: Config) -> None:
    async with running(Agent(config, [CountingBus()], [])) as first:
        await eventually(lambda: first.keeper.counts.epoch, "open")
        with pytest.raises(ConfigError, match="another agent"):
            await Agent(config, [], []).run(asyncio.Event())


async def test_a_part_that_ends_though_it_never_should_ends_the_agent_with_everything_stored(config: Config) -> None:
    bus = CountingBus()
    agent = Agent(config, [bus], [])

    async def ends() -> None:
        while bus.count < 50:
            await asyncio.sleep(0.01)
        raise ValueError("nobody reckoned with this")

    agent.uplink.run = ends  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="never end") as caught:
        await asyncio.wait_for(agent.run(asyncio.Event()), PATIENCE)
    assert "reckoned" in str(caught.value.__cause__)
    queue = QueueFile(Path(config.queue.path), config.machine.chassis_id, "boot")
    queue.open(1)
    stored = [wire.decode(message.body) for message in queue.take(99, 99)]
    queue.close()
    assert numbers(stored) == list(range(bus.count))


async def test_what_the_application_hands_over_waits_with_the_application_while_the_disk_is_slow(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    count, line = 100, {"level": "info", "logger": "hmi", "text": "x" * 60_000}
    agent = Agent(msgspec.structs.replace(config, intake=Intake(port=1)), [])
    intake: Any = agent._collectors._collectors[0]
    intake.port = 0  # any that is free
    is_fast, put = asyncio.Event(), agent.keeper.put

    async def slow(drafts: Sequence[Draft], stamp: Stamp) -> list[MessageId]:
        await is_fast.wait()
        return await put(drafts, stamp)

    monkeypatch.setattr(agent.keeper, "put", slow)
    async with running(agent):
        await eventually(lambda: intake.port, "the intake")
        reader, writer = await asyncio.open_connection("127.0.0.1", intake.port)
        writer.write((json.dumps({"msgType": "vehicle_log", "payload": line}) + "\n").encode() * count)
        await eventually(lambda: agent._batch.is_full, "no more room")
        waits = len(agent._batch._others)
        assert waits < 2 * MOST / 60_000
        is_fast.set()
        answers = [await asyncio.wait_for(reader.readline(), PATIENCE) for _ in range(count)]
        writer.close()
    assert answers == [b'{"ok":true}\n'] * count
    assert agent.keeper.counts.seq >= count


# --- as a process


def toml(config: Config, folder: Path) -> Path:
    path = folder / "agent.toml"
    path.write_text(
        f'[machine]\nchassis_id = "{config.machine.chassis_id}"\n'
        f'[hub]\nconnection_string = "{config.hub.connection_string}"\nca_file = "{config.hub.ca_file}"\n'
        f'[queue]\npath = "{config.queue.path}"\n[performance]\ninterval_s = 0.5\n[upload]\nseal_s = 1\n'
    )
    return path


def start(*arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-m", "agent", *arguments]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


async def test_the_program_runs_until_it_is_told_to_stop(hub: HubThread, config: Config, tmp_path: Path) -> None:
    process = start(str(toml(config, tmp_path)))
    try:
        await eventually(lambda: len(envelopes(hub, config, "client_raw_data")) >= 2, "figures")
    finally:
        process.send_signal(signal.SIGTERM)
        _, errors = await asyncio.to_thread(process.communicate, timeout=PATIENCE)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors


def test_the_program_says_in_a_sentence_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "agent.toml").write_text("[machine]\nchassis = 3")
    process = start(str(tmp_path / "agent.toml"))
    _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert errors.count("\n") == 1
    assert "agent.toml: machine" in errors


MINTER = """
import sys
from pathlib import Path
from agent.drafts import Draft
from agent.queue import Queue, Stamp
from duco_workbench import wire
from duco_workbench.model import Clock

queue = Queue(Path(sys.argv[1]), "T", "boot")
queue.open(1)
while True:
    put = queue.put([Draft("vehicle_event", 1, wire.EventBody("x", "info", {"k": "y" * 3000}))] * 3, Stamp(Clock()))
    print(*put.ids, flush=True)
"""


def test_what_was_minted_survives_kill_9(tmp_path: Path) -> None:
    """Killed in the middle of writing, several times: every id that was given is there, none was given twice."""
    path, given = tmp_path / "queue.db", list[str]()
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    for _ in range(3):
        command = [sys.executable, "-c", MINTER, str(path)]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(40)]
            process.kill()
            lines += process.stdout.readlines()
        given += [message_id for line in lines if line.endswith("\n") for message_id in line.split()]
    seqs = [int(message_id.rpartition(":")[2]) for message_id in given]
    assert len(seqs) >= 360
    assert len(set(seqs)) == len(seqs)
    queue = QueueFile(path, "T", "boot")
    assert queue.open(1) is None
    kept = {message.number for message in queue.take(0, 1 << 20)}
    queue.close()
    assert set(seqs) <= kept
    assert kept == set(range(1, max(kept) + 1)), "and no gap, whatever was killed on its way"

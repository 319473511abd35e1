"""Machines that join a running plant: one that was offline for hours, and some that send a hundred times too much."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from faults.plant import Plant
from faults.watch import now
from msgspec.structs import replace
from paho.mqtt.client import Client

from agent.agent import Agent
from agent.clock import AgentClock
from agent.config import Upload, connection_parts
from duco_workbench import wire
from duco_workbench.iothub.devices import ensure_device
from duco_workbench.iothub.sas import make_token
from duco_workbench.iothub.service import HubService
from duco_workbench.local import fleet
from duco_workbench.local.hub.identity import MQTT_PORT
from duco_workbench.local.machines import plan
from duco_workbench.local.machines.__main__ import config_of
from duco_workbench.local.machines.simulated import SimulatedBuses
from duco_workbench.local.simulation import PROFILES, SimulatedMachine
from duco_workbench.model import SECOND
from duco_workbench.packing import Packer

PROFILE = "quarry"
NOWHERE = "127.255.255.254"  # a hub that cannot be reached
SPEED = 200  # of the clock of an agent that is offline
IN_FLIGHT = 200
CONFIRM_S = 300.0  # for all that was sent


def admit(plant: Plant, name: str) -> str:
    """Known to catalog and hub; its connection string."""
    bindings = PROFILES[PROFILE].bindings()
    fleet.bind(plant.catalog, plant.settings.tenant, name, {bus: [path] for bus, path in bindings.items()})
    with HubService(plant.settings.hub, plant.settings.hub_ca) as hub:
        return ensure_device(hub, name, plant.settings.tenant)


# --- offline for hours


def collect_offline(plant: Plant, name: str, folder: Path, seconds: int) -> plan.Machine:
    """A whole agent without a hub, by a clock that runs 200 times as fast, ends now with a full queue in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    begin = now() - seconds * SECOND
    room = seconds + 1000  # for what it collects from its return until it is through
    machine = plan.Machine(name, admit(plant, name), begin, profile=PROFILE, max_batches=room)
    config = config_of(machine, folder, plant.settings.hub_ca)
    host = connection_parts(machine.connection_string)["HostName"]
    hub = replace(config.hub, connection_string=machine.connection_string.replace(host, NOWHERE))
    asyncio.run(_collect(replace(config, hub=hub, upload=Upload(seal_s=1)), begin, seconds))
    return replace(machine, begin=begin + seconds * SECOND)


async def _collect(config: object, begin: int, seconds: int) -> None:
    started = time.monotonic()

    def clock() -> int:
        return begin + min(int((time.monotonic() - started) * SPEED * SECOND), seconds * SECOND)

    buses = SimulatedBuses(PROFILES[PROFILE](config.machine.chassis_id), begin, clock)  # type: ignore[attr-defined]
    its_clock = AgentClock(wall=clock, monotonic=clock, is_synchronised=lambda: True)
    agent, stop = Agent(config, sources=[buses], collectors=[], clock=its_clock), asyncio.Event()  # type: ignore[arg-type]
    running = asyncio.create_task(agent.run(stop))
    while buses.at < begin + seconds * SECOND:
        await asyncio.sleep(0.1)
    stop.set()
    await running


@contextmanager
def returned(plant: Plant, machine: plan.Machine, folder: Path) -> Iterator[None]:
    """Its agent runs in a process of its own, finds the hub, and goes on collecting; ended with SIGTERM."""
    plan.write(folder, plan.Plan(plant.settings.tenant, plant.settings.hub_ca, (machine,)))
    command = [sys.executable, "-m", "duco_workbench.local.machines", str(folder)]
    with (folder / "agent.log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        plant.machines.append(machine.chassis_id)
        try:
            yield
        finally:
            plant.machines.remove(machine.chassis_id)
            process.terminate()


def depth(plant: Plant, machine: plan.Machine) -> int:
    """Messages in its agent's queue, as it last said."""
    with HubService(plant.settings.hub, plant.settings.hub_ca) as hub:
        return int(hub.twin(machine.chassis_id)["properties"]["reported"]["queue"]["depth"])


# --- far too much


def bodies(name: str, epoch: int, count: int) -> list[bytes]:
    """Envelopes of a second each, numbered from 1, that end now; in realtime mode, so that the live branch has them."""
    begin, simulated = now() // SECOND * SECOND - count * SECOND, SimulatedMachine(name)
    packer = Packer(name, epoch, seal=SECOND)
    found: list[bytes] = []
    for at in range(begin, begin + (count + 60) * SECOND, 60 * SECOND):
        found += [wire.encode(replace(e, realtime=True)) for e in packer.add(simulated.frames(at, at + 60 * SECOND))]
    return found[:count]


def burst(plant: Plant, names: Sequence[str], per_second: float, seconds: float) -> Callable[[], float]:
    """Prepare a burst of ``per_second`` messages from ``names`` together; the call sends it, and gives the rate."""
    epoch, each = now(), int(per_second * seconds / len(names))
    ready = [(name, admit(plant, name), bodies(name, epoch, each)) for name in names]

    def send() -> float:
        begun = time.monotonic()
        threads = [threading.Thread(target=_send, args=(plant, *one, epoch, each / seconds)) for one in ready]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        plant.sent.update({f"{name}:{epoch}:": each for name in names})
        return len(names) * each / (time.monotonic() - begun)

    return send


def _send(
    plant: Plant, name: str, connection_string: str, messages: Sequence[bytes], epoch: int, per_second: float
) -> None:
    """MQTT without the device SDK, which is slower than the hub. Returns when the hub has confirmed all."""
    parts = connection_parts(connection_string)
    host, client = parts["HostName"], Client(name, clean_session=False)
    client.tls_set(plant.settings.hub_ca)
    token = make_token(f"{host}/devices/{name}", parts["SharedAccessKey"], ttl_s=3600)
    client.username_pw_set(f"{host}/{name}/?api-version=2019-10-01", token)
    client.max_inflight_messages_set(IN_FLIGHT)
    client.connect(plant.settings.hub_address, MQTT_PORT)
    client.loop_start()
    topic, begun = f"devices/{name}/messages/events/%24.ct=application%2Fjson&msgType=vehicle_can&%24.mid=", time.time()
    waiting = []
    for number, body in enumerate(messages, start=1):
        waiting.append(client.publish(f"{topic}{name}%3A{epoch}%3A{number}", body, qos=1))
        time.sleep(max(0.0, begun + number / per_second - time.time()))
    until = time.monotonic() + CONFIRM_S
    for message in waiting:
        message.wait_for_publish(max(0.0, until - time.monotonic()))
    client.disconnect()
    client.loop_stop()

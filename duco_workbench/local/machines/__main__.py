"""An agent for each machine of the plan, all in one process.

python -m duco_workbench.local.machines FOLDER
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import time
from pathlib import Path

from agent.agent import Agent
from agent.config import Config, Dtc, Gnss, Hub, Key, Performance, Queue
from agent.config import Machine as Identity

from ...model import SECOND
from ...ops import Process
from ...settings import Settings
from ...sources.log_file import Player
from ..simulation import PROFILES
from . import plan
from .simulated import SimulatedBuses, SimulatedRest

log = logging.getLogger(__name__)
NOTE_S = 1.0
OPEN = 12 * SECOND  # what an agent may hold in its open batch, which is lost when it is killed
RESUME = 120 * SECOND  # an agent that starts again this soon goes on where it was, as its simulated buses can
UNTOLD_S = 86_400  # a log that is played says of trouble codes what its import does: no code again that did not change


def now() -> int:
    return time.time_ns() // 1000


def config_of(machine: plan.Machine, folder: Path, ca: str) -> Config:
    return Config(
        machine=Identity(chassis_id=machine.chassis_id),
        hub=Hub(connection_string=machine.connection_string, ca_file=ca),
        queue=Queue(path=str(folder / f"{machine.chassis_id}.db"), max_batches=machine.max_batches),
        gnss=Gnss(source="none"),
        dtc=Dtc() if machine.profile else Dtc(repeat_s=UNTOLD_S),
        performance=Performance(enabled=False),
        key=Key(source="always"),
    )


class Member:
    """One machine of the fleet: its buses and its agent."""

    def __init__(self, machine: plan.Machine, folder: Path, ca: str) -> None:
        self.name, self.ended = machine.chassis_id, False
        begin = _resumed(machine, plan.noted(folder, "live").get(self.name))
        if machine.profile:
            simulated = PROFILES[machine.profile](self.name)
            self.buses = SimulatedBuses(simulated, begin, now)
            rest = [SimulatedRest(simulated, begin, now, lambda: self.agent.is_streaming)]
        else:
            player = Player(Path(machine.log), begin, speed=machine.speed, once=machine.once)
            self.buses, rest = SimulatedBuses(player, begin, now), []
        self.agent = Agent(config_of(machine, folder, ca), sources=[self.buses], collectors=rest)

    async def run(self, stop: asyncio.Event) -> None:
        """A fault of one machine is logged and ends no other."""
        try:
            await self.agent.run(stop)
        except Exception:
            self.ended = True
            log.exception("the agent of %s has ended", self.name)

    @property
    def is_online(self) -> bool:
        return not self.ended and self.agent.uplink.state == "online"

    @property
    def waiting(self) -> int:
        return self.agent.keeper.counts.depth


def trouble(members: list[Member]) -> str | None:
    """Which agents have ended, or why none is connected."""
    if ended := [member.name for member in members if member.ended]:
        return f"the agents of {len(ended)} machines have ended, the first of {ended[0]}: the log says why"
    if members and not any(member.is_online for member in members):
        return (
            f"none of {len(members)} machines is connected: {members[0].agent.uplink.trouble or 'they are about to be'}"
        )
    return None


def _resumed(machine: plan.Machine, noted: int | None) -> int:
    """Where to begin: as planned, or after a kill where the queue surely has everything before; a log begins anew."""
    if noted is None or noted <= machine.begin:
        return machine.begin
    return noted if machine.profile and now() - noted < RESUME else now()


async def work(folder: Path) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    planned = plan.read(folder)
    members = [Member(machine, folder, planned.ca) for machine in planned.machines]
    process = Process("machines", Settings.load())
    process.check(lambda: trouble(members))
    process.figure("agents", "Agents that run.", lambda: sum(not m.ended for m in members))
    process.figure("agents_online", "Agents that are connected to the hub.", lambda: sum(m.is_online for m in members))
    process.figure("agents_waiting", "Messages in their queues.", lambda: sum(m.waiting for m in members))
    noting = asyncio.create_task(_note(folder, members))
    async with process.serving():
        await asyncio.gather(stop.wait(), *(member.run(stop) for member in members))
    noting.cancel()
    plan.note(folder, "live", {member.name: member.buses.at for member in members})


async def _note(folder: Path, members: list[Member]) -> None:
    while True:
        plan.note(folder, "live", {member.name: member.buses.at - OPEN for member in members})
        await asyncio.sleep(NOTE_S)


if __name__ == "__main__":
    asyncio.run(work(Path(sys.argv[1])))

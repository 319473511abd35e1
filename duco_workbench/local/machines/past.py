"""Writes what simulated machines did before their agents began, newest first, and ends.

::

    python -m duco_workbench.local.machines.past FOLDER

It stands where an import stands: what is past goes onto the raw log as if the hub had taken it when it happened. The
older past waits while the processor is behind: live data comes first.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from agent.drafts import Draft
from agent.dtcs import DtcWatcher

from ... import pulse, runtime
from ...errors import ServiceError
from ...log import log_gauge, log_sink
from ...model import SECOND, Envelope, MessageId, Record
from ...packing import Packer
from ...ports import Delivery
from ...settings import Settings
from ...sources.own import now, record_of
from ...topics import RAW
from .. import simulation
from . import plan
from .simulated import drafts

CHUNK = 30 * SECOND  # in one delivery
SEAL = 10 * SECOND  # as an agent's in normal mode
FEW = 100  # messages the processor may be behind


class PastSource:
    """The messages of one machine in [start, end), under an epoch of their own."""

    def __init__(self, machine: simulation.Machine, tenant: str, start: int, end: int) -> None:
        self._machine, self._tenant, self._start, self._end = machine, tenant, start, end
        self._epoch, self._seq = now(), 0
        self._packer = Packer(machine.name, self._epoch, seal=SEAL)
        self._watcher = DtcWatcher()

    async def open(self) -> None: ...

    async def deliveries(self) -> AsyncIterator[Delivery[Record]]:
        for at in range(self._start, self._end, CHUNK):
            yield Delivery(self._records(at, min(at + CHUNK, self._end)))
            await asyncio.sleep(0)
        yield Delivery(self._minted(self._packer.flush()))

    def _records(self, start: int, end: int) -> list[Record]:
        frames = self._machine.frames(start, end)
        envelopes = self._packer.add(frames) + self._packer.seal(end)
        others = [*self._watcher.on_frames(frames), *drafts(self._machine, start, end)]
        envelopes += [self._envelope(draft) for draft in others]
        return self._minted(sorted(envelopes, key=lambda e: e.ts))

    def _envelope(self, draft: Draft) -> Envelope:
        name, ts, payload = draft
        return Envelope(msg_type=name, chassis_id=self._machine.name, message_id="", ts=ts, payload=payload)

    def _minted(self, envelopes: list[Envelope]) -> list[Record]:
        records = []
        for envelope in envelopes:
            self._seq += 1
            message_id = str(MessageId(self._machine.name, self._epoch, self._seq))
            records.append(record_of(msgspec.structs.replace(envelope, message_id=message_id), self._tenant))
        return records

    async def commit(self, delivery: Delivery[Any]) -> None: ...

    async def close(self) -> None: ...


@dataclass(slots=True)
class Past:
    """All machines of a plan, side by side."""

    folder: Path
    settings: Settings
    stop: runtime.Stop
    written: dict[str, int] = field(default_factory=dict)  # microseconds
    recent: set[str] = field(default_factory=set)  # machines whose last minutes are written

    async def run(self) -> None:
        machines = [m for m in plan.read(self.folder).machines if m.past]
        self.written = {m.chassis_id: 0 for m in machines}
        wanted = max((plan.covered(m.past) for m in machines), default=0)
        async with pulse.beating("past", self.settings.state, lambda: self._facts(wanted)):
            await asyncio.gather(*(self._write(machine) for machine in machines))

    def _facts(self, wanted: int) -> dict[str, Any]:
        done = min(self.written.values(), default=0)
        is_recent = len(self.recent) == len(self.written)
        return {"is_recent": is_recent, "past_s": done // SECOND, "history_s": wanted // SECOND}

    async def _write(self, planned: plan.Machine) -> None:
        """Piece by piece; each one written is noted, so that a process that was killed goes on behind it."""
        name = planned.chassis_id
        machine = simulation.PROFILES[planned.profile](name)
        for number, (start, end) in enumerate(planned.past):
            since = plan.noted(self.folder, "past").get(name, end)
            if number == 0 or start < since:  # else it was written before this process was killed
                if number:
                    await self._until_idle()
                await self._play(machine, start, end)
                if self.stop:
                    return
                plan.note(self.folder, "past", {name: min(start, since)})
            self.written[name] += end - start
            self.recent.add(name)

    async def _play(self, machine: simulation.Machine, start: int, end: int) -> None:
        raw = log_sink(self.settings.log, RAW)
        source = PastSource(machine, self.settings.tenant, start, end)
        await runtime.run_flow(source, lambda records: records.sink(raw.write), (raw,), self.stop)

    async def _until_idle(self) -> None:
        while not self.stop:
            try:
                async with log_gauge(self.settings.log) as gauge:
                    if await gauge.lag(RAW.name, "processor") <= FEW:
                        return
            except ServiceError:
                pass
            await self.stop.sleep(0.2)


async def work(folder: Path, stop: runtime.Stop) -> None:
    await Past(folder, Settings.load(), stop).run()


if __name__ == "__main__":
    runtime.slim()
    runtime.main(partial(work, Path(sys.argv[1])))

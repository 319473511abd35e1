"""A *machine-second*: what a machine with 2,500 frames a second sends in one, as its envelope on the raw log.

Four J1939 buses with the control units of twelve simulated powertrains: messages come as often, and signals move as
much, as in one second of a machine at work. Real trucks have about as many series and kept values to so many frames
(docs/throughput.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np

from duco_workbench import wire
from duco_workbench.local.simulation import SimulatedMachine
from duco_workbench.model import SECOND, Binding, Clock, Envelope, FrameBatch, Manifest, Record
from duco_workbench.parsing import Decoder, load
from duco_workbench.parsing.logic import Knowledge, ManifestLogic

START = 1_760_000_400 * SECOND
TENANT = "demo"
DATABASE = SimulatedMachine.bindings()["can0"]
BUSES, POWERTRAINS = 4, 12
APART = 0x40  # between the sender addresses of those on one bus
ETC1, ETC1_PERIOD = 0xF002, 10_000  # the simulated gearbox says it every 50 ms, a real one every 10
KINDS = 12  # successive seconds, with which machines and seconds take turns


def seconds(machines: int, count: int) -> list[list[Record]]:
    """Second after second, a record of each machine; no two are the same."""
    return [
        [_record(f"m{number:04}", second, _blocks((number + second) % KINDS)) for number in range(machines)]
        for second in range(count)
    ]


def _record(machine: str, second: int, blocks: Sequence[wire.Block]) -> Record:
    later = [wire.Block(b.ch, b.t0 + second * SECOND, b.n, b.enc, b.b64) for b in blocks]
    ts, message_id = START + (second + 1) * SECOND, f"{machine}:1:{second + 1}"
    envelope = Envelope(
        msg_type="vehicle_can",
        chassis_id=machine,
        message_id=message_id,
        ts=ts,
        realtime=False,
        clock=Clock("gnss", 0),
        payload=wire.Can(later),
    )
    body = wire.encode(envelope)
    return Record(TENANT, machine, "vehicle_can", message_id, ts, ts + 1000, ts + 2000, body, hub_sequence=second)


@cache
def _blocks(kind: int) -> list[wire.Block]:
    return wire.pack_blocks(frames(kind))


def frames(kind: int) -> FrameBatch:
    """The frames of one machine in the second from ``START`` on."""
    return FrameBatch.concat([_powertrain(i, kind) for i in range(POWERTRAINS)]).sorted()


def _powertrain(number: int, kind: int) -> FrameBatch:
    bus, place = number % BUSES, number // BUSES
    batch = _simulated(number).frames(START + kind * SECOND, START + (kind + 1) * SECOND).of("can0")
    batch = replace(batch, ts=batch.ts - kind * SECOND)
    is_etc1 = batch.arbitration_id >> 8 & 0x3FFFF == ETC1
    batch = FrameBatch.concat([batch[~is_etc1], _repeated(batch[is_etc1], ETC1_PERIOD)])
    ids = batch.arbitration_id + np.uint32(APART * place)
    return replace(batch, arbitration_id=ids, channel=np.zeros(len(batch), np.uint8), channels=(f"can{bus}",))


@cache
def _simulated(number: int) -> SimulatedMachine:
    return SimulatedMachine("", seed=number)


def _repeated(batch: FrameBatch, period: int) -> FrameBatch:
    """The latest frame, every ``period`` microseconds."""
    ts = np.arange(START + (batch.ts[0] - START) % period, START + SECOND, period)
    return replace(batch[np.maximum(np.searchsorted(batch.ts, ts, "right") - 1, 0)], ts=ts)


def averages() -> tuple[float, float]:
    """Frames of a machine-second, and the values in them."""
    decoder, kinds = Decoder(load(DATABASE)), [frames(kind) for kind in range(KINDS)]
    values = [len(decoder.decode(batch.of(bus))) for batch in kinds for bus in batch.channels]
    return sum(map(len, kinds)) / KINDS, sum(values) / KINDS


def logic(machines: Sequence[str]) -> ManifestLogic:
    """What decodes them."""
    bindings = tuple(Binding(f"can{bus}", "powertrain", 1, DATABASE.read_text()) for bus in range(BUSES))
    manifests = tuple(Manifest(1, TENANT, machine, bindings) for machine in machines)
    return ManifestLogic(Knowledge(1, frozenset((TENANT, machine) for machine in machines), manifests))

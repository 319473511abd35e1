"""What the powertrain bus carries beside numbers: active trouble codes (DM1) and who the machine is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ...model import EXTENDED, SECOND
from .powertrain import ENGINE, TRANSMISSION
from .schedule import Fault
from .state import TICK, Model, State
from .traffic import Ticks

DM1, VEHICLE_ID, COMPONENT_ID = 65226, 65260, 65259
LAMPS = {"amber": 0x04, "red": 0x10}  # first byte of DM1, two bits a lamp

Sent = tuple[NDArray[np.bool_], NDArray[np.uint8]]
Plan = tuple[int, int, int, int | None, Callable[[int, Ticks], Sent]]


def plans(model: Model) -> Iterator[Plan]:
    """(arbitration id, period, offset, PGN where it goes by transport protocol, payloads) of each stream.

    Offsets keep the engine's transport sessions apart: codes at 0.0, identification at 0.65 s of a second, its
    configuration (machine.py) at 0.3.
    """
    yield _id(DM1, ENGINE), SECOND, 0, None, partial(_engine_codes, model, False)
    yield _id(DM1, ENGINE), SECOND, 0, DM1, partial(_engine_codes, model, True)
    yield _id(DM1, TRANSMISSION), SECOND, 8 * TICK, None, partial(_constant, model, codes(()))
    vin, component = f"{model.traits.vin}*", f"DUCO*WL18*SN{model.traits.serial}*{model.traits.name[:12]}*"
    yield _id(VEHICLE_ID, ENGINE), 10 * SECOND, 13 * TICK, VEHICLE_ID, partial(_constant, model, _text(vin))
    offset = 5 * SECOND + 13 * TICK
    yield _id(COMPONENT_ID, ENGINE), 10 * SECOND, offset, COMPONENT_ID, partial(_constant, model, _text(component))


def codes(faults: Sequence[Fault]) -> NDArray[np.uint8]:
    """Payload of a DM1 (J1939-73 5.7.1): lamps, then four bytes a code, conversion method 0; padded to a frame."""
    lamps = 0
    for fault in faults:
        lamps |= LAMPS[fault.lamp]
    body = [lamps, 0xFF]
    for fault in faults:
        body += [fault.spn & 0xFF, fault.spn >> 8 & 0xFF, fault.spn >> 16 << 5 | fault.fmi, fault.occurrences & 0x7F]
    if not faults:
        body += [0, 0, 0, 0]
    return np.array(body + [0xFF] * (8 - len(body)), np.uint8)


def _engine_codes(model: Model, several: bool, hour: int, ticks: Ticks) -> Sent:
    """Ticks with two codes (by transport protocol), or those with none or one (in a frame)."""
    state = State(model, hour, ticks)
    faults = state.hour.faults
    active = np.zeros((2, len(ticks)), bool)
    for i, fault in enumerate(faults):
        active[i] = fault.active(state.seconds)
    both = active.all(axis=0)
    if several:
        rows = both & state.key_on
        return rows, np.tile(codes(faults) if len(faults) == 2 else np.zeros(10, np.uint8), (rows.sum(), 1))
    rows = ~both & state.key_on
    data = np.tile(codes(()), (len(ticks), 1))
    for i, fault in enumerate(faults):
        data[active[i]] = codes((fault,))
    return rows, data[rows]


def _constant(model: Model, payload: NDArray[np.uint8], hour: int, ticks: Ticks) -> Sent:
    due = State(model, hour, ticks).key_on
    return due, np.tile(payload, (due.sum(), 1))


def _text(text: str) -> NDArray[np.uint8]:
    return np.frombuffer(text.encode("ascii", "replace")[:200], np.uint8)


def _id(pgn: int, sender: int) -> int:
    return EXTENDED | 6 << 26 | pgn << 8 | sender

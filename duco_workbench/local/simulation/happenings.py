"""What happens to a machine now and then: key, fuel, loads, faults."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...model import SECOND
from .schedule import HOUR
from .state import REFUEL_HOURS, REFUEL_SECONDS, Model

Happening = tuple[int, str, str, dict[str, Any]]  # microseconds, name, severity, data
WORDS = {
    "coolant_hot": "engine coolant too hot",
    "voltage_low": "battery voltage too low",
    "oil_pressure_low": "engine oil pressure too low",
    "charge_air_sensor": "charge air temperature sensor shorted high",
}


def happenings(model: Model, hour: int) -> list[Happening]:
    """All of one hour, in no order."""
    facts, begin = model.hour(hour), hour * HOUR
    found: list[Happening] = []

    def add(second: float, name: str, severity: str = "info", **data: Any) -> None:
        found.append((begin + round(second * SECOND), name, severity, data))

    if facts.is_cold:
        add(0, "key_on")
    if hour % REFUEL_HOURS == 0:
        add(REFUEL_SECONDS, "refuelled", litres=round(model.per_filling(), 1))
    for second, kilograms in _tipped(model, facts.variant):
        add(second, "load_tipped", payload_kg=kilograms)
    for fault in facts.faults:
        code = {"spn": fault.spn, "fmi": fault.fmi, "source": "can0:00", "text": WORDS[fault.kind]}
        add(fault.start, "fault_active", "error" if fault.lamp == "red" else "warning", **code)
        add(fault.end, "fault_cleared", "info", **code)
    if facts.key_off is not None:
        add(facts.key_off, "key_off")
    return found


def _tipped(model: Model, variant: int) -> list[tuple[float, int]]:
    """Second and kilograms of each load that left the bucket."""
    payload = model.cycle(variant).columns["payload"].astype(np.float64)
    loaded = payload > 2500
    when = np.flatnonzero(loaded[:-1] & ~loaded[1:])
    return [(float(i) / 10, round(float(payload[max(i - 150, 0) : i].max()))) for i in when]

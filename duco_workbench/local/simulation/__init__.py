"""Machines that exist only here, for the default start, demonstrations and tests.

A machine is a pure function of (seed, time): live and history agree, any interval can be made alone, two runs see the
same. From bottom to top: noise (chance by hash) · route, vehicle, laps, work, cycle (physics of an hour) · schedule
(which hour, which fault) · state (all of it at a time) · powertrain, implement, diagnostics (what is sent) · layout,
encoder, traffic (as frames) · machine, speed (the machines).
"""

from __future__ import annotations

from .machine import SimulatedMachine
from .speed import SpeedMachine

Machine = SimulatedMachine | SpeedMachine
PROFILES: dict[str, type[SimulatedMachine] | type[SpeedMachine]] = {"quarry": SimulatedMachine, "speed": SpeedMachine}

__all__ = ["PROFILES", "Machine", "SimulatedMachine", "SpeedMachine"]

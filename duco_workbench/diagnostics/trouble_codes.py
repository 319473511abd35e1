"""Trouble codes of two bytes as people write them (SAE J2012, ISO 15031-6): ``P0301``, ``U0100``."""

from __future__ import annotations

_SYSTEMS = "PCBU"  # powertrain, chassis, body, network


def code_text(number: int) -> str:
    """The text of 16 bits: two for the system, two for the first digit (0 to 3), three hex digits."""
    return f"{_SYSTEMS[number >> 14 & 3]}{number >> 12 & 3}{number & 0xFFF:03X}"

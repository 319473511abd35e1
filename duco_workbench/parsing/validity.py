"""What a raw J1939 value is worth: valid, reserved, an error, or not available.

Judged on the raw **unsigned** value, before scaling, by the length of the parameter (SAE J1939-71, table 1):

========  ===================  ====================  ============  ===============
length    ok                   ``out_of_range``      ``error``     ``not_available``
========  ===================  ====================  ============  ===============
1 bit     0, 1                 -                     -             -
2 bits    0, 1                 -                     2             3
4 bits    0..D                 -                     E             F
8 bits    00..FA, FB           FC, FD                FE            FF
16 bits   0000..FAFF, FBxx     FCxx, FDxx            FExx          FFxx
32 bits   by the top byte, as 16 bits
========  ===================  ====================  ============  ===============

FB is the standard's "parameter specific indicator": it is a value, and stays one. Every other length, and every
signed or floating-point signal, has no rule: all its values are ok, because its top codes are ordinary numbers (-1).
Only messages matched as J1939 are judged; the ISO 15765 diagnostics groups are not. The limits a database gives a
signal (``[min|max]``) never change a status: they are wrong too often.

A signal's override ``{"validity": "none"}`` switches the rule off; ``{"validity": "j1939"}`` asks for it where it would
not apply: 11-bit ids, signed signals, and lengths of 8 bits or more that are not in the table (by their top byte).
"""

from __future__ import annotations

from typing import NamedTuple

RULES = ("", "none", "j1939")


class Thresholds(NamedTuple):
    """Least raw value of each status; a raw value has the status of the greatest threshold it reaches."""

    out_of_range: int
    error: int
    not_available: int


_SHORT = {2: Thresholds(2, 2, 3), 4: Thresholds(0xE, 0xE, 0xF)}  # nothing is reserved
_BY_TOP_BYTE = (8, 16, 32)


def thresholds(length: int, *, is_plain: bool, is_j1939: bool, rule: str = "") -> Thresholds | None:
    """Thresholds of a signal of ``length`` bits, or None where every value is ok.

    Args:
        is_plain: neither signed nor floating point.
        is_j1939: the message is matched as J1939 and carries J1939 parameters.
        rule: the signal's override: ``""``, ``"none"`` or ``"j1939"``.
    """
    asked = rule == "j1939"
    if rule == "none" or not (asked or (is_j1939 and is_plain)):
        return None
    if length in _SHORT:
        return _SHORT[length]
    if length in _BY_TOP_BYTE or (asked and 8 <= length <= 64):
        below = length - 8
        return Thresholds(0xFC << below, 0xFE << below, 0xFF << below)
    return None

"""Diagnostic trouble codes from DM1 (active) and DM2 (previously active), single frames and long messages alike.

Where the 19 bits of an SPN lie in the first three bytes of a code is its *conversion method* (SAE J1939-73, SPN 1706):

======  =======================  =======================  =============================  ==
method  byte 1                   byte 2                   byte 3, bits 8..6              cm
======  =======================  =======================  =============================  ==
1       SPN bits 19..12          SPN bits 11..4           SPN bits 3..1                  1
2       SPN bits 11..4           SPN bits 19..12          SPN bits 3..1                  1
3       SPN bits 8..1            SPN bits 16..9           SPN bits 19..17                1
4       as method 3              as method 3              as method 3                    0
======  =======================  =======================  =============================  ==

A set conversion bit (``cm`` 1) says "one of 1 to 3", and nothing in the message says which: it is known of a sender, or
not at all. ``methods`` (``{"can0:03": 1}``) states it; codes with a clear bit are read by method 4 whatever it says. A
sender it does not name is read by method 3, and its set ``cm`` is kept as the sign that its SPN may be another one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from functools import lru_cache

from ..model import Dtc, FrameBatch
from . import ids
from .messages import messages_of
from .transport import LongMessage, reassemble

_LAMPS = ((6, "malfunction"), (4, "red-stop"), (2, "amber-warning"), (0, "protect"))  # bit in both lamp bytes
_FLASH = ("flash-slow", "flash-fast", "on", "on")  # 1 Hz, 2 Hz, reserved, not flashing
_ON, _ERROR = 1, 2
NO_SPN, NO_COUNT = 0x7FFFF, 127
SHORTEST = 6  # bytes of a whole message: two of lamps, one code, be it "no fault"
METHODS = (1, 2, 3, 4)
_NO_METHODS: Mapping[str, int] = {}


def dtcs(frames: FrameBatch, pgns: Collection[int] = (ids.DM1,), methods: Mapping[str, int] = _NO_METHODS) -> list[Dtc]:
    """The codes of a batch in order of time: of DM1 unless ``pgns`` says otherwise.

    A :class:`~duco_workbench.model.Dtc` does not say which message it came from, so ask for DM2 on its own.
    A message without a fault gives no code: :mod:`.fault_states` sees those too.

    Args:
        methods: conversion method by sender (``can0:03``), for those that set the conversion bit.
    """
    return dtcs_of(frames, reassemble(frames)[0], pgns, methods)


def dtcs_of(
    frames: FrameBatch,
    long: Iterable[LongMessage],
    pgns: Collection[int] = (ids.DM1,),
    methods: Mapping[str, int] = _NO_METHODS,
) -> list[Dtc]:
    """As :func:`dtcs`, with the long messages already put together."""
    found = []
    for m in messages_of(frames, long, pgns):
        source = ids.source_name(frames.channels[m.channel], m.source)
        codes = read(m.ts, source, m.data, methods.get(source, 3))
        machine = frames.machine_name(m.machine)
        found += [replace(code, machine=machine) for code in codes] if machine else codes
    return found


def read(ts: int, source: str, data: bytes, method: int = 3) -> list[Dtc]:
    """The codes of one DM1 or DM2: two lamp bytes, then four bytes a code; padding and "no fault" are none.

    Args:
        method: how codes with a set conversion bit are laid out, one of :data:`METHODS`.
    """
    shown = lamps(data[:2])
    found = []
    for at in range(2, len(data) - 3, 4):
        code = data[at : at + 4]
        fmi, count, cm = code[2] & 31, code[3] & 127, code[3] >> 7
        number = spn(code, method if cm else 4)
        if number != NO_SPN and (number or fmi):
            found.append(Dtc(ts, source, number, fmi, None if count == NO_COUNT else count, cm, shown))
    return found


def spn(code: bytes, method: int) -> int:
    """The SPN of a code's first three bytes (table above)."""
    if method == 1:
        return code[0] << 11 | code[1] << 3 | code[2] >> 5
    if method == 2:
        return code[1] << 11 | code[0] << 3 | code[2] >> 5
    return code[0] | code[1] << 8 | code[2] >> 5 << 16


@lru_cache(maxsize=256)
def lamps(data: bytes) -> str:
    """The lamps of a message's two lamp bytes that are not off: ``"red-stop:on,amber-warning:flash-slow"``, or ""."""
    if len(data) < 2:
        return ""
    words = []
    for bit, name in _LAMPS:
        state = (data[0] >> bit) & 3
        if state == _ON:
            words.append(f"{name}:{_FLASH[(data[1] >> bit) & 3]}")
        elif state == _ERROR:
            words.append(f"{name}:error")
    return ",".join(words)

"""Which frames are ISO-TP, and who talks to whom: the addressing of ISO 15765-2 and ISO 15765-4.

================================  ============================================================================
id                                what it is
================================  ============================================================================
11-bit 7DF                        functional request of a tester, to whoever feels concerned
11-bit 7E0..7E7                   physical request of a tester to ECU 1..8
11-bit 7E8..7EF                   answer of ECU 1..8 (request id + 8)
29-bit DA (18DAttss)              normal fixed addressing, physical: target ``tt``, source ``ss``
29-bit DB (18DBttss)              normal fixed addressing, functional
================================  ============================================================================

Makers put ECUs on other 11-bit ids too: these are named as ``pairs``, request id -> answer id. Extended and mixed
addressing, where a byte of data is an address, are not read.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..model import ERROR, EXTENDED, REMOTE, FrameBatch

FUNCTIONAL_11, FIRST_REQUEST, FIRST_RESPONSE = 0x7DF, 0x7E0, 0x7E8
PHYSICAL_29, FUNCTIONAL_29 = 0x00DA_0000, 0x00DB_0000
_FIXED = 0x03FF_0000  # priority and addresses do not count
_STANDARD_11 = {FIRST_REQUEST + i: FIRST_RESPONSE + i for i in range(8)}
Pairs = Mapping[int, int]
NO_PAIRS: Pairs = {}


def rows_of(frames: FrameBatch, pairs: Pairs = NO_PAIRS) -> NDArray[np.intp]:
    """Indices of the data frames that are ISO-TP by their id; one comparison and one table look-up a frame."""
    number = frames.arbitration_id
    fixed = number & np.uint32(_FIXED | EXTENDED | REMOTE | ERROR)
    is_29 = (fixed == np.uint32(EXTENDED | PHYSICAL_29)) | (fixed == np.uint32(EXTENDED | FUNCTIONAL_29))
    # ids above 11 bits share the table's last entry, which is false
    is_11 = _eleven_bits(tuple(sorted(pairs.items())))[np.minimum(number, np.uint32(0x800))]
    return frames.data_rows(np.flatnonzero(is_29 | is_11))


@lru_cache(maxsize=16)
def _eleven_bits(pairs: tuple[tuple[int, int], ...]) -> NDArray[np.bool_]:
    table = np.zeros(0x801, bool)
    table[FUNCTIONAL_11] = True
    for request, response in (*_STANDARD_11.items(), *pairs):
        table[[request & 0x7FF, response & 0x7FF]] = True
    return table


def is_functional(arbitration_id: int) -> bool:
    """Whether it goes to every ECU: such a message fits one frame, since nobody could answer with flow control."""
    if arbitration_id & EXTENDED:
        return arbitration_id & _FIXED == FUNCTIONAL_29
    return arbitration_id == FUNCTIONAL_11


def is_request(arbitration_id: int, pairs: Pairs = NO_PAIRS) -> bool | None:
    """Whether a tester sends on this id; None where the id does not say (29 bits)."""
    if arbitration_id & EXTENDED:
        return True if is_functional(arbitration_id) else None
    return arbitration_id == FUNCTIONAL_11 or arbitration_id in _STANDARD_11 or arbitration_id in pairs


def reverse(arbitration_id: int, pairs: Pairs = NO_PAIRS) -> int:
    """The id the other side of a conversation sends on: where flow control of this id's messages comes from."""
    if arbitration_id & EXTENDED:
        source, target = arbitration_id & 0xFF, arbitration_id >> 8 & 0xFF
        return arbitration_id & ~0xFFFF | source << 8 | target
    known = {**_STANDARD_11, **pairs}
    back = {response: request for request, response in known.items()}
    return known.get(arbitration_id, back.get(arbitration_id, arbitration_id))


def source_of(channel: str, arbitration_id: int) -> str:
    """Who sent it: ``can0:7e8``, or the sender address of a 29-bit id, ``can0:10``."""
    number = arbitration_id & 0x7FF
    return f"{channel}:{arbitration_id & 0xFF:02x}" if arbitration_id & EXTENDED else f"{channel}:{number:03x}"

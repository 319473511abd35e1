"""What a 29-bit id means on J1939: parameter group, sender, and the key its database message is found by."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..model import EXTENDED

PDU1_KEY, PDU2_KEY = 0x03FF_0000, 0x03FF_FF00  # priority, sender and (PDU1) destination do not count
ANY_SENDER = 0xFE  # the null address: in a database id it means "whoever sends it"
GLOBAL = 0xFF  # destination of a broadcast

TP_CM, TP_DT = 0xEC00, 0xEB00
DM1, DM2 = 65226, 65227
# Reserved on J1939 for diagnostics by ISO 15765-3: their bytes are not J1939 parameters, though the id looks like it.
ISO_15765_PGNS = (0xDA00, 0xDB00, 0xCD00, 0xCE00)


def pgn(ids: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Parameter group numbers (n) of arbitration ids (n); meaningless where bit 31 is not set."""
    number = (ids >> 8) & np.uint32(0x3FFFF)
    return np.where((ids >> 16) & 0xFF < 240, number & np.uint32(0x3FF00), number)


def source_address(ids: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """Sender addresses (n) of arbitration ids (n)."""
    return (ids & 0xFF).astype(np.uint8)


def match_key(frame_id: int) -> int:
    """The part of a 29-bit id that names the parameter group, bit 31 set: what database and frame ids share."""
    is_pdu2 = (frame_id >> 16) & 0xFF >= 240
    return (frame_id & (PDU2_KEY if is_pdu2 else PDU1_KEY)) | EXTENDED


def pgn_of(frame_id: int) -> int:
    """:func:`pgn` of one id."""
    return (match_key(frame_id) >> 8) & 0x3FFFF


def source_name(channel: str, address: int) -> str:
    """``can0:03``: the bus and the sender in hex."""
    return f"{channel}:{address:02x}"


def transport_rows(ids: NDArray[np.uint32]) -> NDArray[np.intp]:
    """Indices of TP.CM and TP.DT data frames."""
    kind = _page_and_format(ids)
    return np.flatnonzero((kind == 0x80EC) | (kind == 0x80EB))


def _page_and_format(ids: NDArray[np.uint32]) -> NDArray[Any]:
    """SocketCAN's three bits, data pages and PDU format: 0x80EC is a plain extended frame of PF 0xEC on page 0."""
    return (ids >> 16) & np.uint32(0xE3FF)

"""What J1939 lays over CAN, shared by the machine and the decoder: ids, transport sessions, diagnostic messages."""

from .ids import (
    ANY_SENDER,
    DM1,
    DM2,
    GLOBAL,
    ISO_15765_PGNS,
    match_key,
    pgn,
    pgn_of,
    source_address,
    source_name,
    transport_rows,
)

__all__ = [
    "ANY_SENDER",
    "DM1",
    "DM2",
    "GLOBAL",
    "ISO_15765_PGNS",
    "match_key",
    "pgn",
    "pgn_of",
    "source_address",
    "source_name",
    "transport_rows",
]

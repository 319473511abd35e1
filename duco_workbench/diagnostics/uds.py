"""UDS (ISO 14229-1) read from ISO-TP messages: requests and answers by name, identifiers (DIDs), trouble codes.

A message stands for itself: nothing pairs answers with requests. Bit 6 of the first byte tells them apart, on 11 and 29
bits alike; 7F is a negative response.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from .addressing import source_of
from .isotp import IsoTpMessage
from .trouble_codes import code_text
from .uds_names import STATUS_BITS, negative_response_name, service_name

READ_DTCS, READ_DIDS = 0x19, 0x22
VIN = 0xF190
DID_LENGTHS: Mapping[int, int] = {VIN: 17}
_BY_STATUS_MASK = 0x02
_IDENTIFICATION = range(0xF180, 0xF1A0)  # DIDs whose meaning the standard fixes, many of them texts
_NEGATIVE, _ANSWER = 0x7F, 0x40


class Kind(enum.StrEnum):
    REQUEST = "request"
    POSITIVE = "positive"
    NEGATIVE = "negative"
    MALFORMED = "malformed"


class UdsMessage(NamedTuple):
    """One request or answer.

    Attributes:
        source: bus and sender: ``can0:7e8``, or ``can0:10`` (29 bits).
        kind: ``malformed`` for a negative response that does not say to what, or why.
        service: id of the request, for an answer too.
        nrc: negative response code, or None.
        data: what follows the service id.
    """

    ts: int
    source: str
    kind: Kind
    service: int
    nrc: int | None
    data: bytes

    @property
    def name(self) -> str:
        return service_name(self.service)

    @property
    def nrc_name(self) -> str:
        """ "" unless negative."""
        return "" if self.nrc is None else negative_response_name(self.nrc)


class Identifier(NamedTuple):
    """One DID of an answer to ReadDataByIdentifier; ``text`` where it is one of the standard's and reads as ASCII."""

    did: int
    data: bytes
    text: str | None


class UdsDtc(NamedTuple):
    """One code of an answer to ReadDTCInformation.

    Attributes:
        number: three bytes as they came.
        status: bits of :data:`~.uds_names.STATUS_BITS`.
    """

    number: int
    status: int

    @property
    def text(self) -> str:
        """``P0301-17``: code and failure type byte (ISO 15031-6). The answer does not say whether it uses another
        format; ``number`` holds whichever it is."""
        return f"{code_text(self.number >> 8)}-{self.number & 0xFF:02X}"

    @property
    def flags(self) -> tuple[str, ...]:
        """Names of the status bits that are set."""
        return tuple(name for bit, name in enumerate(STATUS_BITS) if self.status >> bit & 1)


def read(message: IsoTpMessage, channels: Sequence[str]) -> UdsMessage:
    """What one ISO-TP message is; ``channels`` are the names of the buses its ``channel`` counts."""
    ts, data = message.ts, message.data
    source = source_of(channels[message.channel], message.arbitration_id)
    if data[0] == _NEGATIVE:
        if len(data) < 3:
            return UdsMessage(ts, source, Kind.MALFORMED, data[1] if len(data) > 1 else 0, None, data[1:])
        return UdsMessage(ts, source, Kind.NEGATIVE, data[1], data[2], data[3:])
    kind = Kind.POSITIVE if data[0] & _ANSWER else Kind.REQUEST
    return UdsMessage(ts, source, kind, data[0] & ~_ANSWER, None, data[1:])


def identifiers(message: UdsMessage, lengths: Mapping[int, int] = DID_LENGTHS) -> list[Identifier]:
    """The DIDs of a positive answer to ReadDataByIdentifier; none of any other message.

    Args:
        lengths: bytes of data by DID. An answer does not say where the data of one ends: what follows a DID of unknown
            length is all its data, and so is a rest too short to be another DID with data.
    """
    if message.kind != Kind.POSITIVE or message.service != READ_DIDS:
        return []
    found, body = [], message.data
    while len(body) >= 2:
        did, body = int.from_bytes(body[:2], "big"), body[2:]
        length = lengths.get(did, len(body))
        if len(body) - length < 3:
            length = len(body)
        found.append(Identifier(did, body[:length], _text(did, body[:length])))
        body = body[length:]
    return found


def trouble_codes(message: UdsMessage) -> list[UdsDtc] | None:
    """The codes of an answer to ReadDTCInformation by status mask (19 02), none included; None of any other message.

    A last code that is cut short is left out.
    """
    is_list = message.service == READ_DTCS and message.data[:1] == bytes([_BY_STATUS_MASK])
    if message.kind != Kind.POSITIVE or not is_list:
        return None
    body = message.data[2:]  # sub-function, which status bits the ECU has
    return [UdsDtc(int.from_bytes(body[at : at + 3], "big"), body[at + 3]) for at in range(0, len(body) - 3, 4)]


def _text(did: int, data: bytes) -> str | None:
    text = data.strip(b"\x00\xff ")
    is_text = did in _IDENTIFICATION and text.isascii() and text.decode("ascii", "replace").isprintable()
    return text.decode("ascii") if is_text and text else None

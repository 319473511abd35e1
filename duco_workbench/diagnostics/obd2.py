"""OBD-II (SAE J1979, ISO 15031-5) read from ISO-TP messages: readings with units, trouble codes, vehicle information.

=======  =======================  ========================================================================
service  answer                   becomes
=======  =======================  ========================================================================
01       41 [pid data]...         :class:`Reading` of every field of every PID, one or several in an answer
03       43 count [2 bytes]...    :class:`CodeList` "stored"
07       47 count [2 bytes]...    :class:`CodeList` "pending"
09       49 type count data...    :class:`VehicleInfo`
0A       4A count [2 bytes]...    :class:`CodeList` "permanent"
22       62 [F4 pid data]...      as 01: the PIDs of OBD on UDS (SAE J1979-2)
=======  =======================  ========================================================================

Requests carry nothing to read and are passed over, as are services not named here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from .addressing import source_of
from .isotp import IsoTpMessage
from .obd2_pids import PARAMETERS
from .trouble_codes import code_text

OUTCOMES = ("obd_read", "obd_unknown_pid", "obd_malformed")
_CURRENT, _INFORMATION, _BY_DID = 0x41, 0x49, 0x62
_CODE_LISTS = {0x43: "stored", 0x47: "pending", 0x4A: "permanent"}
_PID_DIDS = 0xF4  # high byte of the DIDs that are PIDs
_INFO_TEXTS = {0x02: ("vin", 17), 0x04: ("calibration_id", 16), 0x0A: ("ecu_name", 20)}  # bytes an item
_VERIFICATION_NUMBERS = 0x06


@dataclass(frozen=True, slots=True)
class Reading:
    """One value in ``unit``; ``source`` is bus and sender (``can0:7e8``, ``can0:10``)."""

    ts: int
    source: str
    pid: int
    name: str
    value: float
    unit: str


@dataclass(frozen=True, slots=True)
class CodeList:
    """All codes of one kind an ECU has, none included; ``kind`` is stored, pending or permanent."""

    ts: int
    source: str
    kind: str
    codes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class VehicleInfo:
    """``name`` is vin, calibration_id, ecu_name or calibration_verification (hex); one text an item."""

    ts: int
    source: str
    name: str
    texts: tuple[str, ...]


@dataclass(slots=True)
class Obd2:
    """What a batch's messages said, each list in their order.

    Attributes:
        counts: answers by :data:`OUTCOMES`; an answer with a PID not in the table is read up to it.
    """

    readings: list[Reading] = field(default_factory=list)
    code_lists: list[CodeList] = field(default_factory=list)
    infos: list[VehicleInfo] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


def read(messages: Iterable[IsoTpMessage], channels: Sequence[str]) -> Obd2:
    """What ISO-TP messages say as OBD-II.

    Args:
        channels: names of the buses the messages' ``channel`` counts.
    """
    found = Obd2()
    for m in messages:
        source = source_of(channels[m.channel], m.arbitration_id)
        service, body = m.data[0], m.data[1:]
        if service == _CURRENT:
            outcome = _readings(found.readings, m.ts, source, body)
        elif service == _BY_DID and body[:1] == bytes([_PID_DIDS]):
            outcome = _readings(found.readings, m.ts, source, body, prefix=bytes([_PID_DIDS]))
        elif service in _CODE_LISTS:
            outcome = _code_list(found.code_lists, m.ts, source, _CODE_LISTS[service], body)
        elif service == _INFORMATION:
            outcome = _info(found.infos, m.ts, source, body)
        else:
            continue
        found.counts[outcome] += 1
    return found


def _readings(found: list[Reading], ts: int, source: str, body: bytes, prefix: bytes = b"") -> str:
    """Adds those of every PID, each after ``prefix``; ends at the first that is unknown or cut short."""
    if not body:
        return "obd_malformed"
    while body:
        head, body = body[: len(prefix) + 1], body[len(prefix) + 1 :]
        if len(head) <= len(prefix) or not head.startswith(prefix):
            return "obd_malformed"
        parameter = PARAMETERS.get(head[-1])
        if parameter is None:
            return "obd_unknown_pid"
        data, body = body[: parameter.length], body[parameter.length :]
        if len(data) < parameter.length:
            return "obd_malformed"
        values = ((f, f.value(data)) for f in parameter.fields)
        found += [Reading(ts, source, head[-1], f.name, value, f.unit) for f, value in values if value is not None]
    return "obd_read"


def _code_list(found: list[CodeList], ts: int, source: str, kind: str, body: bytes) -> str:
    if not body or len(body) - 1 < 2 * body[0]:
        return "obd_malformed"
    codes = tuple(code_text(int.from_bytes(body[at : at + 2], "big")) for at in range(1, 2 * body[0], 2))
    found.append(CodeList(ts, source, kind, codes))
    return "obd_read"


def _info(found: list[VehicleInfo], ts: int, source: str, body: bytes) -> str:
    """Items are a fixed number of bytes each, texts filled with zero bytes in front or behind."""
    if len(body) < 2:
        return "obd_malformed"
    kind, count, data = body[0], body[1], body[2:]
    if kind == _VERIFICATION_NUMBERS:
        name, size = "calibration_verification", 4
    elif kind in _INFO_TEXTS:
        name, size = _INFO_TEXTS[kind]
    else:
        return "obd_unknown_pid"
    if len(data) < size * count:
        return "obd_malformed"
    items = [data[size * i : size * i + size] for i in range(count)]
    texts = [item.hex().upper() if size == 4 else _text(item) for item in items]
    found.append(VehicleInfo(ts, source, name, tuple(texts)))
    return "obd_read"


def _text(data: bytes) -> str:
    return data.strip(b"\x00\xff").decode("ascii", "replace").strip()

"""Who has which address: NAMEs read from address claims (PGN 60928, SAE J1939-81), and what changes over time.

A sender address says nothing lasting: a device may claim another one, and another device the same one. The 64-bit NAME
is the device. Where a new NAME takes an address, series of that address are of another device from there on: a *break*.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, Self

from ..model import FrameBatch
from .messages import messages_of

ADDRESS_CLAIMED = 60928
NULL_ADDRESS = 0xFE  # the sender of "cannot claim an address"


class Name(NamedTuple):
    """A device's NAME; of two that claim one address the smaller ``number`` wins. Fields as J1939-81, 4.1.1 has them.

    Attributes:
        identity_number: 21 bits, given by the manufacturer.
        manufacturer_code: 11 bits, given by SAE.
        ecu_instance, function_instance: 3 and 5 bits.
        function: 8 bits; below 128 the same in every industry group.
        vehicle_system, vehicle_system_instance: 7 and 4 bits.
        industry_group: 0 all, 1 on-highway, 2 agriculture and forestry, 3 construction, 4 marine, 5 industrial.
        arbitrary_address_capable: whether it takes another address when it loses its own.
    """

    identity_number: int
    manufacturer_code: int
    ecu_instance: int
    function_instance: int
    function: int
    vehicle_system: int
    vehicle_system_instance: int
    industry_group: int
    arbitrary_address_capable: bool
    number: int

    @classmethod
    def of(cls, number: int) -> Self:
        """The NAME of a 64-bit number (the eight bytes of a claim, least significant first)."""
        return cls(
            identity_number=number & 0x1F_FFFF,
            manufacturer_code=number >> 21 & 0x7FF,
            ecu_instance=number >> 32 & 7,
            function_instance=number >> 35 & 31,
            function=number >> 40 & 0xFF,
            vehicle_system=number >> 49 & 0x7F,  # bit 48 is reserved
            vehicle_system_instance=number >> 56 & 15,
            industry_group=number >> 60 & 7,
            arbitrary_address_capable=bool(number >> 63),
            number=number,
        )

    def __str__(self) -> str:
        return f"{self.number:016x}"


@dataclass(frozen=True, slots=True)
class Claim:
    """One address claim; ``address`` 254 says that the device has none."""

    ts: int
    bus: str
    address: int
    name: Name


@dataclass(frozen=True, slots=True)
class AddressChange:
    """An address is taken, or (``after`` None) given up because its device claims another or none.

    Attributes:
        before: the NAME that had it last, also if it has given it up since; None when it was never claimed.
    """

    ts: int
    bus: str
    address: int
    before: Name | None
    after: Name | None

    @property
    def is_break(self) -> bool:
        """Whether another device speaks from this address now than before."""
        return self.before is not None and self.after is not None and self.before != self.after


def claims(frames: FrameBatch) -> tuple[list[Claim], int]:
    """The address claims of a batch in order of time, and how many had fewer than eight bytes."""
    found, malformed = [], 0
    for m in messages_of(frames, (), (ADDRESS_CLAIMED,)):
        if len(m.data) == 8:
            name = Name.of(int.from_bytes(m.data, "little"))
            found.append(Claim(m.ts, frames.channels[m.channel], m.source, name))
        else:
            malformed += 1
    return found, malformed


def address_changes(seen: Iterable[Claim]) -> list[AddressChange]:
    """What claims change, in order of time; a claim repeated by the device that has the address changes nothing.

    Args:
        seen: in order of time, of any buses, from as many batches as wanted.

    When two devices claim one address the last claim counts: the one with the right to it repeats its claim, so that
    the other has it for some milliseconds only.
    """
    last: dict[tuple[str, int], Name] = {}  # who had an address last
    holds: dict[tuple[str, Name], int] = {}  # which address a device has now
    found = []
    for claim in seen:
        here, device = (claim.bus, claim.address), (claim.bus, claim.name)
        held = holds.get(device)
        if held == claim.address:
            continue
        if held is not None:
            del holds[device]
            found.append(AddressChange(claim.ts, claim.bus, held, claim.name, None))
        if claim.address == NULL_ADDRESS:
            continue
        before = last.get(here)
        if before is not None and holds.get((claim.bus, before)) == claim.address:
            del holds[claim.bus, before]
        last[here], holds[device] = claim.name, claim.address
        found.append(AddressChange(claim.ts, claim.bus, claim.address, before, claim.name))
    return found


class AddressBook:
    """Answers who had an address when.

    Args:
        changes: from :func:`address_changes`, in order of time.
    """

    def __init__(self, changes: Iterable[AddressChange]) -> None:
        self._names: dict[tuple[str, int], list[Name | None]] = defaultdict(list)
        self._times: dict[tuple[str, int], list[int]] = defaultdict(list)
        for change in changes:
            self._times[change.bus, change.address].append(change.ts)
            self._names[change.bus, change.address].append(change.after)

    def who(self, bus: str, address: int, ts: int) -> Name | None:
        """The device that had ``address`` on ``bus`` at ``ts``; None when that is not known or it was free."""
        key = bus, address
        at = bisect_right(self._times.get(key, ()), ts)
        return self._names[key][at - 1] if at else None

"""Who has which address."""

from __future__ import annotations

import pytest
from can_rows import batch, single
from hypothesis import given
from hypothesis import strategies as st

from duco_workbench.j1939.address_claims import AddressBook, AddressChange, Name, address_changes, claims

CLAIM, NULL = 60928, 0xFE
ENGINE, OTHER = Name.of(0x8000_0000_0040_0001), Name.of(0x8000_0300_0040_0002)


def changes_of(*said: tuple[int, int, Name], channel: int = 0) -> list[AddressChange]:
    rows = [single(ts, CLAIM, address, name.number.to_bytes(8, "little")) for ts, address, name in said]
    found, malformed = claims(batch(rows, channel))
    assert malformed == 0
    return address_changes(found)


def test_fields_of_a_name() -> None:
    name = Name.of(0xA0_01_02_1C_25_60_00_2A)
    assert name == Name(
        identity_number=0x2A,
        manufacturer_code=0x25600000 >> 21,
        ecu_instance=4,
        function_instance=3,
        function=2,
        vehicle_system=0,
        vehicle_system_instance=0,
        industry_group=2,
        arbitrary_address_capable=True,
        number=0xA001021C2560002A,
    )
    assert str(name) == "a001021c2560002a"


@given(
    st.tuples(
        *(st.integers(0, (1 << bits) - 1) for bits in (21, 11, 3, 5, 8)),
        *(st.integers(0, (1 << bits) - 1) for bits in (7, 4, 3)),
        st.booleans(),
    )
)
def test_fields_lie_where_they_are_put(fields: tuple[int, ...]) -> None:
    at = (0, 21, 32, 35, 40, 49, 56, 60, 63)
    assert Name.of(sum(int(value) << bit for value, bit in zip(fields, at, strict=True)))[:9] == fields


def test_a_claim_said_again_changes_nothing() -> None:
    assert changes_of((1, 0, ENGINE), (2, 0, ENGINE)) == [AddressChange(1, "can0", 0, None, ENGINE)]


def test_a_new_name_on_an_address_is_a_break() -> None:
    first, second = changes_of((1, 0, ENGINE), (5, 0, OTHER), channel=1)
    assert (first.is_break, second.is_break) == (False, True)
    assert second == AddressChange(5, "can1", 0, ENGINE, OTHER)


def test_a_device_that_changes_its_address_mid_log() -> None:
    changes = changes_of((1, 0x80, ENGINE), (9, 0x81, ENGINE))
    assert changes[1:] == [
        AddressChange(9, "can0", 0x80, ENGINE, None),
        AddressChange(9, "can0", 0x81, None, ENGINE),
    ]
    assert not any(change.is_break for change in changes)
    book = AddressBook(changes)
    assert [book.who("can0", 0x80, ts) for ts in (0, 1, 8, 9)] == [None, ENGINE, ENGINE, None]
    assert [book.who("can0", 0x81, ts) for ts in (8, 9, 99)] == [None, ENGINE, ENGINE]
    assert book.who("can1", 0x80, 5) is None


def test_an_address_left_and_taken_by_another_is_a_break_there() -> None:
    changes = changes_of((1, 0x80, ENGINE), (2, 0x81, ENGINE), (3, 0x80, OTHER))
    assert [(c.ts, c.address) for c in changes if c.is_break] == [(3, 0x80)]


def test_a_device_that_takes_its_address_again_is_no_break() -> None:
    changes = changes_of((1, 0x80, ENGINE), (2, NULL, ENGINE), (3, 0x80, ENGINE))
    assert [c.after for c in changes] == [ENGINE, None, ENGINE]
    assert not any(c.is_break for c in changes)


def test_who_cannot_claim_has_no_address() -> None:
    assert changes_of((1, NULL, ENGINE)) == []
    book = AddressBook(changes_of((1, 0, ENGINE), (2, 0, OTHER), (3, 0, ENGINE), (4, NULL, OTHER)))
    assert book.who("can0", 0, 9) == ENGINE


def test_a_device_pushed_out_does_not_give_up_the_address_of_the_other() -> None:
    book = AddressBook(changes_of((1, 0, ENGINE), (2, 0, OTHER), (3, 7, ENGINE)))
    assert (book.who("can0", 0, 9), book.who("can0", 7, 9)) == (OTHER, ENGINE)


@pytest.mark.parametrize("data", [b"", b"\0" * 7])
def test_a_short_claim_is_counted(data: bytes) -> None:
    assert claims(batch([single(0, CLAIM, 0, data)])) == ([], 1)

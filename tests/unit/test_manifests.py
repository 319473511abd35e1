"""Which manifest applies: device before tenant, then the latest time, then the highest revision."""

from __future__ import annotations

import itertools

import pytest

from duco_workbench.manifests import choose
from duco_workbench.model import Manifest


def manifest(revision: int, chassis_id: str = "m1", valid_from: int = 0, tenant: str = "demo") -> Manifest:
    return Manifest(revision, tenant, chassis_id, (), valid_from)


ALL = [
    manifest(1, "*"),
    manifest(2, valid_from=100),
    manifest(3, valid_from=200),
    manifest(4, valid_from=100),
    manifest(5, "*", valid_from=300),
    manifest(6, tenant="other"),
    manifest(7, "m2"),
]


@pytest.mark.parametrize(
    ("chassis_id", "ts", "revision"),
    [
        ("m1", 0, 1),  # the device's own are not valid yet
        ("m1", 99, 1),
        ("m1", 100, 4),  # of one time, the newest
        ("m1", 199, 4),
        ("m1", 200, 3),  # a later time beats a higher revision
        ("m1", 300, 3),  # its own beats a later one for all
        ("m3", 299, 1),
        ("m3", 300, 5),
        ("m2", 0, 7),
        ("m3", -1, None),
    ],
)
def test_the_one_that_applies(chassis_id: str, ts: int, revision: int | None) -> None:
    chosen = choose(ALL, "demo", chassis_id, ts)
    assert (chosen and chosen.revision) == revision


def test_the_order_they_come_in_does_not_matter() -> None:
    assert {choose(order, "demo", "m1", 150) for order in itertools.permutations(ALL, 7)} == {ALL[3]}


def test_another_tenants_is_never_chosen() -> None:
    assert choose(ALL, "nobody", "m1", 500) is None

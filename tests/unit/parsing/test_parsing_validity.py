"""The table of J1939 statuses, by length."""

from __future__ import annotations

import pytest

from duco_workbench.parsing.validity import Thresholds, thresholds


@pytest.mark.parametrize(
    ("length", "rule"),
    [
        (1, None),
        (2, (2, 2, 3)),
        (3, None),
        (4, (14, 14, 15)),
        (5, None),
        (8, (0xFC, 0xFE, 0xFF)),
        (10, None),
        (16, (0xFC00, 0xFE00, 0xFF00)),
        (24, None),
        (32, (0xFC000000, 0xFE000000, 0xFF000000)),
        (64, None),
    ],
)
def test_by_length(length: int, rule: tuple[int, int, int] | None) -> None:
    assert thresholds(length, is_plain=True, is_j1939=True) == (Thresholds(*rule) if rule else None)


def test_never_for_signed_float_or_other_ids_unless_asked() -> None:
    assert thresholds(8, is_plain=False, is_j1939=True) is None
    assert thresholds(8, is_plain=True, is_j1939=False) is None
    assert thresholds(8, is_plain=False, is_j1939=False, rule="j1939") == (0xFC, 0xFE, 0xFF)
    assert thresholds(24, is_plain=True, is_j1939=True, rule="j1939") == (0xFC0000, 0xFE0000, 0xFF0000)
    assert thresholds(5, is_plain=True, is_j1939=True, rule="j1939") is None
    assert thresholds(8, is_plain=True, is_j1939=True, rule="none") is None

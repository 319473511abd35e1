"""Guesses from payloads alone: nibbles that count, bytes that check the others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .census import Ids
from .kernel import STEPS

COUNTS_ON = 0.9  # share of steps that must be one up
BYTE_COUNTS_ON = 0.97  # more than the 15 of 16 of a nibble that comes round below a still one
FEWEST_STEPS, FEWEST_PAYLOADS = 16, 8
_POLYNOMIALS = {"CRC-8 1D": 0x1D, "CRC-8 2F": 0x2F, "CRC-8 07": 0x07}  # SAE J1850, AUTOSAR, SMBus


def counters(ids: Ids, row: int) -> list[str]:
    """Nibbles and bytes that go up by one from frame to frame: ``"byte 7 low"``, ``"byte 1"``."""
    total = min(int(ids.count[row]) - 1, STEPS)
    if total < FEWEST_STEPS:
        return []
    shares = ids.steps[row] / total
    found = []
    for byte in range(8):
        low, high, whole = shares[2 * byte], shares[2 * byte + 1], shares[16 + byte]
        if whole >= BYTE_COUNTS_ON:
            found.append(f"byte {byte}")
        elif low >= COUNTS_ON:
            found.append(f"byte {byte} low")
        elif high >= COUNTS_ON:
            found.append(f"byte {byte} high")
    return found


def checksums(ids: Ids, row: int) -> list[str]:
    """The last or first byte of eight when it follows from all others: ``"byte 7 XOR"``, ``"byte 0 CRC-8 2F"``.

    Any initial value, final XOR, or id hashed with the data shifts such a byte by a constant, so that the difference
    to the plain sum of the same kind must be constant.
    """
    if ids.lengths[row] != 1 << 8:
        return []
    kept = ids.payloads[row][: min(int(ids.count[row]) - 1, ids.payloads.shape[1])]
    payloads = np.unique(kept).view(np.uint8).reshape(-1, 8)
    if len(payloads) < FEWEST_PAYLOADS:
        return []
    moving = payloads.max(0) != payloads.min(0)
    if moving.sum() < 3:
        return []  # a check over one moving byte cannot be told from a copy of it
    last = _kind(payloads[:, :7], payloads[:, 7]) if moving[7] else ""
    first = _kind(payloads[:, 1:], payloads[:, 0]) if moving[0] and not last else ""
    return [f"byte 7 {last}"] if last else [f"byte 0 {first}"] if first else []


def _kind(others: NDArray[np.uint8], check: NDArray[np.uint8]) -> str:
    """How ``check`` (n) follows from ``others`` (n, 7), or ""."""
    total = others.sum(1, dtype=np.uint8)
    rests = [np.bitwise_xor.reduce(others, axis=1) ^ check, total - check, total + check, *(_crcs(others) ^ check)]
    constant = (np.array(rests) == np.array([rest[:1] for rest in rests])).all(1)
    return _KINDS[int(constant.argmax())] if constant.any() else ""


def _crcs(data: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(p, n) the remainder of ``data`` (n, m) by each polynomial, beginning with 0."""
    crcs = np.zeros((len(_TABLES), len(data)), np.uint8)
    for column in data.T:
        crcs = np.take_along_axis(_TABLES, (crcs ^ column).astype(np.intp), axis=1)
    return crcs


def _table(polynomial: int) -> NDArray[np.uint8]:
    table = np.arange(256)
    for _ in range(8):
        table = (table << 1) ^ np.where(table & 0x80, 0x100 | polynomial, 0)
    return table.astype(np.uint8)


_TABLES = np.array([_table(polynomial) for polynomial in _POLYNOMIALS.values()])
_KINDS = ("XOR", "sum", "sum", *_POLYNOMIALS)

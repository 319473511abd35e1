"""Chance without a sequence: every draw is a hash of (what it is for, its number).

So any interval of a simulated machine can be made alone, in any order, and is the same bit for bit.
"""

from __future__ import annotations

import hashlib
import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_STEP, _MIX1, _MIX2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB  # splitmix64
_WORD = (1 << 64) - 1
_SUM_OF_FOUR = 65536 * math.sqrt(4 / 12)  # standard deviation of the sum of four uniform 16-bit numbers


@lru_cache(4096)
def key(*parts: object) -> int:
    """A 64-bit key of what a chain of draws is for, e.g. ``key(seed, "EEC1", "rpm")``."""
    text = "/".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def bits(chain: int, number: NDArray[np.int64]) -> NDArray[np.uint64]:
    """64 random bits for each number (n), negative ones too."""
    z = number.astype(np.uint64)
    z *= np.uint64(_STEP)
    z += np.uint64(chain)
    z ^= z >> np.uint64(30)
    z *= np.uint64(_MIX1)
    z ^= z >> np.uint64(27)
    z *= np.uint64(_MIX2)
    z ^= z >> np.uint64(31)
    return z


def gaussian(chain: int, number: NDArray[np.int64]) -> NDArray[np.float64]:
    """Near-normal (mean 0, deviation 1, never beyond 3.5): the sum of the four 16-bit words of a hash."""
    words = bits(chain, number).view(np.uint16).reshape(-1, 4)
    total = words[:, 0].astype(np.int32)
    for column in (1, 2, 3):
        total += words[:, column]
    return (total - 131070) / _SUM_OF_FOUR


def draw(chain: int, number: int) -> float:
    """One uniform number in [0, 1)."""
    z = (number * _STEP + chain) & _WORD
    z = ((z ^ (z >> 30)) * _MIX1) & _WORD
    z = ((z ^ (z >> 27)) * _MIX2) & _WORD
    return ((z ^ (z >> 31)) >> 11) / (1 << 53)


def between(low: float, high: float, *parts: object) -> float:
    """One uniform number in [low, high), for a constant of a machine."""
    return low + (high - low) * draw(key(*parts), 0)

"""Output arrays that are used again once nobody holds them: memory fresh from the system costs more than decoding."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MOST_BYTES = 32 << 20  # of one array; a longer one is the system's again when its user lets go
_KEPT = 3  # arrays of a type: the one being written, the one being read, and one to spare


class Buffers:
    """Arrays to write on, of any content. A view keeps its array alive, so one that only this pool refers to is read by
    nobody."""

    def __init__(self) -> None:
        self._arrays: dict[np.dtype[Any], list[NDArray[Any]]] = {}

    def spare(self, kind: np.dtype[Any]) -> NDArray[Any]:
        """An array there is, of whatever length."""
        for array in self._arrays.get(kind, ()):
            if sys.getrefcount(array) <= 3:  # the list's, the loop's, and the call's own
                return array
        return self.take(kind, 0)

    def take(self, kind: np.dtype[Any], n: int) -> NDArray[Any]:
        """A new array of at least ``n`` items; kept here in place of the oldest."""
        n = max(n, 1024)
        array: NDArray[Any] = np.empty(1 << (n - 1).bit_length() if n * kind.itemsize <= _MOST_BYTES // 2 else n, kind)
        if array.nbytes <= _MOST_BYTES:
            self._arrays[kind] = [array, *self._arrays.get(kind, ())[: _KEPT - 1]]
        return array

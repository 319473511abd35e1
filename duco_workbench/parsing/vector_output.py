"""The numpy engine's last step: the values of every node, written where the layout wants them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .plan import Tables
from .vector_layout import Layout, Parts
from .vector_values import Alike, Values, alike, decoded, words_of
from .vector_walk import Node, Payloads

_BLOCK = 1 << 15  # values at a time: what stays in a near cache


class Output:
    """Columns of n rows in order of series; ``integers`` is None until one is wider than 53 bits."""

    def __init__(self, rows: int) -> None:
        self.value, self.status = np.empty(rows, np.float64), np.zeros(rows, np.uint8)
        self.integers: NDArray[np.int64] | None = None

    def put(self, at: NDArray[np.int64], values: Values) -> None:
        """Writes values (s, m) to rows ``at`` (s, m)."""
        self.value[at] = values.value
        if values.status is not None:
            self.status[at] = values.status
        if values.integers is not None:
            if self.integers is None:
                self.integers = np.zeros(len(self.value), np.int64)
            self.integers[at] = values.integers

    def move(self, filled: NDArray[np.int64], wanted: NDArray[np.int64]) -> None:
        """Rows ``wanted`` take the places ``filled``."""
        for column in (self.value, self.status, self.integers):
            if column is not None:
                column[filled] = column[wanted]


class Writer:
    """Keeps, from call to call, which signals of a node are alike."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._alike: dict[int, list[Alike]] = {}  # by entry of the plan's fits

    def write(self, payloads: Payloads, nodes: list[Node], parts: list[Parts], layout: Layout) -> Output:
        out = Output(int(layout.runs.starts[-1]))
        for node, p, place in zip(nodes, parts, layout.places, strict=True):
            self._write(payloads, node, p, place, out)
        out.move(layout.filled, layout.wanted)
        return out

    def _write(self, payloads: Payloads, node: Node, p: Parts, place: NDArray[np.int64], out: Output) -> None:
        signals = self._tables.signals[node.first : node.first + node.held]
        if node.fit not in self._alike:
            self._alike[node.fit] = alike(signals)
        groups, words = self._alike[node.fit], words_of(signals)
        n, block = len(node.rows), max(256, _BLOCK // node.held)
        shift, part = place - p.begins, np.repeat(np.arange(len(p.begins)), np.diff(p.begins, append=n))
        for begin in range(0, n, block):
            rows = slice(begin, begin + block)
            of_block = payloads.words(node.rows[rows], words)
            at = shift[:, part[rows]] + np.arange(begin, min(begin + block, n))
            for group in groups:
                out.put(at[group.positions], decoded(of_block, group.signals))

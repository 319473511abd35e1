"""Kernels compiled before they are needed, or read from disk."""

from __future__ import annotations

from typing import Any


def warm_up() -> None:
    """Compiles the kernels of all formats, half a minute once, or reads them from disk, a second."""
    import numpy as np

    from .asc_kernel import parse_asc
    from .blf_kernel import parse_objects
    from .candump_kernel import parse_candump
    from .candump_kernel import room as names_of_candump
    from .csv_kernel import parse_csv
    from .rows import Rows, numbered
    from .scan import STATE_SIZE
    from .trc_kernel import parse_trc

    columns, state = Rows(numbered(0)).columns, np.zeros(STATE_SIZE, np.int64)
    line, unnamed = np.frombuffer(b"\n", np.uint8), np.zeros(1, np.uint8)
    kernels: Any = (parse_asc, parse_csv, parse_trc)
    for kernel in kernels:
        kernel(line, 0, 0, columns, unnamed, state)
    parse_candump(line, 0, 0, columns, names_of_candump(), state)
    parse_objects(line, 0, 0, columns, state)

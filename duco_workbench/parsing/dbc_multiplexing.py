"""Which signals of a DBC message are there only for some values of another.

With one multiplexer in the message (``M``) the markers of the others (``m3``) hang from it, and SG_MUL_VAL_ may add
values. With several only SG_MUL_VAL_ says what hangs from which, and a multiplexer may itself be multiplexed (``m3M``).
"""

from __future__ import annotations

import re
from dataclasses import replace

from . import bounds
from .dbc_file import Draft, File, Located
from .definitions import Signal

_RANGE = re.compile(r"([0-9]+)\s*-\s*([0-9]+)")


def hang(file: File, draft: Draft, usable: list[Located]) -> tuple[Signal, ...]:
    """The usable signals of a message under their multiplexers and final names, in the order of their bits.

    Raises: ValueError: more values or combinations than :mod:`.bounds` allows.
    """
    names = {x.signal.name: file.attributes.signal_name(draft.dbc_id, x.signal.name) for x in draft.signals}
    multiplexers = [x.signal.name for x in draft.signals if x.signal.is_multiplexer]
    signals = []
    for x in usable:
        short = x.signal.name
        parent, stated = _place(file, draft, x, multiplexers)
        values = bounds.possible(stated)
        if parent is not None and (parent not in multiplexers or not values):
            why = f"is there for no value of {parent}" if parent in multiplexers else f"{parent} is no multiplexer"
            file.skip(x.line, x.said, why)
            continue
        signal = replace(
            x.signal,
            name=names[short] or short,
            long_name=names[short],
            multiplexer_signal=names[parent] or parent if parent is not None else None,
            multiplexer_ids=values,
        )
        signals.append(signal)
    if multiplexers:
        _charge(file, signals)
    return tuple(sorted(signals, key=lambda s: s.first_bit))


def _place(file: File, draft: Draft, x: Located, multiplexers: list[str]) -> tuple[str | None, set[int]]:
    """The multiplexer a signal hangs from, or None, and its values."""
    stated, ranges = file.mux.get(draft.dbc_id, {}).get(x.signal.name, (None, ""))
    if not x.marker:
        return None, set()
    if len(multiplexers) != 1:
        return stated, _values(file, ranges) if stated is not None else set()
    if x.signal.name == multiplexers[0]:
        return None, set()
    own = x.marker[1:]
    values = {int(own)} if x.marker[0] == "m" and own.isdecimal() and len(own) < 20 else set()
    return multiplexers[0], values | (_values(file, ranges) if stated == multiplexers[0] else set())


def _values(file: File, ranges: str) -> set[int]:
    pairs = [(int(low), int(high)) for low, high in _RANGE.findall(ranges)]
    count = sum(max(0, high - low + 1) for low, high in pairs)
    if count > file.mux_values:
        raise ValueError(f"its multiplexers have too many values (over {bounds.MAX_MUX_VALUES:,} in the file)")
    file.mux_values -= count
    return {value for low, high in pairs for value in range(low, high + 1)}


def _charge(file: File, signals: list[Signal]) -> None:
    """Takes a message's combinations from what the file may have; half of it for one that has too many."""
    try:
        file.mux_entries -= bounds.entries_of(signals, file.mux_entries)
    except ValueError:
        file.mux_entries //= 2  # so that many of them cost no more than two
        raise

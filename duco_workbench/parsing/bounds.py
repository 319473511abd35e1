"""How large a database may be, and what of it can be decoded: held before anything grows by what a file states.

A file costs what it *says*, not what it weighs: ``BO_ 1 M: 99999999`` asks for 100 MB, ``SG_MUL_VAL_ ... 0-4294967295``
for 160 GB. Every number below is far above any machine's database (the whole of J1939 is 500 KB and 2,400 signals).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence

from ..errors import ConfigError
from .definitions import Signal

MAX_FILE_BYTES = 32 << 20
MAX_LINE = 1 << 20  # characters
MAX_STATEMENTS = 1_000_000
MAX_DAMAGED = 10_000  # statements that cannot be read; beyond it the file is something else
MAX_NOTES = 10_000  # on what else is left out; then only how many more
MAX_MESSAGES = 50_000
MAX_SIGNALS = 200_000
MAX_CHOICES = 500_000
MAX_MESSAGE_BYTES = 1785  # the longest J1939 transport message
MAX_MESSAGE_SIGNALS = 8 * MAX_MESSAGE_BYTES
MAX_MUX_DEPTH = 16
MAX_MUX_VALUES = 1 << 17  # that signals hang from, each counted for itself, of one file
MAX_MUX_ENTRIES = 1 << 19  # signals, each counted for every combination of values, of one file
MAX_DIGITS = 400  # of a number: float64 ends at 309

_LONG_LINE = re.compile(rf"[^\n]{{{MAX_LINE + 1}}}")
_FLOATS = (16, 32, 64)


def check_text(text: str, kind: str, name: str) -> None:
    """Raises: ConfigError: too long, or a line is (XML may be one line)."""
    if len(text) > MAX_FILE_BYTES:
        raise ConfigError(f"{name} is larger than {MAX_FILE_BYTES >> 20} MiB: not a database of one machine")
    if kind in ("dbc", "sym") and (match := _LONG_LINE.search(text)):
        raise ConfigError(f"{name}:{line_of(text, match.start())}: a line of over {MAX_LINE:,} characters; break it up")


def too_many(name: str, line: int, limit: int, what: str) -> ConfigError:
    """The error for a count that passed its bound."""
    return ConfigError(f"{name}:{line}: more than {limit:,} {what}; give the part this machine needs")


def line_of(text: str, position: int) -> int:
    """The line, counted from 1, that ``position`` is in."""
    return text.count("\n", 0, position) + 1


def finite(number: float) -> bool:
    """Whether a number, or an integer of any size, is a float64 that is finite."""
    try:
        return math.isfinite(number)
    except OverflowError:
        return False


def possible(values: Iterable[int]) -> tuple[int, ...]:
    """Those a multiplexer of 64 bits, signed or not, can have, sorted."""
    return tuple(sorted(value for value in set(values) if -(1 << 63) <= value < 1 << 64))


def unusable(s: Signal, is_j1939: bool) -> str:
    """Why a signal cannot be decoded, "" where it can."""
    if s.length <= 0:
        return "its length is not greater than 0"
    if s.start < 0:
        return "begins before its message"
    if s.end_bit > 8 * MAX_MESSAGE_BYTES:
        return f"ends after {MAX_MESSAGE_BYTES} bytes"
    if s.multiplexer_signal is not None and not s.multiplexer_ids:
        return f"is there for no value of {s.multiplexer_signal}"
    if not finite(s.scale) or not finite(s.offset):
        return "scale or offset is not a finite number"
    if s.is_float and s.length not in _FLOATS:
        return f"a floating point number of {s.length} bits"
    is_text = is_j1939 and s.byte_order == "little_endian" and s.start % 8 == 0
    return f"{s.length} bits are too many for a number" if s.length > 64 and not is_text else ""


def entries_of(signals: Sequence[Signal], room: int) -> int:
    """How many signals a message has when each is counted for every combination of multiplexer values it is in.

    Raises: ValueError: more than ``room``, or nested too deep (one that stands above itself never ends).
    """
    children: dict[str | None, list[Signal]] = {}
    for s in signals:
        children.setdefault(s.multiplexer_signal, []).append(s)
    choices = {s.name: _by_value(children.get(s.name, ())) for s in signals if s.is_multiplexer}

    def below(members: Sequence[Signal], depth: int, room: int) -> int:
        if depth > MAX_MUX_DEPTH:
            raise ValueError(f"its multiplexers nest more than {MAX_MUX_DEPTH} deep")
        used = 1 + len(members)
        for s in members:
            for chosen in choices[s.name].values() if s.is_multiplexer else ():
                if used > room:
                    raise ValueError(f"its multiplexers make too many combinations (over {MAX_MUX_ENTRIES:,} signals)")
                used += below(chosen, depth + 1, room - used)
        return used

    return below(children.get(None, ()), 0, room)


def _by_value(signals: Sequence[Signal]) -> Mapping[int, Sequence[Signal]]:
    values: dict[int, list[Signal]] = {}
    for s in signals:
        for value in s.multiplexer_ids:
            values.setdefault(value, []).append(s)
    return values

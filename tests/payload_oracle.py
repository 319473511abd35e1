"""What cantools reads from one payload of one message, signal by signal.

cantools decodes a message whole where it can. Three things it does not: signals that overlap or stick out of the
message (its formats then shift), names that repeat (it keeps one of them), and multiplexer values it has no signals for
(it raises, and drops the common signals with them). There its own tree of codecs is walked, each signal decoded alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from cantools.database import DecodeError
from cantools.database.can import Message, Signal
from cantools.database.conversion import BaseConversion

from duco_workbench.parsing.database import Message as OurMessage


class PayloadOracle:
    """Reads payloads of one cantools message; signals are called as :func:`by_index` calls them."""

    def __init__(self, message: Any) -> None:
        self.message = message
        self.alone: dict[int, Any] = {}
        self.names = dict(zip(map(id, message.signals), by_index(message.signals), strict=True))
        self.is_plain = _is_plain(message)
        self.walked = 0

    def read(self, data: bytes) -> list[tuple[str, float]]:
        """(signal, value) of everything present."""
        if self.is_plain and len(data):
            try:
                found = self.message.decode(data, decode_choices=False, scaling=True, allow_truncated=True)
                return [(name, _float(value)) for name, value in found.items()]
            except DecodeError:
                self.walked += 1
        return self._walk(self.message._codecs, data)

    def _walk(self, node: Any, data: bytes) -> list[tuple[str, float]]:
        found, done = [], set()
        for signal in node["signals"]:
            value = self._one(signal, data, scaling=True)
            if value is None:
                continue
            found.append((self.names[id(signal)], _float(value)))
            if signal.name in node["multiplexers"] and signal.name not in done:
                done.add(signal.name)
                below = node["multiplexers"][signal.name].get(int(self._one(signal, data, scaling=False)))
                found += self._walk(below, data) if below else []
        return found

    def _one(self, signal: Any, data: bytes, scaling: bool) -> Any:
        if id(signal) not in self.alone:
            bits = signal.start if signal.byte_order == "little_endian" else _network_bit(signal.start)
            length = max(self.message.length, (bits + signal.length + 7) // 8)
            self.alone[id(signal)] = Message(1, "alone", length, [_unhung(signal)], strict=False)
        found = self.alone[id(signal)].decode(data, decode_choices=False, scaling=scaling, allow_truncated=True)
        return found.get(signal.name)


def by_index(signals: Sequence[Any]) -> list[str]:
    """Their names; one that repeats with its number (``Speed@2``), but for multiplexers, which are found by name."""
    seen: Counter[str] = Counter()
    repeated = {name for name, count in Counter(s.name for s in signals).items() if count > 1}
    names = []
    for s in signals:
        seen[s.name] += 1
        names.append(f"{s.name}@{seen[s.name]}" if s.name in repeated and not s.is_multiplexer else s.name)
    return names


def cantools_message(m: OurMessage) -> Any:
    """A cantools message of what our loader read, for files that cantools refuses."""
    signals = [
        Signal(
            s.name,
            s.start,
            s.length,
            byte_order=s.byte_order,  # type: ignore[arg-type]
            is_signed=s.is_signed,
            conversion=BaseConversion.factory(s.scale, s.offset, is_float=s.is_float),
            is_multiplexer=s.is_multiplexer,
            multiplexer_ids=list(s.multiplexer_ids) or None,
            multiplexer_signal=s.multiplexer_signal,
        )
        for s in m.signals
    ]
    return Message(m.frame_id, m.name, m.length, signals, is_extended_frame=m.is_extended, strict=False)


def _is_plain(message: Any) -> bool:
    """Whether cantools can decode it whole: no name repeats, nothing overlaps or sticks out."""
    if max(Counter(s.name for s in message.signals).values(), default=0) > 1:
        return False
    if any(s.is_multiplexer and (s.conversion.scale, s.conversion.offset) != (1, 0) for s in message.signals):
        return False  # it chooses by the scaled value
    try:
        message.refresh(strict=True)
    except Exception:  # cantools' Error, and IndexError of its check
        message.refresh(strict=False)
        return False
    return True


def _unhung(s: Any) -> Signal:
    return Signal(s.name, s.start, s.length, byte_order=s.byte_order, is_signed=s.is_signed, conversion=s.conversion)


def _network_bit(start: int) -> int:
    return 8 * (start // 8) + 7 - start % 8


def _float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:  # an integer beyond float64
        return float("inf") if value > 0 else float("-inf")

"""What cantools says a batch of frames holds: slow, apart from the package, and compared with it value by value.

Rows are ``(signal, source, ts, value, status)``: value is None for a reading that is not a number, status a word.
J1939 matching and validity are written here a second time, straight from their description.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import cantools
from cantools.database.can import Message, Signal

Row = tuple[str, str, int, float | None, str]
STATUS = ("ok", "not_available", "error", "out_of_range")


class Expected(NamedTuple):
    """Rows with how often each is expected; frames cantools refuses, as (message, source, ts)."""

    rows: Counter[Row]
    refused: set[tuple[str, str, int]]


def frame_rows(frames: Any) -> Iterator[tuple[int, str, int, bytes]]:
    """(ts, bus, arbitration id, data) of the data frames of a FrameBatch."""
    for i in range(len(frames.ts)):
        number = int(frames.arbitration_id[i])
        if not number & 0x6000_0000 and not int(frames.flags[i]) & 24:
            data = frames.data[i, : frames.dlc[i]].tobytes()
            yield int(frames.ts[i]), frames.channels[frames.channel[i]], number, data


def expected(rows: Iterable[tuple[int, str, int, bytes]], database: Any, validity: bool = True) -> Expected:
    """What ``rows`` (see :func:`frame_rows`) hold by a cantools database."""
    exact, groups = _index(database)
    counted: Counter[Row] = Counter()
    refused = set()
    readers: dict[int, _Reader] = {}
    for ts, bus, number, data in rows:
        message = exact.get(number) or (groups.get(_group(number)) if number >> 31 else None)
        if message is None:
            continue
        is_j1939 = message.is_extended_frame and message.protocol == "j1939"
        source = f"{bus}:{number & 0xFF:02x}" if is_j1939 else bus
        reader = readers.setdefault(id(message), _Reader(message, is_j1939 and validity))
        try:
            counted.update((signal, source, ts, value, status) for signal, value, status in reader.read(data))
        except Exception:  # cantools and bitstruct raise many kinds
            refused.add((message.name, source, ts))
    return Expected(counted, refused)


def sample_rows(samples: Any) -> Counter[Row]:
    """The rows of a Samples, as :func:`expected` writes them."""
    return Counter(
        (samples.signals[k], samples.sources[k], ts, None if math.isnan(value) else value, STATUS[status])
        for k, ts, value, status in zip(
            samples.series.tolist(), samples.ts.tolist(), samples.value.tolist(), samples.status.tolist(), strict=True
        )
    )


def difference(samples: Any, wanted: Expected) -> tuple[Counter[Row], Counter[Row]]:
    """Rows that are missing and rows that are too many, frames cantools refuses left aside."""
    got = sample_rows(samples)
    if wanted.refused:
        got = Counter(
            {row: n for row, n in got.items() if (row[0].split(".")[0], row[1], row[2]) not in wanted.refused}
        )
    return wanted.rows - got, got - wanted.rows


def _index(database: Any) -> tuple[dict[int, Message], dict[int, Message]]:
    exact = {m.frame_id | (0x8000_0000 if m.is_extended_frame else 0): m for m in database.messages}
    groups: dict[int, Message] = {}
    for any_sender in (True, False):
        for m in database.messages:
            if m.is_extended_frame and m.protocol == "j1939" and (m.frame_id & 0xFF == 0xFE) == any_sender:
                groups.setdefault(_group(m.frame_id), m)
    return exact, groups


def _group(number: int) -> int:
    return number & (0x03FF_FF00 if number & 0x00F0_0000 == 0x00F0_0000 else 0x03FF_0000)


class _Reader:
    """One message; where it repeats a signal name, each signal is decoded alone, since cantools keeps one of them."""

    def __init__(self, message: Message, judged: bool) -> None:
        diagnostics = (message.frame_id >> 16) & 0x3FF in (0xDA, 0xDB, 0xCD, 0xCE)
        self.judged = judged and not diagnostics
        names = Counter(s.name for s in message.signals)
        self.parts: list[tuple[Message, dict[str, str]]]
        if max(names.values(), default=0) < 2:
            self.parts = [(message, {name: f"{message.name}.{name}" for name in names})]
            return
        seen: Counter[str] = Counter()
        self.parts = []
        for s in message.signals:
            seen[s.name] += 1
            label = f"{message.name}.{s.name}" + (f"#{seen[s.name]}" if seen[s.name] > 1 else "")
            alone = Message(message.frame_id, message.name, message.length, [s], is_extended_frame=True, strict=False)
            self.parts.append((alone, {s.name: label}))

    def read(self, data: bytes) -> list[tuple[str, float | None, str]]:
        found = []
        for message, labels in self.parts:
            values = message.decode(data, decode_choices=False, allow_truncated=True)
            raws = message.decode(data, decode_choices=False, scaling=False, allow_truncated=True)
            assert isinstance(values, dict)
            assert isinstance(raws, dict)
            for name, value in values.items():
                signal = message.get_signal_by_name(name)
                if signal.length > 64:
                    continue
                status = _status(signal, raws[name]) if self.judged else "ok"
                number = None if status != "ok" or math.isnan(value) else float(value)
                found.append((labels[name], number, status))
        return found


def _status(signal: Signal, raw: Any) -> str:
    if signal.is_signed or signal.conversion.is_float:
        return "ok"
    if signal.length == 2:
        return {2: "error", 3: "not_available"}.get(raw, "ok")
    if signal.length == 4:
        return {14: "error", 15: "not_available"}.get(raw, "ok")
    if signal.length in (8, 16, 32):
        top = raw >> (signal.length - 8)
        return {0xFC: "out_of_range", 0xFD: "out_of_range", 0xFE: "error", 0xFF: "not_available"}.get(top, "ok")
    return "ok"


def load(text: str) -> Any:
    """cantools' database of a DBC text, checks off."""
    return cantools.database.load_string(text, "dbc", strict=False)

"""Every DBC of two public packages against cantools: how many load, what they define, and each value they decode to.

`make test` compares 100,000 values; ``DUCO_NIGHTLY=1`` a million. Where the files come from: ``tests/dbc_files.py``.
"""

from __future__ import annotations

import math
import os
import re
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import Any

import cantools
import cantools_oracle
import numpy as np
import pytest
from cantools.database.namedsignalvalue import NamedSignalValue
from dbc_files import PACKAGES, dbc_files
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from payload_oracle import PayloadOracle, by_index, cantools_message

from duco_workbench.errors import ConfigError
from duco_workbench.model import EXTENDED, FrameBatch
from duco_workbench.parsing import Database, Decoder, Message, Signal, labels, load_text
from duco_workbench.parsing.database import _text

NIGHTLY = bool(os.environ.get("DUCO_NIGHTLY"))
VALUES = 1_000_000 if NIGHTLY else 100_000  # in all, over both packages
EXAMPLES = 24 if NIGHTLY else 6  # of each file
PRESENT = 0.25  # at least: the share of a message's signals that a payload, which may be cut short, holds
SHARE = 0.99
File = tuple[str, bytes]


def samples_of(decoded: Any) -> Any:
    return getattr(decoded, "samples", decoded)


@cache
def cantools_database(text: str) -> Any | None:
    try:
        return cantools.database.load_string(text, "dbc", strict=False)
    except Exception:  # its own, and KeyError, ValueError, AssertionError
        return None


def test_nearly_all_load(capsys: pytest.CaptureFixture[str]) -> None:
    every = [file for package in PACKAGES for file in dbc_files(package)]
    refused = [reason for path, body in every if (reason := refusal(path, body))]
    theirs = sum(cantools_database(_text(body)) is not None for _, body in every)
    with capsys.disabled():
        print(f"\n{len(every)} DBC files: cantools (strict=False) loads {theirs}, ours {len(every) - len(refused)}")
    assert len(every) - len(refused) >= SHARE * len(every), refused


def refusal(path: str, body: bytes) -> str:
    try:
        load_text(_text(body), "dbc", path)
    except ConfigError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("package", PACKAGES)
def test_every_skip_has_its_line(package: str) -> None:
    for path, body in dbc_files(package):
        text = _text(body)
        lines = text.splitlines()
        for where, why in load_text(text, "dbc", path).skipped:
            if why == "it defines no message":
                continue
            number = int(where.removeprefix(f"{path}:"))
            first = re.split(r"[\s:(]", why)[0]
            assert first in lines[number - 1], (path, where, why)


@pytest.mark.parametrize("package", PACKAGES)
def test_definitions_are_those_of_cantools(package: str) -> None:
    compared = 0
    for path, body in dbc_files(package):
        text = _text(body)
        if theirs := cantools_database(text):
            ours = load_text(text, "dbc", path)
            assert [heading(m) for m in ours.messages] == [heading(m) for m in theirs.messages], path
            for mine, other in zip(ours.messages, theirs.messages, strict=True):
                wanted = Counter(map(definition, other.signals))
                got = Counter(map(our_definition, mine.signals))
                assert not got - wanted, (path, mine.name)
                left_out = sum((wanted - got).values())
                said = sum("no multiplexer" in why or "is there for no value" in why for _, why in ours.skipped)
                assert left_out <= said, (path, mine.name, wanted - got)
                compared += len(mine.signals)
    assert compared > 1000


def heading(m: Any) -> tuple[object, ...]:
    is_extended = m.is_extended if isinstance(m, Message) else m.is_extended_frame
    return m.name, m.frame_id, is_extended, m.length, sorted(m.senders), m.comment or ""


def definition(s: Any) -> str:
    conversion = s.conversion
    choices = sorted((int(k), str(v)) for k, v in (s.choices or {}).items())
    ids = sorted(s.multiplexer_ids or ()) if s.multiplexer_signal else []
    return repr((
        s.name, s.start, s.length, s.byte_order, s.is_signed, conversion.is_float, float(conversion.scale),
        float(conversion.offset), s.unit or "", limit(s.minimum), limit(s.maximum),
        choices, s.spn or None, s.comment or "", s.is_multiplexer, s.multiplexer_signal, ids,
    ))  # fmt: skip


def our_definition(s: Signal) -> str:
    return repr((
        s.name, s.start, s.length, s.byte_order, s.is_signed, s.is_float, float(s.scale), float(s.offset), s.unit,
        limit(s.minimum), limit(s.maximum), sorted(s.choices.items()), s.spn, s.comment,
        s.is_multiplexer, s.multiplexer_signal, sorted(s.multiplexer_ids),
    ))  # fmt: skip


def limit(number: float | None) -> float | None:
    return None if number is None else float(number)


@pytest.mark.parametrize("package", PACKAGES)
def test_values_are_those_of_cantools(package: str, capsys: pytest.CaptureFixture[str]) -> None:
    texts = [(path, _text(body)) for path, body in dbc_files(package)]
    signals = sum(len(m.signals) for path, text in texts for m in load_text(text, "dbc", path).messages)
    repeat = math.ceil(VALUES / len(PACKAGES) / (EXAMPLES * PRESENT * signals))
    compared = sum(compare_values(path, text, repeat) for path, text in texts)
    with capsys.disabled():
        print(f"\n{package}: {compared:,} values compared")
    assert compared > VALUES // len(PACKAGES)


def compare_values(path: str, text: str, repeat: int) -> int:
    """Compares the values of a file's messages with cantools', ``repeat`` payloads an example; returns how many."""
    database, oracles = prepared(load_text(text, "dbc", path), cantools_database(text))
    if not any(m.signals for m in database.messages):
        return 0
    decoder = Decoder(database, validity=False)
    count = 0

    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.binary(min_size=64, max_size=64), st.one_of(st.just(64), st.just(8), st.integers(0, 64)), st.integers(0))
    def check(seed: bytes, length: int, choice: int) -> None:
        nonlocal count
        for turn in range(repeat):
            rows = list(payloads(oracles, multiplied(seed, turn), length, choice + turn))
            got = decoded(decoder, rows)
            wanted = Counter(
                (i, f"m{i}.{name}", bits(value))
                for i, (oracle, data) in enumerate(zip(oracles, rows, strict=True))
                for name, value in oracle.read(data)
                if name in oracle.numbers
            )
            count += sum(wanted.values())
            assert got == wanted, (path, sorted((got - wanted).items())[:5], sorted((wanted - got).items())[:5])

    check()
    return count


def multiplied(seed: bytes, turn: int) -> bytes:
    """Other bytes for every turn; zeros stay zeros, so that what fails becomes simple."""
    return bytes((byte * (2 * turn + 1) + (byte * turn >> 3)) & 0xFF for byte in seed)


class Numbers(PayloadOracle):
    """An oracle that knows which signals our database holds as numbers, and the values of its multiplexers."""

    def __init__(self, message: Any, ours: Message) -> None:
        super().__init__(message)
        self.ours = ours
        self.numbers = {s.name for s in ours.signals}
        ids: dict[str | None, set[int]] = {}
        for s in ours.signals:
            ids.setdefault(s.multiplexer_signal, set()).update(s.multiplexer_ids)
        self.multiplexers = [(s, sorted(ids[s.name])) for s in ours.signals if s.is_multiplexer and ids.get(s.name)]


def prepared(database: Database, theirs: Any | None) -> tuple[Database, list[Numbers]]:
    """The database with an id and a name of its own for every message, so that none is shadowed; and its oracles.

    Signals whose name repeats within a message get their number, so that they are compared one by one.
    """
    messages, oracles = [], []
    for i, m in enumerate(database.messages):
        named = zip(m.signals, by_index(m.signals), strict=True)
        numbers = tuple(replace(s, name=name) for s, name in named if s.length <= 64)
        ours = replace(m, name=f"m{i}", frame_id=i, is_extended=True, is_j1939=False, signals=numbers)
        messages.append(ours)
        oracles.append(Numbers(theirs.messages[i] if theirs else cantools_message(ours), ours))
    return Database(tuple(messages)), oracles


def payloads(oracles: list[Numbers], seed: bytes, length: int, choice: int) -> Iterator[bytes]:
    """One payload for each message: the seed, turned a little further each time, its multiplexers at known values."""
    for i, oracle in enumerate(oracles):
        turned = bytearray(seed[i % 64 :] + seed[: i % 64])
        for j, (s, ids) in enumerate(oracle.multiplexers):
            if (choice + j) % 4:
                put(turned, s, ids[(choice + i + j) % len(ids)])
        yield bytes(turned[: length if (choice + i) % 3 else min(oracle.ours.length, 64)])


def put(data: bytearray, s: Signal, raw: int) -> None:
    for k in range(s.length):  # k counts from the least significant bit
        at = s.start + k if s.byte_order == "little_endian" else s.first_bit + s.length - 1 - k
        bit = at % 8 if s.byte_order == "little_endian" else 7 - at % 8
        if at // 8 < len(data):
            data[at // 8] = data[at // 8] & ~(1 << bit) | ((raw >> k) & 1) << bit


def decoded(decoder: Decoder, rows: list[bytes]) -> Counter[tuple[int, str, int | str]]:
    """(message, signal, bits) of all samples; a repeated multiplexer without its ``#2``."""
    n = len(rows)
    data = np.frombuffer(b"".join(row.ljust(64, b"\0") for row in rows), np.uint8).reshape(n, 64)
    none = np.zeros(n, np.uint8)
    ids = np.arange(n, dtype=np.uint32) | np.uint32(EXTENDED)
    lengths = np.array([len(row) for row in rows], np.uint8)
    samples = samples_of(decoder.decode(FrameBatch(np.arange(n, dtype=np.int64), ids, lengths, none, data, none)))
    assert not samples.status.any()
    names = [re.sub(r"#\d+$", "", signal) for signal in samples.signals]
    columns = (samples.ts.tolist(), samples.series.tolist(), samples.value.tolist())
    return Counter((ts, names[k], bits(value)) for ts, k, value in zip(*columns, strict=True))


def bits(value: float) -> int | str:
    """A float64 as its bits: -0.0 is not 0.0; one NaN is as good as another."""
    return "nan" if math.isnan(value) else int.from_bytes(struct.pack("<d", value), "little")


def test_validity_of_j1939_messages() -> None:
    """Statuses by the second reading of the standard in cantools_oracle, for the messages that files call J1939."""
    j1939 = files("canmatrix").joinpath("j1939.dbc").read_bytes()
    judged = 0
    for path, body in [("canmatrix/j1939.dbc", j1939), *(file for package in PACKAGES for file in dbc_files(package))]:
        text = _text(body)
        theirs, ours = cantools_database(text), load_text(text, "dbc", path)
        if theirs and any(m.is_j1939 for m in ours.messages):
            check_validity(path, Decoder(ours), theirs)
            judged += 1
    assert judged > 1


def check_validity(path: str, decoder: Decoder, theirs: Any) -> None:
    messages = [m for m in theirs.messages if m.protocol == "j1939"]

    @settings(max_examples=8, deadline=None, database=None)
    @given(st.lists(st.binary(min_size=8, max_size=8), min_size=1, max_size=4))
    def check(rows: list[bytes]) -> None:
        data = np.frombuffer(b"".join(rows) * len(messages), np.uint8).reshape(-1, 8)
        n = len(data)
        ids = np.repeat(np.array([m.frame_id for m in messages], np.uint32), len(rows)) | np.uint32(EXTENDED)
        none = np.zeros(n, np.uint8)
        frames = FrameBatch(np.arange(n, dtype=np.int64), ids, np.full(n, 8, np.uint8), none, data, none)
        wanted = cantools_oracle.expected(cantools_oracle.frame_rows(frames), theirs)
        assert cantools_oracle.difference(samples_of(decoder.decode(frames)), wanted) == (Counter(), Counter()), path

    check()


def small_values(database: Database, rows: int, seed: int) -> FrameBatch:
    """Frames of every message; small values are those that have names."""
    rng, ids = np.random.default_rng(seed), [m.frame_id | EXTENDED * m.is_extended for m in database.messages]
    n, width = rows * len(ids), 64 if any(m.length > 8 for m in database.messages) else 8
    data = rng.integers(0, 256, (n, width), dtype=np.uint8) & rng.integers(0, 256, (n, width), dtype=np.uint8)
    data[rng.random((n, width)) < 0.6] = 0
    lengths = np.array([min(m.length, width) for m in database.messages] * rows, np.uint8)
    data[np.arange(width) >= lengths[:, None]] = 0
    zeros = np.zeros(n, np.uint8)
    return FrameBatch(np.arange(n), np.array(ids * rows, np.uint32), lengths, zeros, data, zeros)


@pytest.mark.parametrize("package", PACKAGES)
def test_names_of_values_are_cantools(package: str) -> None:
    compared = 0
    for path, body in dbc_files(package)[:: 1 if NIGHTLY else 4]:
        text = _text(body)
        theirs, database = cantools_database(text), load_text(text, "dbc", path)
        if theirs is not None and database.messages:
            compared += compare_names(database, theirs, small_values(database, 3, 1))
    assert compared > 20


def compare_names(database: Database, theirs: Any, frames: FrameBatch) -> int:
    """How many names are alike; J1939 readings are left numbers, as cantools has them."""
    samples = Decoder(database, validity=False).decode(frames)
    columns = zip(samples.series.tolist(), samples.ts.tolist(), labels(samples, database).to_pylist(), strict=True)
    ours = {(samples.signals[series], ts): label for series, ts, label in columns}
    messages = {m.frame_id | EXTENDED * m.is_extended_frame: m for m in theirs.messages}
    found = 0
    for ts, number, data, length in zip(frames.ts, frames.arbitration_id, frames.data, frames.dlc, strict=True):
        message = messages.get(int(number))
        repeated = message is None or len({s.name for s in message.signals}) < len(message.signals)
        try:
            decoded = {} if repeated else message.decode(data[:length].tobytes())
        except Exception:  # an unknown multiplexer value, overlapping signals
            continue
        for name, value in decoded.items():
            key = f"{message.name}.{name}", int(ts)
            if key in ours:
                expected = str(value) if isinstance(value, NamedSignalValue) else None
                assert ours[key] == expected, (key, value)
                found += expected is not None
    return found

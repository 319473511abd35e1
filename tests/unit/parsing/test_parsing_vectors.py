"""The numpy engine against the compiled one, which cantools vouches for: both must give the same, bit by bit."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import cantools_oracle as oracle
import decoder_cases as cases
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duco_workbench.errors import ConfigError, DataError
from duco_workbench.j1939.transport import OUTCOMES, LongMessage, reassemble
from duco_workbench.model import FrameBatch
from duco_workbench.parsing import Database, Decoder, Message, Signal, load_text
from duco_workbench.parsing.compiled import Compiled
from duco_workbench.parsing.engine import Engine
from duco_workbench.parsing.plan import compile_plan
from duco_workbench.parsing.vectors import Vectorised

LONG = Database(
    (
        Message("LFC", 0x18FEE5FE, True, True, 12, (Signal("Trip", 0, 32), Signal("Beyond", 64, 32, scale=0.5))),
        Message("VI", 0x18FEECFE, True, True, 8, (Signal("VIN", 0, 1600),)),
        Message("Odd", 0x1CECFFFE, True, True, 8, (Signal("Kind", 0, 8), Signal("Tail", 400, 16))),
        Message("Ask", 0x18EAFFFE, True, True, 3, (Signal("Group", 0, 24),)),
    )
)


def both(database: Database, validity: bool = True) -> tuple[Decoder, Decoder]:
    return Decoder(database, validity, compiled=True), Decoder(database, validity, compiled=False)


@settings(max_examples=150, deadline=None)
@given(cases.layouts(), st.integers(0, 2**32), st.booleans())
def test_any_layout(layout: tuple[str, int], seed: int, validity: bool) -> None:
    text, length = layout
    database = load_text(text)
    frames = cases.random_frames(database, seed, 60, length > 8)
    one, other = both(database, validity)
    cases.assert_same(one.decode_all(frames), other.decode_all(frames))


@settings(max_examples=300, deadline=None)
@given(cases.databases(), st.integers(0, 2**32), st.booleans(), st.integers(0, 3))
def test_any_database(database: Database, seed: int, is_wide: bool, machines: int) -> None:
    one, other = both(database)
    for n in (200, 7):  # the second batch meets an engine that has been used
        frames = cases.random_frames(database, seed + n, n, is_wide, machines)
        cases.assert_same(one.decode_all(frames), other.decode_all(frames))


@settings(max_examples=60, deadline=None)
@given(cases.databases(), st.integers(0, 2**32), st.integers(0, 2), st.sampled_from([1, 3, 17, 50, 199, 1000]))
def test_a_stream_in_chunks_is_the_whole(database: Database, seed: int, machines: int, chunk: int) -> None:
    frames = cases.random_frames(database, seed, 200, machines=machines)
    for decoder in both(database):
        whole, parts = decoder.decode_all(frames), list(decoder.stream(frames, chunk))
        rows = sum((oracle.sample_rows(part.samples) for part in parts), Counter())
        assert rows == oracle.sample_rows(whole.samples)
        for name in whole.counts.keys() - {"unknown_ids"}:
            assert sum(part.counts[name] for part in parts) == whole.counts[name], name
        assert Counter(t for part in parts for t in part.texts) == Counter(whole.texts)
        assert Counter(d for part in parts for d in part.dtcs) == Counter(whole.dtcs)


@settings(max_examples=60, deadline=None)
@given(cases.databases(), st.integers(0, 2**32), st.lists(st.integers(1, 90), min_size=1, max_size=8))
def test_both_stream_alike(database: Database, seed: int, sizes: list[int]) -> None:
    frames = cases.random_frames(database, seed, sum(sizes), machines=2)
    ends = np.cumsum(sizes).tolist()
    parts = [frames[end - size : end] for size, end in zip(sizes, ends, strict=True)]
    streams = [decoder.stream(parts) for decoder in both(database)]
    for one, other in zip(*streams, strict=True):
        cases.assert_same(one, other)


def explained(engine: Engine, frames: FrameBatch, chunk: int) -> tuple[list[LongMessage], Counter[str], int]:
    """Messages, outcomes and samples of a batch that is decoded a chunk at a time."""
    sessions, messages, counts, samples = engine.sessions(), [], Counter[str](), 0
    for i in range(0, len(frames), chunk):
        part = frames[i : i + chunk]
        samples += len(engine.decode(part, sessions, is_last=i + chunk >= len(frames)))
        found = engine.explain(part)
        messages += found.long
        counts += Counter({name: found.counts[name] for name in OUTCOMES})
    return messages, counts, samples


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 400), st.sampled_from([1, 9, 100, 1000]))
def test_fuzzed_transport_sessions(seed: int, n: int, chunk: int) -> None:
    frames, plan = cases.batch_of_sessions(seed, n), compile_plan(LONG)
    by_kernel = explained(Compiled(plan), frames, n)
    assert by_kernel[:2] == reassemble(frames)
    assert by_kernel == explained(Vectorised(plan), frames, n)
    assert by_kernel == explained(Compiled(plan), frames, chunk)
    assert by_kernel == explained(Vectorised(plan), frames, chunk)


def test_many_fuzzed_transport_sessions_end_in_every_way() -> None:
    frames, plan = cases.batch_of_sessions(1, 150_000), compile_plan(LONG)
    messages, counts, samples = explained(Compiled(plan), frames, len(frames))
    assert (messages, counts) == reassemble(frames)
    assert (messages, counts, samples) == explained(Vectorised(plan), frames, 4096)
    assert all(counts[name] > 50 for name in OUTCOMES if name != "tp_unfinished")
    assert counts["tp_done"] > 3000
    assert max(len(m.data) for m in messages) > 1700
    cases.assert_same(*(decoder.decode_all(frames) for decoder in both(LONG)))


def test_more_open_sessions_than_are_kept() -> None:
    n = 6000
    opened = bytes([16, 20, 0, 3, 255]) + (0xFEE5).to_bytes(3, "little")
    ids = np.array([0x9CEC_0000 | i for i in range(n)], np.uint32)
    ts = np.arange(n, dtype=np.int64) * 300  # the first are silent for too long when the last begin
    full, zeros = np.full(n, 8, np.uint8), np.zeros(n, np.uint8)
    frames = FrameBatch(ts, ids, full, zeros, np.tile(np.frombuffer(opened, np.uint8), (n, 1)), zeros)
    results = [decoder.decode_all(frames).counts for decoder in both(LONG)]
    assert results[0] == results[1]
    assert results[0]["tp_timeout"] > 0
    assert results[0]["tp_timeout"] + results[0]["tp_unfinished"] + results[0]["tp_malformed"] == n


def test_a_session_goes_on_in_a_batch_that_lists_its_buses_otherwise() -> None:
    frames = cases.random_frames(LONG, 5, 3000, machines=3)
    half = len(frames) // 2
    first, second = frames[:half], frames[half:]
    swapped = FrameBatch(
        second.ts,
        second.arbitration_id,
        second.dlc,
        second.flags,
        second.data,
        1 - second.channel,
        second.channels[::-1],
        None if second.machine is None else np.uint16(2) - second.machine,
        second.machines[::-1],
    )
    results = [
        sum((Counter(part.counts) for part in decoder.stream([first, last])), Counter[str]())
        for last in (second, swapped)
        for decoder in both(LONG)
    ]
    assert all(counts == results[0] for counts in results)
    assert results[0]["tp_done"] > 20


def test_values_of_every_kind() -> None:
    edges = [0, 1, 0x7FF0 << 48, 0x7FF8 << 48, 0xFFFF << 48, 1 << 63, (1 << 64) - 1, 0x7F80_0001, 0x7C00, 0xFC01]
    signals = [
        Signal(f"S{i}", 0, size, "little_endian", is_signed, is_float, scale, offset, validity=rule)
        for i, (size, is_signed, is_float, scale, offset, rule) in enumerate(
            [
                (64, True, False, 1, 0, ""),
                (64, False, False, 1, 0, "j1939"),
                (64, False, False, 1, 0.5, ""),
                (61, False, False, -3, 0.1, ""),
                (64, False, False, 0.1, 0, "j1939"),
                (63, True, False, 1, 1, ""),
                (64, False, True, 3, 1, ""),
                (32, False, True, 1, 0, ""),
                (16, False, True, 1, 0, ""),
                (64, True, False, 1 << 40, 0, ""),
            ]
        )
    ]
    database = Database((Message("M", 100, False, False, 8, tuple(signals)),))
    noise = np.random.default_rng(4).integers(0, 1 << 63, 2000, np.int64).view(np.uint64)
    words = np.concatenate([np.array(edges, np.uint64), noise, ~noise])
    n, zeros = len(words), np.zeros(len(words), np.uint8)
    data = words.view(np.uint8).reshape(n, 8)
    frames = FrameBatch(np.arange(n), np.full(n, 100, np.uint32), np.full(n, 8, np.uint8), zeros, data, zeros)
    one, other = both(database)
    cases.assert_same(one.decode_all(frames), other.decode_all(frames))
    assert one.decode(frames).integers is not None


def test_a_fuzzed_bus_of_more_ids_than_a_sample_shows() -> None:
    rng = np.random.default_rng(3)
    n = 30_000
    ids = rng.integers(0, 1 << 29, n, np.uint32) | np.uint32(1 << 31)
    ids[::3] = 0x98FE_E500 | rng.integers(0, 256, n // 3, np.uint32)
    full, zeros = np.full(n, 8, np.uint8), np.zeros(n, np.uint8)
    frames = FrameBatch(np.arange(n), ids, full, zeros, rng.integers(0, 256, (n, 8), np.uint8), zeros)
    cases.assert_same(*(decoder.decode_all(frames) for decoder in both(LONG)))


@pytest.mark.parametrize(
    "wrong",
    [
        {"ts": np.zeros(1, np.float64)},
        {"ts": np.zeros(2, np.int64)},
        {"arbitration_id": np.zeros(1, np.int64)},
        {"dlc": np.full(1, 9, np.uint8)},
        {"flags": np.zeros(2, np.uint8)},
        {"data": np.zeros((1, 7), np.uint8)},
        {"data": np.zeros(8, np.uint8)},
        {"channel": np.full(1, 1, np.uint8)},
        {"machine": np.full(1, 1, np.uint16)},
        {"machine": np.full(1, 2, np.uint16), "machines": ("a", "b")},
        {"machine": np.zeros(1, np.int64)},
    ],
)
def test_wrong_columns_are_the_same_error(wrong: dict[str, Any]) -> None:
    good = {
        "ts": np.zeros(1, np.int64),
        "arbitration_id": np.full(1, 100, np.uint32),
        "dlc": np.full(1, 8, np.uint8),
        "flags": np.zeros(1, np.uint8),
        "data": np.zeros((1, 8), np.uint8),
        "channel": np.zeros(1, np.uint8),
    }
    said = []
    for decoder in both(LONG):
        with pytest.raises(DataError) as caught:
            decoder.decode(FrameBatch(**{**good, **wrong}))
        said.append((caught.value.reason, str(caught.value)))
        assert decoder.decode_all(FrameBatch(**good)).counts["unknown"] == 1
    assert said[0] == said[1]


def test_no_frames_and_no_messages() -> None:
    for database in (LONG, Database(())):
        one, other = both(database)
        for frames in (FrameBatch.empty(), cases.random_frames(LONG, 1, 50)):
            cases.assert_same(one.decode_all(frames), other.decode_all(frames))


WITHOUT_NUMBA = """
import pickle, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("numba", "llvmlite"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
from duco_workbench import parsing
from duco_workbench.errors import ConfigError

parsing.warm_up()
database, frames = pickle.load(open(sys.argv[1], "rb"))
decoder = parsing.Decoder(database)
decoded = decoder.decode_all(frames)
try:
    parsing.Decoder(database, compiled=True)
except ConfigError as error:
    refused = str(error)
chunks = len(list(decoder.stream(frames, 100)))
assert parsing.load_text('VERSION ""\\nBO_ 100 M: 8 A\\n').messages
pickle.dump((decoded, parsing.thin(decoded.samples), refused, chunks), open(sys.argv[2], "wb"))
assert not [name for name in sys.modules if name.partition(".")[0] in ("numba", "llvmlite")]
"""


def test_where_numba_is_not_installed(tmp_path: Path) -> None:
    import pickle

    from duco_workbench.parsing import thin

    tree = tuple(
        Signal(f"S{i}", 8 * i, 8, scale=0.1, multiplexer_signal="S0" if i > 1 else None, multiplexer_ids=(i,) * (i > 1))
        for i in range(1, 8)
    )
    tree = (Signal("S0", 0, 3, is_multiplexer=True), *tree, Signal("Wide", 300, 64, "big_endian"))
    database = Database((*LONG.messages, Message("Mux", 100, False, False, 64, tree)))
    frames = cases.random_frames(database, 11, 2000, is_wide=True, machines=2)
    (tmp_path / "in").write_bytes(pickle.dumps((database, frames)))
    subprocess.run([sys.executable, "-c", WITHOUT_NUMBA, tmp_path / "in", tmp_path / "out"], check=True)
    decoded, thinned, refused, chunks = pickle.loads((tmp_path / "out").read_bytes())
    wanted = Decoder(database, compiled=True).decode_all(frames)
    assert len(wanted.samples) > 1000
    assert wanted.counts["tp_done"] > 5
    cases.assert_same(decoded, wanted)
    cases.assert_same_samples(thinned, thin(wanted.samples))
    assert "pip install numba" in refused
    assert chunks == 20


def test_compiled_where_numba_is_not_installed_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.raises(ConfigError, match="pip install numba"):
        Decoder(LONG, compiled=True)
    assert isinstance(Decoder(LONG)._engine, Vectorised)

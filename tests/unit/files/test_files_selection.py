"""``--signals`` decodes no more than it must, and gives what decoding everything would give of those signals."""

from __future__ import annotations

import pytest
from log_kit import IMPLEMENT, POWERTRAIN, simulated

from duco_workbench import parsing
from duco_workbench.errors import ConfigError
from duco_workbench.files.selection import Selection

MULTIPLEXED = """VERSION ""
BU_:
BO_ 256 Mux: 8 X
 SG_ Outer M : 0|8@1+ (1,0) [0|0] "" X
 SG_ Inner m1M : 8|8@1+ (1,0) [0|0] "" X
 SG_ Deep m2 : 16|8@1+ (0.5,0) [0|0] "bar" X
 SG_ Other m3 : 16|8@1+ (1,0) [0|0] "" X
BO_ 257 Plain: 8 X
 SG_ Value : 0|8@1+ (1,0) [0|0] "" X
SG_MUL_VAL_ 256 Inner Outer 1-1;
SG_MUL_VAL_ 256 Deep Inner 2-2;
SG_MUL_VAL_ 256 Other Inner 3-3;
"""


def test_globs_choose_signals_in_any_case_and_messages_without_one_are_not_decoded() -> None:
    database = parsing.load(POWERTRAIN)
    selection = Selection(["eec1.*speed*", "ET1.*"], [database])
    smaller = selection.database(database)
    assert {m.name for m in smaller.messages} == {"EEC1", "ET1"}
    frames = simulated(10)
    every = parsing.Decoder(database).decode(frames)
    chosen = selection.samples(parsing.Decoder(smaller).decode(frames))
    wanted = every.to_pandas()[lambda rows: rows.signal.map(selection.has).astype(bool)]
    assert len(chosen) == len(wanted) > 0
    key = ["signal", "source", "ts"]
    assert chosen.to_pandas().astype({"signal": str}).sort_values(key).value.to_list() == pytest.approx(
        wanted.astype({"signal": str}).sort_values(key).value.to_list(), nan_ok=True
    )


def test_the_multiplexers_above_a_signal_are_decoded_and_not_given() -> None:
    database = parsing.load_text(MULTIPLEXED)
    selection = Selection(["*.Deep"], [database])
    smaller = selection.database(database)
    assert [s.name for m in smaller.messages for s in m.signals] == ["Outer", "Inner", "Deep"]
    frames = simulated(1)[:1]
    frames.arbitration_id[0], frames.dlc[0] = 0x100, 8
    frames.data[0] = [1, 2, 9, 0, 0, 0, 0, 0]
    samples = selection.samples(parsing.Decoder(smaller).decode(frames))
    assert (samples.signals, samples.units) == (("Mux.Deep",), ("bar",))
    assert (samples.series.tolist(), samples.value.tolist()) == ([0], [4.5])


def test_texts_of_a_message_stay_together_because_their_order_counts() -> None:
    database = parsing.load(POWERTRAIN)
    selection = Selection(["*.VIN"], [database])
    decoded = parsing.Decoder(selection.database(database)).decode_all(simulated(10))
    every = parsing.Decoder(database).decode_all(simulated(10))
    assert [t for t in decoded.texts if selection.has(t.signal)] == [t for t in every.texts if t.signal == "VI.VIN"]


def test_a_glob_that_matches_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"EEC9.*matches no signal"):
        Selection(["EEC9.*"], [parsing.load(IMPLEMENT)])


def test_without_globs_everything_stays() -> None:
    database = parsing.load(POWERTRAIN)
    selection = Selection([], [database])
    assert selection.database(database) is database
    samples = parsing.Decoder(database).decode(simulated(1))
    assert selection.samples(samples) is samples

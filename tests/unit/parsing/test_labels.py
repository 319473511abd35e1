"""Names of values; against cantools' on real databases in ``test_real_databases.py``."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from duco_workbench import parsing
from duco_workbench.model import FrameBatch
from duco_workbench.parsing import Database, Decoder, load_text

DBC = """VERSION ""
BO_ 1 M: 8 X
 SG_ Which M : 0|8@1+ (1,0) [0|0] "" X
 SG_ Gear : 8|8@1- (1,0) [0|0] "" X
 SG_ Level : 16|8@1+ (0.1,-3) [0|0] "" X
 SG_ Same m0 : 24|8@1+ (1,0) [0|0] "" X
 SG_ Plain : 40|8@1+ (1,0) [0|0] "" X
VAL_ 1 Gear -1 "Reverse" 0 "Neutral" 1 "First";
VAL_ 1 Level 3 "low" 200 "high";
"""


def test_values_have_the_names_of_their_database() -> None:
    database = load_text(DBC)
    data = np.array([[0, 255, 3, 1, 0, 9, 0, 0], [0, 0, 200, 1, 0, 0, 0, 0], [0, 2, 4, 1, 0, 0, 0, 0]], np.uint8)
    zeros = np.zeros(3, np.uint8)
    samples = Decoder(database).decode(FrameBatch(np.arange(3), zeros + np.uint32(1), zeros + 8, zeros, data, zeros))
    named = dict(zip(samples.signals, np.split(parsing.labels(samples, database).to_numpy(False), 5), strict=True))
    assert named["M.Gear"].tolist() == ["Reverse", "Neutral", None]
    assert named["M.Level"].tolist() == ["low", "high", None]
    assert named["M.Plain"].tolist() == [None] * 3


@pytest.mark.parametrize("other", [{1: "one"}, {1: "uno"}], ids=["alike", "different"])
def test_signals_that_share_a_series_share_its_names_or_it_has_none(other: dict[int, str]) -> None:
    read = load_text(DBC)
    signals = {s.name: s for s in read.messages[0].signals}
    one = replace(signals["Same"], choices={1: "one"})
    two = replace(one, multiplexer_ids=(1,), choices=other)
    database = Database((replace(read.messages[0], signals=(signals["Which"], one, two)),))
    data = np.array([[which, 0, 0, 1, 0, 0, 0, 0] for which in (0, 1)], np.uint8)
    zeros = np.zeros(2, np.uint8)
    frames = FrameBatch(np.arange(2), zeros + np.uint32(1), zeros + 8, zeros, data, zeros)
    samples = Decoder(database).decode(frames)
    assert samples.signals == ("M.Which", "M.Same")
    assert parsing.labels(samples, database).to_pylist()[2:] == (["one"] * 2 if other == {1: "one"} else [None] * 2)

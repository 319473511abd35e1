"""Ids are found as the decoder finds them; a bus is given the databases that explain it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from log_kit import IMPLEMENT, POWERTRAIN, simulated

from duco_workbench import parsing
from duco_workbench.errors import ConfigError
from duco_workbench.survey.bindings import load_databases, parse_bindings, shadowed
from duco_workbench.survey.census import Census
from duco_workbench.survey.explain import EXACT, GROUP, UNKNOWN, Index, propose, share


def test_the_share_is_what_the_decoder_decodes() -> None:
    frames = simulated(20)
    for name, path in (("can0", POWERTRAIN), ("can1", IMPLEMENT)):
        database, census = parsing.load(path), Census()
        census.add(frames.of(name))
        ids = census.ids()
        found = share(path.name, Index(database).how(ids.arbitration_id), ids.count)
        counts = parsing.Decoder(database).decode_all(frames.of(name)).counts
        assert round(found.total * int(ids.count.sum())) == counts["decoded"]


def test_the_best_database_is_proposed_and_another_only_for_what_it_adds() -> None:
    counts = np.array([70, 20, 9, 1], np.int64)
    how = {
        "most": np.array([EXACT, EXACT, UNKNOWN, UNKNOWN], np.uint8),
        "same as most": np.array([GROUP, GROUP, UNKNOWN, UNKNOWN], np.uint8),
        "adds": np.array([EXACT, UNKNOWN, EXACT, UNKNOWN], np.uint8),
    }
    found = propose("can0", how, counts, {"most": 5, "same as most": 900, "adds": 3})
    assert found.databases == (("most", 0.9), ("adds", 0.09))
    assert found.explained == pytest.approx(0.99)


def test_nothing_is_proposed_for_a_bus_that_nothing_explains() -> None:
    nothing = np.array([UNKNOWN], np.uint8)
    assert propose("can0", {"a": nothing}, np.array([5], np.int64), {"a": 1}).databases == ()
    assert propose("can0", {}, np.array([5], np.int64), {}).databases == ()


def test_a_file_alone_is_every_bus_and_a_bus_has_both() -> None:
    databases, refused = load_databases([str(POWERTRAIN), f"1={IMPLEMENT}"])
    assert refused == []
    assert databases.of("can0") == (POWERTRAIN.name,)
    assert databases.of("can1") == (POWERTRAIN.name, IMPLEMENT.name)
    merged = databases.merged(databases.of("can1"))
    assert len(merged.messages) == sum(len(database.messages) for database in databases.files.values())


def test_a_folder_is_the_databases_below_it(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("b.dbc", "sub/a.kcd", "notes.txt"):
        (tmp_path / name).write_text("")
    assert parse_bindings([f"can2={tmp_path}"]) == {"can2": [tmp_path / "b.dbc", tmp_path / "sub" / "a.kcd"]}


@pytest.mark.parametrize(
    ("pair", "said"),
    [("can0=no.dbc", "there is no file 'no.dbc'"), ("{}/x.txt", "a database is one of dbc"), ("{}", "no file in")],
)
def test_what_is_wrong_with_a_dbc_is_said(tmp_path: Path, pair: str, said: str) -> None:
    (tmp_path / "x.txt").write_text("")
    with pytest.raises(ConfigError, match=said):
        parse_bindings([pair.format(tmp_path)])


def test_a_broken_file_of_a_folder_is_left_out_and_named(tmp_path: Path) -> None:
    (tmp_path / "good.dbc").write_bytes(POWERTRAIN.read_bytes())
    (tmp_path / "bad.kcd").write_text("<no xml")
    databases, refused = load_databases([str(tmp_path)], tolerant=True)
    assert list(databases.files) == ["good.dbc"]
    assert len(refused) == 1
    assert "bad.kcd" in refused[0]
    with pytest.raises(ConfigError, match=r"bad\.kcd"):
        load_databases([str(tmp_path)])


def test_files_of_one_name_are_told_apart_and_shadowing_is_said(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "m.dbc").write_bytes(IMPLEMENT.read_bytes())
    databases, _ = load_databases([str(tmp_path)])
    names = databases.of("can0")
    assert names == (str(tmp_path / "a" / "m.dbc"), str(tmp_path / "b" / "m.dbc"))
    notes = list(shadowed(databases, names))
    assert len(notes) == len(databases.files[names[0]].messages)
    assert "comes later" in notes[0][1]

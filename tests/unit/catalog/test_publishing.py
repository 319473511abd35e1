"""Databases, factors and manifests: what each change publishes, and what it leaves alone."""

from __future__ import annotations

from typing import Any

import pytest

from duco_workbench.catalog import charts, databases, manifests, registry, variables
from duco_workbench.catalog.contents import read, read_apart
from duco_workbench.catalog.engine import Catalog, revision
from duco_workbench.catalog.publishing import (
    patch_signal,
    put_database,
    put_manifest,
    restore_database,
    unpatch_signal,
)
from duco_workbench.catalog.refusals import TooLarge, Unknown
from duco_workbench.catalog.types import DatabaseRevision
from duco_workbench.errors import ConfigError

SPEED = "EEC1.EngineSpeed"


def now(catalog: Catalog) -> int:
    with catalog.reading() as session:
        return revision(session)


def put(catalog: Catalog, text: str, name: str = "machine", **more: Any) -> DatabaseRevision:
    return put_database(catalog, "demo", name, text, read=read, **more)


def bind(catalog: Catalog, bindings: dict[str, Any], chassis_id: str = "m1", **more: Any) -> tuple[int, bool]:
    with catalog.writing() as session:
        row, is_new = put_manifest(session, "demo", chassis_id, bindings, **more)
        return row.revision, is_new


def patch(catalog: Catalog, **change: Any) -> DatabaseRevision:
    with catalog.writing() as session:
        return patch_signal(session, "demo", "machine", SPEED, change)


def unit_of(catalog: Catalog, name: str) -> str:
    with catalog.reading() as session:
        return next(v.unit for v in variables.listed(session, "demo") if v.name == name)


def test_the_same_text_again_changes_nothing(catalog: Catalog, machine_dbc: str) -> None:
    first = put(catalog, machine_dbc)
    at = now(catalog)
    second = put(catalog, machine_dbc)
    assert (first.changed, second.changed) == (True, False)
    assert (first.revision, now(catalog)) == (second.revision, at)
    assert (first.messages, first.signals) == (5, 13)


def test_another_text_is_a_new_revision_and_the_old_one_stays(catalog: Catalog, machine_dbc: str) -> None:
    first = put(catalog, machine_dbc)
    second = put(catalog, machine_dbc.replace("(0.125,0) [0|8031", "(0.25,0) [0|8031"))
    assert second.revision > first.revision
    with catalog.reading() as session:
        assert [r.revision for r in databases.revisions(session, "demo", "machine")] == [
            second.revision,
            first.revision,
        ]
        row = databases.need(session, "demo", "machine", first.revision)
        assert databases.text_of(session, row) == machine_dbc


def test_a_binding_keeps_its_revision_until_it_is_put_again(bound: Catalog, machine_dbc: str) -> None:
    old = put(bound, machine_dbc)
    new = put(bound, machine_dbc + "\n")
    with bound.reading() as session:
        assert manifests.at(session, "demo", "m1", 0).bindings[0]["revision"] == old.revision
    bind(bound, {"can0": "machine"})
    with bound.reading() as session:
        assert manifests.at(session, "demo", "m1", 0).bindings[0]["revision"] == new.revision


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "defines no message"),
        ("BO_ 1 M: 8 X\n SG_ what is this\n", "line 2"),
        ("BO_ 1 M: 8 Vector__XXX\n", "describes no signal"),
        ("BO_ 1 M: 8 X\0", "NUL"),
    ],
)
@pytest.mark.parametrize("reader", [read, read_apart])
def test_a_broken_file_is_refused_in_one_sentence(catalog: Catalog, text: str, sentence: str, reader: Any) -> None:
    with pytest.raises(ConfigError, match=sentence) as caught:
        put_database(catalog, "demo", "broken", text, read=reader)
    assert "broken" in str(caught.value)
    assert "\n" not in str(caught.value)
    with catalog.reading() as session:
        assert databases.listed(session, "demo") == []


def test_reading_apart_reads_the_same(machine_dbc: str) -> None:
    assert read_apart(machine_dbc, "dbc", "machine") == read(machine_dbc, "dbc", "machine")


def test_limits_of_a_database(catalog: Catalog, machine_dbc: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(databases, "MAX_BYTES", 1000)
    with pytest.raises(TooLarge):
        put(catalog, machine_dbc)
    for name, format in (("a/b", "dbc"), ("", "dbc"), (" x", "dbc"), ("machine", "xls")):
        with pytest.raises(ConfigError):
            put(catalog, "BO_ ", name, format=format)
    with pytest.raises(Unknown, match="nobody"):
        put_database(catalog, "nobody", "machine", "BO_ ", read=read)


def test_a_factor_publishes_database_and_manifests(bound: Catalog) -> None:
    with bound.reading() as session:
        before = manifests.at(session, "demo", "m1", 0).revision
    published = patch(bound, scale=0.25)
    assert published.overrides == {SPEED: {"scale": 0.25}}
    (again,) = published.manifests
    assert before < published.revision < again == now(bound)
    with bound.reading() as session:
        row = manifests.at(session, "demo", "m1", 0)
        assert (row.revision, row.bindings[0]["revision"]) == (again, published.revision)
    assert patch(bound, scale=0.25).manifests == ()
    assert patch(bound, offset=5).overrides == {SPEED: {"scale": 0.25, "offset": 5}}


def test_a_factor_reaches_every_manifest_in_force_and_no_other(bound: Catalog, machine_dbc: str) -> None:
    put(bound, machine_dbc.replace("EEC1", "EECX"), "other")
    with bound.writing() as session:
        for chassis_id in ("m2", "m3"):
            registry.add_device(session, "demo", chassis_id)
    bind(bound, {"can0": "other"}, "m2")
    bind(bound, {"*": ["other", "machine"]}, "m3", valid_from=1000, keep="all")
    bind(bound, {"can1": "machine"}, "m1", valid_from=2000)
    bind(bound, {"can2": "machine"}, "m1", valid_from=2000)  # replaces the one before
    untouched = bind(bound, {"can0": "other"}, "m2")[0]
    assert len(patch(bound, scale=2.0).manifests) == 3
    with bound.reading() as session:
        force = {(m.chassis_id, m.valid_from): m for m in manifests.in_force(session)}
    assert {key: [b["bus"] for b in m.bindings] for key, m in force.items()} == {
        ("m1", 0): ["can0"],
        ("m1", 2000): ["can2"],
        ("m2", 0): ["can0"],
        ("m3", 1000): ["*", "*"],
    }
    assert force["m2", 0].revision == untouched
    assert force["m3", 1000].keep == "all"
    assert [b["name"] for b in force["m3", 1000].bindings] == ["other", "machine"]


def test_taking_a_factor_back(bound: Catalog) -> None:
    patched = patch(bound, scale=2.0, unit="rad/s")
    assert unit_of(bound, "Engine speed") == "rad/s"
    with bound.writing() as session:
        back = unpatch_signal(session, "demo", "machine", SPEED)
    assert back.overrides == {}
    assert back.revision > patched.revision
    assert len(back.manifests) == 1
    assert unit_of(bound, "Engine speed") == "1/min"
    with bound.writing() as session, pytest.raises(Unknown):
        unpatch_signal(session, "demo", "machine", SPEED)


def test_going_back_publishes_a_new_revision(bound: Catalog, machine_dbc: str) -> None:
    first = put(bound, machine_dbc)
    patch(bound, scale=2.0)
    with bound.writing() as session:
        back = restore_database(session, "demo", "machine", first.revision)
    assert (back.overrides, back.sha256) == ({}, first.sha256)
    assert len(back.manifests) == 1
    assert back.revision > first.revision + 1


def test_factors_outlive_the_same_text_put_again(bound: Catalog, machine_dbc: str) -> None:
    patch(bound, scale=2.0)
    assert put(bound, machine_dbc).changed is False
    renamed = put(bound, machine_dbc.replace("EngineSpeed", "EngSpeed"))
    assert renamed.overrides == {}  # its signal is gone
    assert put(bound, machine_dbc, overrides={SPEED: {"unit": "Hz"}}).overrides == {SPEED: {"unit": "Hz"}}
    assert put(bound, machine_dbc, overrides={}).overrides == {}


@pytest.mark.parametrize(
    "change",
    [
        {"scale": 0},
        {"scale": float("nan")},
        {"offset": float("inf")},
        {"scale": "2"},
        {"scale": True},
        {"unit": 5},
        {"unit": "a\nb"},
        {"validity": "maybe"},
        {"length": 5},
    ],
)
def test_a_factor_that_does_not_fit(bound: Catalog, change: dict[str, Any]) -> None:
    at = now(bound)
    with pytest.raises(ConfigError, match=r"EEC1\.EngineSpeed|unit"):
        patch(bound, **change)
    assert now(bound) == at


def test_every_factor_that_the_catalog_takes_decodes(bound: Catalog, machine_dbc: str) -> None:
    from duco_workbench.parsing.database import load_text

    change = {"scale": 2, "offset": -1.5, "unit": "Hz", "minimum": 0, "maximum": 5.0, "validity": "none"}
    overrides = patch(bound, **change).overrides
    messages = load_text(machine_dbc, "dbc", "machine", overrides).messages
    signal = next(s for m in messages for s in m.signals if s.name == "EngineSpeed")
    assert {field: getattr(signal, field) for field in change} == change


def test_a_factor_of_nothing(bound: Catalog) -> None:
    with bound.writing() as session:
        with pytest.raises(Unknown, match=r"EEC1\.Nothing"):
            patch_signal(session, "demo", "machine", "EEC1.Nothing", {"scale": 2})
        with pytest.raises(Unknown, match="nothing"):
            patch_signal(session, "demo", "nothing", SPEED, {"scale": 2})


def test_an_identical_manifest_stays(bound: Catalog) -> None:
    at = now(bound)
    first, is_new = bind(bound, {"can0": "machine"})
    assert (is_new, now(bound)) == (False, at)
    assert bind(bound, {"0": ["machine", "machine"]}) == (first, False)  # 0 is can0
    second, is_new = bind(bound, {"can0": "machine"}, keep="all")
    assert (is_new, second > first) == (True, True)
    assert bind(bound, {"can0": "machine"}) == (second, False)  # keep stays where it is not given


@pytest.mark.parametrize(
    ("chassis_id", "more", "kind"),
    [
        ("nobody", {}, Unknown),
        ("m1", {"bindings": {"can0": "nothing"}}, Unknown),
        ("m1", {"keep": "some"}, ConfigError),
        ("m1", {"valid_from": 2**70}, ConfigError),
        ("m1", {"bindings": {"": "machine"}}, ConfigError),
    ],
)
def test_a_manifest_that_is_refused(
    bound: Catalog, chassis_id: str, more: dict[str, Any], kind: type[Exception]
) -> None:
    at = now(bound)
    arguments = {"bindings": {"can0": "machine"}, **more}
    with pytest.raises(kind):
        bind(bound, chassis_id=chassis_id, **arguments)
    assert now(bound) == at


def test_a_manifest_for_all_devices(catalog: Catalog, machine_dbc: str) -> None:
    put(catalog, machine_dbc)
    bind(catalog, {"*": "machine"}, "*")
    with catalog.reading() as session:
        assert manifests.at(session, "demo", "m1", 0).chassis_id == "*"
        assert len(variables.of_device(session, "demo", "m1")) == 13
        assert charts.of_device(session, "demo", "m1")
        with pytest.raises(Unknown, match="no decoder manifest"):
            manifests.at(session, "demo", "m1", -1)


def test_only_newer_manifests_are_asked_for(bound: Catalog) -> None:
    with bound.reading() as session:
        at = revision(session)
        assert len(manifests.in_force(session)) == 1
        assert manifests.in_force(session, since=at) == []
    patch(bound, scale=2.0)
    with bound.reading() as session:
        assert [m.chassis_id for m in manifests.in_force(session, since=at)] == ["m1"]
        assert len(manifests.history(session, "demo", "m1")) == 2

"""The hub's registry on a real file, the twins' rules, and what enrichment takes from them."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from duco_workbench.errors import ConfigError
from duco_workbench.local.hub import identity, twins
from duco_workbench.local.hub.enrichment import DEFAULT, enrich
from duco_workbench.local.hub.refusals import Refusal
from duco_workbench.local.hub.registry import Device, Registry

KEY = base64.b64encode(b"k" * 32).decode()


@pytest.fixture
async def registry(tmp_path: Path) -> AsyncIterator[Registry]:
    made = Registry(tmp_path)
    await made.open()
    yield made
    await made.close()


async def reopened(registry: Registry, folder: Path) -> Registry:
    await registry.close()
    again = Registry(folder)
    await again.open()
    return again


# -- devices


async def test_a_device_survives_with_its_twin_and_its_session(registry: Registry, tmp_path: Path) -> None:
    await registry.create("truck1", KEY)
    await registry.change_twin("truck1", {"tenant": "demo"}, {"hz": 1})
    await registry.report("truck1", {"state": "up"})
    await registry.subscribe("truck1", ["$iothub/methods/POST/#"])
    await registry.update("truck1", enabled=False)
    again = await reopened(registry, tmp_path)
    device = again.device("truck1")
    assert device == registry.device("truck1")
    assert (device.tags, device.desired, device.reported) == ({"tenant": "demo"}, {"hz": 1}, {"state": "up"})
    assert (device.enabled, device.subscriptions) == (False, ["$iothub/methods/POST/#"])
    assert device.keys[0] == b"k" * 32
    await again.close()


async def test_a_deleted_device_stays_deleted_and_comes_back_as_another(registry: Registry, tmp_path: Path) -> None:
    first = await registry.create("truck1")
    await registry.delete("truck1")
    second = await registry.create("truck1")
    assert second.generation != first.generation
    assert second.primary_key != first.primary_key
    await registry.delete("truck1")
    again = await reopened(registry, tmp_path)
    assert list(again) == []
    await again.close()


async def test_what_is_changed_has_new_etags_and_versions(registry: Registry) -> None:
    await registry.create("truck1")

    def marks() -> tuple[int, ...]:
        d = registry.device("truck1")
        return d.etag, d.twin_etag, d.version, d.desired_version, d.reported_version

    seen = [marks()]
    for change in (
        registry.update("truck1", primary_key=KEY),
        registry.change_twin("truck1", tags={"a": 1}),
        registry.change_twin("truck1", desired={"a": 1}),
        registry.report("truck1", {"a": 1}),
    ):
        await change
        seen.append(marks())
    steps = [tuple(b - a for a, b in zip(*pair, strict=True)) for pair in pairwise(seen)]
    assert steps == [(1, 0, 0, 0, 0), (0, 1, 1, 0, 0), (0, 1, 1, 1, 0), (0, 0, 1, 0, 1)]


async def test_what_is_refused_changes_nothing(registry: Registry) -> None:
    await registry.create("truck1")
    before = Device(**{name: getattr(registry.device("truck1"), name) for name in Device.__struct_fields__})
    for call, status in (
        (registry.create("truck1"), 409),
        (registry.create("no spaces"), 400),
        (registry.create("x" * 129), 400),
        (registry.update("truck1", primary_key="short"), 400),
        (registry.update("nobody"), 404),
        (registry.change_twin("truck1", {"ok": 1}, {"not ok": 1}), 400),
        (registry.report("truck1", {"a": {"b.c": 1}}), 400),
    ):
        with pytest.raises(Refusal) as refused:
            await call
        assert refused.value.status == status
    assert registry.device("truck1") == before


async def test_one_hub_per_folder(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="another hub uses this folder"):
        await Registry(tmp_path).open()


async def test_a_damaged_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "registry.db").write_bytes(b"no database " * 1000)
    with pytest.raises(ConfigError, match=r"registry\.db is damaged"):
        await Registry(tmp_path).open()


# -- twins


@pytest.mark.parametrize(
    ("old", "patch", "new"),
    [
        ({"a": 1}, {"b": 2}, {"a": 1, "b": 2}),
        ({"a": 1}, {"a": None, "b": None}, {}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": None, "d": 3}}, {"a": {"c": 2, "d": 3}}),
        ({"a": 1}, {"a": {"b": {"c": None, "d": 1}}}, {"a": {"b": {"d": 1}}}),
        ({"a": {"b": 1}}, {"a": 5}, {"a": 5}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
    ],
)
def test_patches_merge(old: dict[str, Any], patch: dict[str, Any], new: dict[str, Any]) -> None:
    kept = repr(old)
    assert twins.merged(old, patch) == new
    assert repr(old) == kept


def nested(depth: int) -> dict[str, Any]:
    return {"a": nested(depth - 1)} if depth > 1 else {"a": 1}


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({"a.b": 1}, "the key 'a.b'"),
        ({"": 1}, "the key ''"),
        ({"x": {"$a": 1}}, "desired.x has the key"),
        ({"a\n": 1}, "control character"),
        (nested(11), "deeper than 10"),
        ({"x": "ü" * 2049}, "desired.x is a text of more than 4096 bytes"),
        ({"x": [1 << 52]}, "53 bits"),
        ({f"k{n}": "x" * 4000 for n in range(9)}, "bytes; 32768 are allowed"),
    ],
)
def test_what_azure_would_refuse_is_refused(document: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        twins.check("desired", document, twins.MAX_PROPERTIES)


def test_what_azure_allows_is_allowed() -> None:
    document = {"t": 1_795_000_000_000_000, "x": [1, "two", {"three": None}], "deep": nested(9), "text": "ü" * 2048}
    twins.check("desired", document, twins.MAX_PROPERTIES)


# -- enrichment


def test_enrichment_stamps_what_the_twin_has_and_else_the_rule() -> None:
    device = Device("truck1", "g1", KEY, KEY, tags={"tenant": "demo", "on": True, "n": 5, "site": {"name": "x"}})
    device.reported = {"fw": "1.2"}
    rules = {
        "tenant": "$twin.tags.tenant",
        "on": "$twin.tags.on",
        "n": "$twin.tags.n",
        "site": "$twin.tags.site.name",
        "whole": "$twin.tags.site",
        "fw": "$twin.properties.reported.fw",
        "none": "$twin.tags.none.at.all",
        "fixed": "here",
    }
    assert enrich({"tenant": "forged", "own": "1"}, rules, device) == {
        "own": "1",
        "tenant": "demo",
        "on": "true",
        "n": "5",
        "site": "x",
        "whole": "$twin.tags.site",
        "fw": "1.2",
        "none": "$twin.tags.none.at.all",
        "fixed": "here",
    }
    device.tags = {}
    assert enrich({}, DEFAULT, device) == {"tenant": "$twin.tags.tenant"}


# -- identity


def test_an_identity_is_made_once_and_keeps_its_authority(tmp_path: Path) -> None:
    first = identity.prepare(tmp_path, "127.0.11.1")
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert identity.prepare(tmp_path, "127.0.11.1") == first
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == made
    assert {path.name for path in tmp_path.iterdir() if path.stat().st_mode & 0o077} == {"ca.pem"}
    moved = identity.prepare(tmp_path, "127.0.11.2")
    assert moved.key == first.key
    assert moved.ca.read_bytes() == made["ca.pem"]
    assert moved.server.read_bytes() != made["server.pem"]
    assert "HostName=127.0.11.2:8443;" in moved.hub


def test_a_new_authority_signs_a_new_certificate(tmp_path: Path) -> None:
    old = identity.prepare(tmp_path, "127.0.11.1").server.read_bytes()
    (tmp_path / "ca.pem").unlink()
    assert identity.prepare(tmp_path, "127.0.11.1").server.read_bytes() != old


def test_a_folder_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be used"):
        identity.prepare(tmp_path / "file" / "hub", "127.0.11.1")
    identity.prepare(tmp_path, "127.0.11.1")
    (tmp_path / "ca.key").write_text("broken")
    with pytest.raises(ConfigError, match="delete it to get new ones"):
        identity.prepare(tmp_path, "127.0.11.1")

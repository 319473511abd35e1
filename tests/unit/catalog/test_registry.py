"""Tenants and devices."""

from __future__ import annotations

import pytest

from duco_workbench.catalog import registry
from duco_workbench.catalog.engine import Catalog, revision
from duco_workbench.catalog.refusals import Conflict, Unknown
from duco_workbench.errors import ConfigError


def test_adding_again_changes_nothing(catalog: Catalog) -> None:
    with catalog.writing() as session:
        at = revision(session)
        assert registry.add_tenant(session, "demo") is False
        device, is_new = registry.add_device(session, "demo", "m1", "another name")
        assert (device.name, is_new, revision(session)) == ("", False, at)


def test_a_chassis_id_is_unique_per_hub(catalog: Catalog) -> None:
    with catalog.writing() as session:
        registry.add_tenant(session, "other")
        with pytest.raises(Conflict, match="another tenant"):
            registry.add_device(session, "other", "m1")
        with pytest.raises(Unknown):  # and another tenant cannot see it
            registry.device(session, "other", "m1")


def test_editing(catalog: Catalog) -> None:
    with catalog.writing() as session:
        at = revision(session)
        edited = registry.edit_device(session, "demo", "m1", "Loader 4", None)
        assert (edited.name, edited.kind, revision(session)) == ("Loader 4", "", at + 1)
        registry.edit_device(session, "demo", "m1", "Loader 4", "")
        assert revision(session) == at + 1


def test_listing(catalog: Catalog) -> None:
    with catalog.writing() as session:
        registry.add_tenant(session, "other")
        registry.add_device(session, "other", "a")
        assert [(d.tenant, d.chassis_id) for d in registry.devices(session)] == [("other", "a"), ("demo", "m1")]
        assert [d.chassis_id for d in registry.devices(session, "demo")] == ["m1"]
        assert registry.tenants(session) == ["demo", "other"]
        with pytest.raises(Unknown):
            registry.devices(session, "nobody")


@pytest.mark.parametrize("chassis_id", ["", "*", "a b", "a/b", "ä", "x" * 129, "a\n"])
def test_a_chassis_id_the_hub_would_refuse(catalog: Catalog, chassis_id: str) -> None:
    with catalog.writing() as session, pytest.raises(ConfigError):
        registry.add_device(session, "demo", chassis_id)


@pytest.mark.parametrize("tenant", ["", "-a", "a b", "a/b", "a:b", "x" * 65, "a\n"])
def test_a_tenant_that_cannot_be_named(catalog: Catalog, tenant: str) -> None:
    with catalog.writing() as session, pytest.raises(ConfigError):
        registry.add_tenant(session, tenant)

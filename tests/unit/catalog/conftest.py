"""A catalog of its own per test, in a real SQLite file, and the meta API on it without a socket."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from duco_workbench.catalog.contents import read
from duco_workbench.catalog.engine import Catalog
from duco_workbench.catalog.publishing import put_database, put_manifest
from duco_workbench.catalog.registry import add_device, add_tenant

MACHINE = Path(__file__).parents[2] / "data" / "catalog" / "machine.dbc"


@pytest.fixture
def machine_dbc() -> str:
    return MACHINE.read_text()


@pytest.fixture(scope="session")
def _filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The files that ``catalog`` and ``bound`` begin with, made once."""
    folder = tmp_path_factory.mktemp("catalogs")
    opened = Catalog(f"sqlite:///{folder}/catalog.db")
    with opened.writing() as session:
        add_tenant(session, "demo")
        add_device(session, "demo", "m1")
    opened.close()  # the last to close a WAL file leaves one whole file
    plain = shutil.copy(folder / "catalog.db", folder / "plain.db")
    put_database(opened, "demo", "machine", MACHINE.read_text(), read=read)
    with opened.writing() as session:
        put_manifest(session, "demo", "m1", {"can0": "machine"})
    opened.close()
    return plain, folder / "catalog.db"


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Of a catalog that is not there yet."""
    return f"sqlite:///{tmp_path}/new folder/catalog.db"


@pytest.fixture
def catalog(url: str, _filled: tuple[Path, Path]) -> Iterator[Catalog]:
    """With tenant ``demo`` and device ``m1``."""
    yield from _copy_of(_filled[0], url)


@pytest.fixture
def bound(url: str, _filled: tuple[Path, Path]) -> Iterator[Catalog]:
    """As ``catalog``, with ``machine.dbc`` bound to ``can0`` of ``m1``."""
    yield from _copy_of(_filled[1], url)


def _copy_of(file: Path, url: str) -> Iterator[Catalog]:
    path = Path(url.removeprefix("sqlite:///"))
    path.parent.mkdir()
    shutil.copy(file, path)
    opened = Catalog(url)
    yield opened
    opened.close()

"""The DBC files of two public packages: the cantools sdist (its test files) and the opendbc wheel.

`make test` downloads both, by the hashes of requirements-dbcs.lock, into ``dbcs`` of its virtual environment. Elsewhere
set ``DUCO_DBCS`` to a folder that holds the two archives, or folders ``cantools*`` and ``opendbc*`` with .dbc files.
"""

from __future__ import annotations

import os
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

FOLDER = Path(os.environ.get("DUCO_DBCS") or Path(sys.prefix) / "dbcs")
PACKAGES = ("cantools", "opendbc")


def dbc_files(package: str, folder: Path = FOLDER) -> list[tuple[str, bytes]]:
    """(path, content) of every DBC file of a package, sorted; it is a failure where there is none."""
    found = sorted((path, body) for path, body in _all(folder) if path.startswith(package))
    if not found:
        pytest.fail(f"no DBC file of {package} is in {folder}: run `make test`, or set DUCO_DBCS (see dbc_files.py)")
    return found


def _all(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every DBC file; its path begins with the name of its package. Folders go before archives."""
    for path in folder.rglob("*"):
        if path.suffix.lower() == ".dbc":
            yield path.relative_to(folder).as_posix(), path.read_bytes()
    if any(path.is_dir() for path in folder.glob("*")):
        return
    for path in folder.glob("*"):
        if path.name.endswith(".tar.gz"):
            with tarfile.open(path) as archive:
                for member in archive:
                    if member.isfile() and member.name.lower().endswith(".dbc"):
                        content = archive.extractfile(member)
                        yield member.name, content.read() if content else b""
        elif path.suffix in (".whl", ".zip"):
            with zipfile.ZipFile(path) as wheel:
                for name in wheel.namelist():
                    if name.lower().endswith(".dbc"):
                        yield name, wheel.read(name)

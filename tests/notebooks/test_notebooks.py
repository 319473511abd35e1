"""Notebooks are docs and tests at once: each is run by nbval, on a stack started for them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from duco_workbench import testing
from duco_workbench.local.fleet import Fleet

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


@pytest.fixture(scope="module")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with testing.running_stack(tmp_path_factory.mktemp("notebooks"), Fleet(machines=1, history_s=600)) as settings:
        yield {f"DUCO_{name.upper()}": str(value) for name, value in settings.model_dump(mode="json").items()}


@pytest.mark.parametrize("name", [path.name for path in sorted(NOTEBOOKS.glob("*.ipynb"))])
def test_a_notebook_runs(name: str, addresses: dict[str, str]) -> None:
    options = ["--nbval-lax", "--nbval-cell-timeout=120", "-p", "no:cacheprovider", "-q"]
    command = [sys.executable, "-m", "pytest", *options, str(NOTEBOOKS / name)]
    done = subprocess.run(command, env=os.environ | addresses, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:]
    assert " passed" in done.stdout

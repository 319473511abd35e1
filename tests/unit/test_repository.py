"""The repository keeps its own rules: bounds agree, locks name no address, tests are real, files stay readable."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


def test_conda_and_pip_have_the_same_bounds() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    ours = sorted(project["dependencies"] + project["optional-dependencies"]["workbench"])
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert next(part["pip"] for part in conda if isinstance(part, dict)) == ours
    assert f"python{project['requires-python']}" in conda


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-test.lock"])
def test_locks_hold_names_versions_and_hashes_only(lock: str) -> None:
    lines = (ROOT / lock).read_text().splitlines()
    requirement = re.compile(r"[A-Za-z0-9._-]+(\[[a-z,_-]+\])?==[^ ]+( ; [^\\]+)? \\")
    assert all(requirement.fullmatch(line) or line.startswith("    --hash=sha256:") for line in lines)


def test_the_base_install_is_what_a_machine_needs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {re.split(r"[><=]", d)[0] for d in project["dependencies"]}
    assert names == {"azure-iot-device", "msgpack", "msgspec", "numpy", "psutil", "python-can"}


def test_what_the_decoder_needs_is_part_of_the_workbench() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {need for need in extras["decoder"] if "win32" not in need} <= set(extras["workbench"])


def test_nothing_reads_the_environment_but_settings() -> None:
    # The store sets the zone of its engine; what a child process inherits is handed on.
    reads = re.compile(r"os\.getenv|(?<!\{\*\*)os\.environ(?!\[\"TZ\"\] = )")
    for path in (ROOT / "duco_workbench").rglob("*.py"):
        if path.name not in {"settings.py", "testing.py"}:
            assert not reads.search(path.read_text()), path


@pytest.mark.parametrize("folder", ["duco_workbench", "agent", "pipelines", "apps"])
def test_modules_can_be_read_in_one_sitting(folder: str) -> None:
    for path in (ROOT / folder).rglob("*.py"):
        assert path.read_text().count("\n") <= 400, path

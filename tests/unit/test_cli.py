"""What a person can mend is one sentence, exit code 1 and no traceback."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from duco_workbench import cli


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def duco(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """`duco ARGUMENTS` in an empty folder where no stack runs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DUCO_META_URL", "http://127.0.0.1:1")

    def run(*arguments: str) -> Done:
        monkeypatch.setattr("sys.argv", ["duco", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return Done(int(ended.value.code or 0), said.out, said.err)

    return run


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["up", "--replay", "no.mf4"], "there is no log 'no.mf4'"),
        (["up", "--dbc", "1=no.dbc"], "there is no file 'no.dbc'"),
        (["up", "--dbc", "1=notes.txt"], "a database is one of dbc"),
        (["up", "--history", "soon"], "write 90s, 10m, 24h or 7d"),
        (["import", "no.log", "--machine", "m"], "no.log"),
        (["import", "empty.log", "--machine", "m", "--start", "yesterday"], "no ISO time"),
        (["import", "empty.log", "--machine", "m", "--start", "2024-05-01T08:00:00"], "has no zone"),
        (["import", "empty.log", "--machine", "m"], "http://127.0.0.1:1"),
        (["import", "empty.log", "--machine", "m", "--keep", "some"], "write all or changes"),
        (["status"], "no stack is running"),
        (["dead-letters", "list", "--since", "yesterday"], "write it as 2026-"),
        (["run", "nothing"], "there are: distributor, ingestor, processor"),
    ],
)
def test_one_sentence(duco: Callable[..., Done], arguments: list[str], said: str, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "empty.log").write_text("")
    done = duco(*arguments)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_port_in_use_is_named(duco: Callable[..., Done], monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setenv("DUCO_META_URL", f"http://127.0.0.1:{port}")
        done = duco("up", "--detach")
    assert done.returncode == 1
    assert f"port {port} (meta) is in use" in done.stderr
    assert "DUCO_META_URL" in done.stderr


def test_a_setting_that_is_no_number_is_named(duco: Callable[..., Done], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUCO_LOG_MEMORY", "lots")
    done = duco("up", "--detach")
    assert done.returncode == 1
    assert "DUCO_LOG_MEMORY" in done.stderr


def test_nothing_to_stop_is_no_failure(duco: Callable[..., Done]) -> None:
    done = duco("down")
    assert done.returncode == 0
    assert "nothing is running" in done.stdout

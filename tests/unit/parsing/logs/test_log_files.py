"""Which files are logs, and what can be wrong with a path, a zone or a start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from duco_workbench.errors import ConfigError
from duco_workbench.parsing.logs import find_logs, open_log, read_log

LINE = "(1700000000.000001) can0 18FEF100#0102030405060708\n"


def touch(path: Path, text: str = LINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_folder_stands_for_the_logs_in_and_below_it(tmp_path: Path) -> None:
    logs = ["a.log", "b/2.MF4", "b/c/1.asc", "b/c/x.blf.gz", "d.trc", "e.dat", "f.log.gz"]
    for name in [*logs, "notes.txt", "b/.hidden.log", ".git/a.log", "other.gz", "things.db", "g.dbc"]:
        touch(tmp_path / name)
    touch(tmp_path / "table.csv", "time,speed\n1,2\n")
    touch(tmp_path / "h.csv", "timestamp,arbitration_id,extended,remote,error,dlc,data\n")
    assert find_logs([tmp_path]) == sorted(tmp_path / name for name in [*logs, "h.csv"])


def test_files_named_come_as_named_and_once(tmp_path: Path) -> None:
    b, a, odd = touch(tmp_path / "x/b.log"), touch(tmp_path / "x/a.log"), touch(tmp_path / "odd.txt")
    assert find_logs([str(odd), b, tmp_path / "x"]) == [odd, b, a]


def test_a_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.log does not exist"):
        find_logs([tmp_path, tmp_path / "gone.log"])
    with pytest.raises(ConfigError, match=r"gone\.log does not exist"):
        open_log(tmp_path / "gone.log")


def test_a_folder_is_no_log(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a folder; name the log files in it"):
        open_log(tmp_path)


@pytest.mark.parametrize("name", ["drive.txt", "drive", "drive.gz", "drive.xyz.gz"])
def test_an_unknown_suffix_names_the_known(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"no suffix of a CAN log.*\.asc, \.blf, .*\.mf4"):
        open_log(touch(tmp_path / name))


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = touch(tmp_path / "a.log")
    monkeypatch.setattr(os, "access", lambda *_: False)  # whoever runs the tests may read everything
    with pytest.raises(ConfigError, match="cannot be opened for reading"):
        open_log(path)


def test_an_unknown_zone_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'Mars/Base' is no time zone; give an IANA name"):
        open_log(touch(tmp_path / "a.log"), tz="Mars/Base")


def test_relative_times_need_a_start_and_keep_their_distances(tmp_path: Path) -> None:
    path = touch(tmp_path / "a.log", "".join(f"({s}.5) can0 123#11\n" for s in (3, 4, 9)))
    with pytest.raises(ConfigError, match=r"a\.log has times relative.*the first is 3\.500000 s.*--start"):
        open_log(path)
    assert read_log(path, start=10**15).ts.tolist() == [10**15, 10**15 + 10**6, 10**15 + 6 * 10**6]


def test_a_start_moves_a_dated_log_too_and_a_zone_leaves_it(tmp_path: Path) -> None:
    path = touch(tmp_path / "a.log")
    assert read_log(path, start=12).ts.tolist() == [12]
    assert read_log(path, tz="Asia/Tokyo").ts.tolist() == [1_700_000_000_000_001]


def test_progress_rises_to_one_and_the_file_is_closed(tmp_path: Path) -> None:
    path = touch(tmp_path / "a.log", LINE * 300_000)
    log = open_log(path)
    shares = [log.progress() for _ in log]
    assert 0 < shares[0] < 0.5 < shares[-1] <= 1
    assert shares == sorted(shares)
    assert log.progress() == 1.0
    assert (log.frames, log.span) == (300_000, (1_700_000_000_000_001,) * 2)
    if os.path.isdir("/proc/self/fd"):
        open_files = {os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")}
        assert str(path) not in open_files


def test_naming_logs_loads_none_of_the_heavy_libraries() -> None:
    code = (
        "import sys; from duco_workbench.parsing.logs import find_logs, open_log;"
        "print([name for name in ('asammdf', 'can', 'pandas', 'numba') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

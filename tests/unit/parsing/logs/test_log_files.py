"""Which files are logs, and what can be wrong with a path, a zone or a start."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import can
import pytest

from duco_workbench.errors import ConfigError
from duco_workbench.parsing.logs import find_logs, open_log, read_log, warm_up

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


def test_warm_up_compiles_all_that_reading_needs(tmp_path: Path) -> None:
    from duco_workbench.parsing.logs import asc_kernel, blf_kernel, candump_kernel, csv_kernel, trc_kernel

    warm_up()
    kernels: list[Any] = [
        asc_kernel.parse_asc,
        blf_kernel.parse_objects,
        candump_kernel.parse_candump,
        csv_kernel.parse_csv,
        trc_kernel.parse_trc,
    ]
    before = [len(kernel.signatures) for kernel in kernels]
    for name in ("a.asc", "a.blf", "a.trc", "a.csv", "a.log"):
        with can.Logger(tmp_path / name) as logger:
            for k in range(3):
                logger.on_message_received(
                    can.Message(timestamp=1_700_000_000 + k, is_rx=bool(k), is_fd=name == "a.asc")
                )
        assert len(read_log(tmp_path / name, tz="UTC")) == 3
    assert [len(kernel.signatures) for kernel in kernels] == before


@pytest.mark.parametrize(
    ("name", "head", "line"),
    [
        ("a.log", "", LINE),
        ("a.asc", "date Mon Jul 1 08:30:00 2024\n", "   1.5 1  18FEF100x  Rx  d 8 01 02 03 04 05 06 07 08\n"),
        ("a.trc", ";$STARTTIME=45474.5\n", "   1)  15  18FEF100  8  01 02 03 04 05 06 07 08\n"),
        ("a.csv", "timestamp,arbitration_id,extended,data_hex\n", "1700000000.5,18FEF100,1,0102030405060708\n"),
    ],
)
def test_text_is_read_in_chunks_with_a_bound_on_memory(tmp_path: Path, name: str, head: str, line: str) -> None:
    """Zipped too: what is held does not grow with the file."""
    path = tmp_path / f"{name}.gz"
    with gzip.open(path, "wb", 1) as file:
        file.write(head.encode())
        for _ in range(50):
            file.write(line.encode() * 8000)
    with open_log(path, tz="UTC") as log:
        tracemalloc.start()
        try:
            sizes = [len(batch) for batch in log]
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert sizes == [65_536] * 6 + [400_000 - 6 * 65_536]
    assert peak < 20_000_000

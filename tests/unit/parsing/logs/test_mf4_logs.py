"""MF4 through asammdf: frames written by asammdf and by python-can, groups merged by time, local and UTC headers."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from asammdf import MDF, Signal
from asammdf.blocks import v4_constants as v4c
from asammdf.blocks.v4_blocks import SourceInformation

from duco_workbench.errors import ConfigError
from duco_workbench.model import EXTENDED, Flag
from duco_workbench.parsing.logs import mf4, open_log, read_log

START = datetime(2024, 7, 1, 8, 30, 0, 125_000, tzinfo=UTC)
START_US = 1_719_822_600_125_000

FIELDS: dict[str, Any] = {"BusChannel": "u1", "ID": "<u4", "IDE": "u1", "DLC": "u1", "DataLength": "u1"}


def records(kind: str, count: int, seed: int, length: int = 8, **more: Any) -> np.ndarray:
    random = np.random.default_rng(seed)
    fields = {**FIELDS, "DataBytes": ("u1", (length,)), **more}
    rows = np.zeros(
        count, [(f"{kind}.{name}", *(form if isinstance(form, tuple) else (form,))) for name, form in fields.items()]
    )
    rows[f"{kind}.BusChannel"] = random.integers(1, 3, count)
    rows[f"{kind}.ID"] = random.integers(0x800, 1 << 29, count)
    rows[f"{kind}.IDE"] = 1
    rows[f"{kind}.DataLength"] = rows[f"{kind}.DLC"] = random.integers(0, 9, count)
    used = np.arange(length) < rows[f"{kind}.DataLength"][:, None]
    rows[f"{kind}.DataBytes"] = np.where(used, random.integers(0, 256, (count, length)), 0)
    return rows


def save(
    path: Path, groups: list[tuple[str, np.ndarray, np.ndarray]], start: datetime = START, compression: int = 0
) -> Path:
    mdf = MDF(version="4.11")
    mdf.start_time = start
    for kind, rows, seconds in groups:
        source = SourceInformation(source_type=v4c.SOURCE_BUS, bus_type=v4c.BUS_TYPE_CAN)
        mdf.append(Signal(rows, seconds, name=kind, source=source))
    mdf.save(path, overwrite=True, compression=compression)
    mdf.close()
    return path


def expected(kind: str, rows: np.ndarray, micros: np.ndarray) -> list[tuple[Any, ...]]:
    columns = [rows[f"{kind}.{name}"].tolist() for name in ("BusChannel", "ID", "DataLength")]
    data = [bytes(content[:n]) for content, n in zip(rows[f"{kind}.DataBytes"], columns[2], strict=True)]
    stamps = (START_US + micros).tolist()
    return [
        (ts, f"can{bus}", identifier | EXTENDED, n, 0, content)
        for ts, bus, identifier, n, content in zip(stamps, *columns, data, strict=True)
    ]


@pytest.mark.parametrize("compression", [0, 1, 2])
def test_what_asammdf_writes(tmp_path: Path, frames: Any, compression: int) -> None:
    micros = np.arange(1000) * 1_234_567 + 1
    rows = records("CAN_DataFrame", 1000, 1)
    path = save(tmp_path / "a.mf4", [("CAN_DataFrame", rows, micros / 1e6)], compression=compression)
    with open_log(path) as log:
        found = [row for batch in log for row in frames(batch)]
    assert found == expected("CAN_DataFrame", rows, micros)
    assert (log.warnings, log.progress(), log.frames) == ([], 1.0, 1000)
    assert log.span == (START_US + 1, START_US + 1 + 999 * 1_234_567)


def test_groups_are_merged_by_time_in_chunks_with_a_bound(tmp_path: Path, frames: Any, monkeypatch: Any) -> None:
    """Three loggers' groups: dense, sparse, and one that begins when the others have ended."""
    monkeypatch.setattr(mf4, "FRAGMENT", 4000)
    monkeypatch.setattr(mf4, "CHUNK", 64)
    stamps = [np.arange(3000) * 1000, np.arange(30) * 90_001 + 7, 5_000_000 + np.arange(200) * 10]
    groups = [records("CAN_DataFrame", len(micros), seed) for seed, micros in enumerate(stamps)]
    path = save(
        tmp_path / "a.mf4", [("CAN_DataFrame", rows, us / 1e6) for rows, us in zip(groups, stamps, strict=True)]
    )
    with open_log(path) as log:
        batches = list(log)
    assert max(map(len, batches)) <= 64
    found = [row for batch in batches for row in frames(batch)]
    wanted = [row for rows, us in zip(groups, stamps, strict=True) for row in expected("CAN_DataFrame", rows, us)]
    assert found == sorted(wanted, key=lambda row: row[0])


def test_can_fd_remote_and_error_frames(
    write: Any, written: Any, frames: Any, classic: Any, special: Any, fd: Any
) -> None:
    """python-can's MF4 writer: a group each for data, error and remote frames; its header has local time."""
    everything = [*classic[:3], *special, *fd]
    found = frames(read_log(write("a.mf4", everything), start=written(everything)[0][0]))
    assert found == written(everything)


def test_directions_and_constants_by_name(tmp_path: Path, frames: Any) -> None:
    rows = records("CAN_DataFrame", 4, 1, Dir="S2", EDL="u1", BRS="u1")
    rows["CAN_DataFrame.Dir"] = [b"Rx", b"Tx", b"rx", b"TX"]
    rows["CAN_DataFrame.EDL"], rows["CAN_DataFrame.BRS"] = [0, 1, 1, 0], [0, 1, 0, 0]
    path = save(tmp_path / "a.mf4", [("CAN_DataFrame", rows, np.arange(4.0))])
    assert [row[4] for row in frames(read_log(path))] == [0, Flag.TX | Flag.FD | Flag.BRS, Flag.FD, Flag.TX]


def test_extended_ids_are_known_without_their_own_column(tmp_path: Path) -> None:
    rows = records("CAN_DataFrame", 3, 1)
    rows["CAN_DataFrame.ID"] = [0x123, 0x123 | EXTENDED, 0x18FEF100]
    kept = [name for name in rows.dtype.names or () if not name.endswith("IDE")]
    without = np.zeros(3, [(name, rows.dtype[name]) for name in kept])
    for name in kept:
        without[name] = rows[name]
    path = save(tmp_path / "a.mf4", [("CAN_DataFrame", without, np.arange(3.0))])
    assert read_log(path).arbitration_id.tolist() == [0x123, 0x123 | EXTENDED, 0x18FEF100 | EXTENDED]


def test_local_time_in_the_header_needs_a_zone(tmp_path: Path) -> None:
    rows = records("CAN_DataFrame", 1, 1)
    path = save(tmp_path / "a.mf4", [("CAN_DataFrame", rows, np.zeros(1))], start=START.replace(tzinfo=None))
    with pytest.raises(ConfigError, match=r"local times only \(2024-07-01 08:30:00\).*--tz"):
        open_log(path)
    assert read_log(path, tz="Europe/Berlin").ts.tolist() == [START_US - 7_200_000_000]


@pytest.mark.parametrize("name", ["A.MF4", "a.mdf", "a.dat", "a.mf4.gz"])
def test_suffixes(tmp_path: Path, name: str) -> None:
    path = save(tmp_path / "x.mf4", [("CAN_DataFrame", records("CAN_DataFrame", 5, 1), np.arange(5.0))])
    content = path.read_bytes()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    with open_log(tmp_path / name) as log:
        folder = log._source.folder()
        assert len(next(log)) == 5
        assert list(log) == []
    assert not folder.exists(), "no copy is left behind"


def test_a_measurement_without_can_is_refused(tmp_path: Path) -> None:
    mdf = MDF(version="4.11")
    mdf.append(Signal(np.arange(5.0), np.arange(5.0), name="Speed"))
    mdf.save(tmp_path / "a.mf4")
    with pytest.raises(ConfigError, match="holds no CAN bus logging"):
        open_log(tmp_path / "a.mf4")
    old = MDF(version="3.30")
    old.append(Signal(np.arange(5.0), np.arange(5.0), name="Speed"))
    old.save(tmp_path / "b.mdf")
    with pytest.raises(ConfigError, match=r"is MDF 3\.30; convert it"):
        open_log(tmp_path / "b.mdf")


def test_damage_in_the_middle_keeps_what_came_before(tmp_path: Path, frames: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(mf4, "FRAGMENT", 100_000)
    rows, micros = records("CAN_DataFrame", 400_000, 1), np.arange(400_000) * 100
    path = save(tmp_path / "a.mf4", [("CAN_DataFrame", rows, micros / 1e6)], compression=1)
    whole, content = frames(read_log(path)), bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 2000] = bytes(2000)
    path.write_bytes(content)
    with open_log(path) as log:
        found = [row for batch in log for row in frames(batch)]
    assert 10_000 < len(found) < 400_000
    assert found == whole[: len(found)]
    (warning,) = log.warnings
    assert warning.startswith(f"a.mf4: damaged at frame {len(found) + 1:,}: read up to there (")


def test_a_cut_file_of_a_writer_that_puts_the_index_last_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.mf4", [("CAN_DataFrame", records("CAN_DataFrame", 500, 1), np.arange(500.0))])
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ConfigError, match=r"a\.mf4 holds no CAN frame that can be read"):
        open_log(path)


def never_closed(path: Path) -> bytes:
    """As a logger leaves a file whose power was cut: records last, their block's length and number not filled in."""
    content = bytearray(path.read_bytes())
    mdf = MDF(path)
    group = mdf.groups[0].data_group
    old, link = group.data_block_addr, group.address + 24 + 2 * 8
    mdf.close()
    size = int.from_bytes(content[old + 8 : old + 16], "little")
    content += bytes(-len(content) % 8)
    content[link : link + 8] = len(content).to_bytes(8, "little")
    content[:8], content[60:62] = b"UnFinMF ", (0b101).to_bytes(2, "little")
    return bytes(content + b"##DT" + bytes(4) + (24).to_bytes(8, "little") + bytes(8) + content[old + 24 : old + size])


def test_a_file_never_closed_is_read_to_its_last_whole_record(tmp_path: Path, frames: Any) -> None:
    rows, micros = records("CAN_DataFrame", 500, 1), np.arange(500) * 1000
    path = save(tmp_path / "a.mf4", [("CAN_DataFrame", rows, micros / 1e6)])
    content, record = never_closed(path), rows.dtype.itemsize + 8
    for cut, count in [(0, 500), (1, 499), (record - 1, 499), (record, 499), (record + 1, 498)]:
        path.write_bytes(content[: len(content) - cut])
        with open_log(path) as log:
            found = [row for batch in log for row in frames(batch)]
        assert found == expected("CAN_DataFrame", rows, micros)[:count]
        whole = cut % record == 0
        end = len(content) - -(-cut // record) * record
        said = f"a.mf4: damaged at byte {end:,}: read up to there (the last record is cut)"
        assert log.warnings == ([] if whole else [said])


def test_a_cut_zip_is_read_as_far_as_it_goes(tmp_path: Path, frames: Any) -> None:
    """Of a logger that writes its records last, that is nearly all; else there is no index, and it is refused."""
    random = np.random.default_rng(1)
    rows, micros = records("CAN_DataFrame", 20_000, 1), np.arange(20_000) * 1000
    rows["CAN_DataFrame.DataBytes"] = random.integers(0, 256, (20_000, 8))
    rows["CAN_DataFrame.DataLength"] = rows["CAN_DataFrame.DLC"] = 8
    path = save(tmp_path / "a.mf4", [("CAN_DataFrame", rows, micros / 1e6)])
    zipped, packed = tmp_path / "z.mf4.gz", gzip.compress(never_closed(path))
    zipped.write_bytes(packed[: len(packed) * 9 // 10])
    with open_log(zipped) as log:
        found = [row for batch in log for row in frames(batch)]
    assert 10_000 < len(found) < 20_000
    assert found == expected("CAN_DataFrame", rows, micros)[: len(found)]
    assert log.warnings[0].startswith("z.mf4.gz: damaged at byte ")
    assert "unzipped up to there" in log.warnings[0]
    packed = gzip.compress(path.read_bytes())
    zipped.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(ConfigError, match=r"z\.mf4\.gz holds no CAN frame that can be read"):
        open_log(zipped)

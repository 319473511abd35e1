"""Frames to write with other people's writers, and what a reader must make of them."""

from __future__ import annotations

import contextlib
import gzip
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random
from typing import Any

import can
import pytest

from duco_workbench.errors import ConfigError
from duco_workbench.model import ERROR, EXTENDED, REMOTE, Flag, FrameBatch, bus_name
from duco_workbench.parsing.logs import open_log

T0 = 1_700_000_000_250_000  # microseconds UTC, a whole millisecond: .asc and .blf headers hold no more
Frame = tuple[int, str, int, int, int, bytes]  # ts, channel, id with SocketCAN's bits, dlc, flags, data


def message(micros: int, identifier: int, data: bytes = b"", **more: object) -> can.Message:
    """``micros`` after T0."""
    return can.Message(
        timestamp=(T0 + micros) / 1e6,
        arbitration_id=identifier,
        data=data,
        **{"channel": 0, **more},  # type: ignore[arg-type]
    )


@pytest.fixture
def classic() -> list[can.Message]:
    return [
        message(0, 0x18FEF100, bytes(range(8))),
        message(1, 0x123, b"\xff", is_extended_id=False, channel=1),
        message(1_000_007, 0x7FF, b"", is_extended_id=False, is_rx=False),
        message(1_000_007, 0x1FFFFFFF, b"\x01\x02\x03", channel=1),
        message(86_400_999_999, 0, b"\x00" * 8, is_extended_id=False),
    ]


@pytest.fixture
def special() -> list[can.Message]:
    return [
        message(2_000_000, 0x18DA00F1, is_remote_frame=True, dlc=0),
        message(2_500_003, 0, is_error_frame=True),
    ]


@pytest.fixture
def fd() -> list[can.Message]:
    return [
        message(3_000_000, 0x18FEF200, bytes(range(64)), is_fd=True, bitrate_switch=True),
        message(3_000_001, 0x321, bytes(range(12)), is_extended_id=False, is_fd=True, error_state_indicator=True),
        message(3_000_002, 0x18FEF300, b"\x07", is_fd=True),
    ]


def frame_of(m: can.Message, shift: int) -> Frame:
    bits = ERROR if m.is_error_frame else EXTENDED * m.is_extended_id | REMOTE * m.is_remote_frame
    flags = Flag.FD * m.is_fd | Flag.BRS * m.bitrate_switch | Flag.ESI * m.error_state_indicator
    flags |= Flag.REMOTE * m.is_remote_frame | Flag.ERROR * m.is_error_frame | Flag.TX * (not m.is_rx)
    dlc = m.dlc if m.is_remote_frame else len(m.data)
    return round(m.timestamp * 1e6) + shift, bus_name(m.channel), m.arbitration_id | bits, dlc, flags, bytes(m.data)  # type: ignore[arg-type]


@pytest.fixture
def written() -> Callable[..., list[Frame]]:
    """The frames of messages, shifted by microseconds."""
    return lambda messages, shift=0: [frame_of(m, shift) for m in messages]


@pytest.fixture
def frames() -> Callable[[FrameBatch], list[Frame]]:
    """The frames of a batch; nothing may stand in the data past a frame's length."""

    def rows(batch: FrameBatch) -> list[Frame]:
        columns = zip(
            batch.ts.tolist(),
            batch.channel.tolist(),
            batch.arbitration_id.tolist(),
            batch.dlc.tolist(),
            batch.flags.tolist(),
            batch.data,
            strict=True,
        )
        found = []
        for ts, channel, identifier, dlc, flags, data in columns:
            assert not data[dlc:].any()
            content = b"" if flags & Flag.REMOTE else data[:dlc].tobytes()
            found.append((ts, batch.channels[channel], identifier, dlc, flags, content))
        return found

    return rows


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, Iterable[can.Message]], Path]:
    """A file by python-can's writer for its suffix."""

    def write_log(name: str, messages: Iterable[can.Message]) -> Path:
        with can.Logger(tmp_path / name) as logger:
            for m in messages:
                logger.on_message_received(m)
        return tmp_path / name

    return write_log


@pytest.fixture
def by_python_can() -> Callable[..., list[Frame]]:
    """The frames as python-can's own reader for the suffix gives them, shifted by microseconds."""

    def read(path: Path, shift: int = 0) -> list[Frame]:
        with can.LogReader(path) as reader:
            return [frame_of(m, shift) for m in reader]

    return read


@pytest.fixture
def busy() -> Callable[..., list[can.Message]]:
    """Many frames of every kind a classic or CAN FD bus has, by a seed."""

    def make(seed: int, count: int, is_fd: bool = False) -> list[can.Message]:
        random = Random(seed)
        return [_any_frame(random, k * 371, is_fd) for k in range(count)]

    return make


def _any_frame(random: Random, micros: int, is_fd: bool) -> can.Message:
    extended, channel = random.random() < 0.7, random.randrange(3)
    identifier = random.randrange(1 << 29 if extended else 1 << 11)
    more = {"is_extended_id": extended, "channel": channel, "is_rx": random.random() < 0.8}
    if is_fd and random.random() < 0.5:
        data = random.randbytes(random.choice([1, 2, 7, 8, 12, 16, 20, 24, 32, 48, 64]))
        brs, esi = random.random() < 0.5, random.random() < 0.2
        return message(micros, identifier, data, is_fd=True, bitrate_switch=brs, error_state_indicator=esi, **more)
    if random.random() < 0.1:
        return message(micros, identifier, is_remote_frame=True, dlc=random.randrange(9), **more)
    if random.random() < 0.05:
        return message(micros, 0, is_error_frame=True, channel=channel)
    return message(micros, identifier, random.randbytes(random.randrange(9)), **more)


@pytest.fixture
def read() -> Callable[..., tuple[FrameBatch, list[str]]]:
    """All frames and warnings of a log, read in batches."""

    def read_all(path: Path, tz: str | None = "UTC", start: int | None = None) -> tuple[FrameBatch, list[str]]:
        with open_log(path, tz=tz, start=start) as log:
            return FrameBatch.concat(list(log)), log.warnings

    return read_all


@pytest.fixture
def gives_a_beginning(read: Any, frames: Any) -> Callable[[Path, bytes, int], None]:
    """A file cut anywhere from a byte on gives a beginning of its frames; before that it may be refused."""

    def check(path: Path, content: bytes, first: int) -> None:
        path.write_bytes(content)
        whole = frames(read(path)[0])
        counts = []
        for length in range(len(content)):
            path.write_bytes(content[:length])
            try:
                found = frames(read(path)[0])
            except ConfigError:
                assert length < first, length
                continue
            assert found == whole[: len(found)], length
            counts.append(len(found))
        assert counts == sorted(counts)
        assert counts[-1] >= len(whole) - 1

    return check


@pytest.fixture
def gives_a_cut_zips_beginning(read: Any, frames: Any) -> Callable[[Path, int, int], None]:
    """Half of a zipped file gives a beginning of its frames, of a number between two, and one warning."""

    def check(plain: Path, more_than: int, less_than: int) -> None:
        content, zipped = gzip.compress(plain.read_bytes()), plain.with_name(f"z{plain.suffix}.gz")
        zipped.write_bytes(content[: len(content) // 2])
        batch, (warning,) = read(zipped)
        found = frames(batch)
        assert more_than < len(found) < less_than
        assert found == frames(read(plain)[0])[: len(found)]
        assert warning.startswith(f"{zipped.name}: damaged at byte ")

    return check


@pytest.fixture
def survives(read: Any) -> Callable[[Path, bytes, int, int], None]:
    """Bytes overwritten at random: a file is read in part or refused, whatever it holds."""

    def check(path: Path, content: bytes, seed: int, changes: int) -> None:
        random, broken = Random(seed), bytearray(content)
        for _ in range(changes):
            broken[random.randrange(len(broken))] = random.randrange(256)
        path.write_bytes(broken)
        with contextlib.suppress(ConfigError):
            batch, _ = read(path)
            assert batch.dlc.max() <= batch.data.shape[1]
            assert batch.channel.max() < len(batch.channels)

    return check

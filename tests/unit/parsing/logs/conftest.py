"""Frames to write with other people's writers, and what a reader must make of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import can
import pytest

from duco_workbench.model import ERROR, EXTENDED, REMOTE, Flag, FrameBatch, bus_name

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

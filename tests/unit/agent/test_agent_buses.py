"""A bus of the machine on python-can: real virtual and multicast buses; what SocketCAN does on a socket of UDP."""

from __future__ import annotations

import os
import select
import socket
import struct
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import can
import numpy as np
import pytest
from agent_frames import T, eventually
from can.interfaces.socketcan import socketcan

from agent import peers
from agent.buses import CanBus
from agent.columns import Columns
from agent.kernel_queue import KernelQueue
from duco_workbench.model import ERROR, EXTENDED, REMOTE, Flag, FrameBatch

Make = Callable[..., CanBus]


@pytest.fixture
def bus() -> Iterator[Make]:
    """Makes buses that are open, and closes them."""
    made: list[CanBus] = []

    def make(*args: Any, **options: Any) -> CanBus:
        made.append(CanBus(*args, **options))
        made[-1].open()
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def virtual() -> Iterator[can.BusABC]:
    """The other end of a virtual bus of this test; ``its.channel_id`` names it."""
    with can.Bus(interface="virtual", channel=uuid.uuid4().hex) as other:
        yield other


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "RETRY_FIRST", 0.02)
    monkeypatch.setattr(peers, "RETRY_LAST", 0.08)


def up(bus: CanBus) -> CanBus:
    eventually(lambda: bus.state == "up")
    return bus


def collect(bus: CanBus, n: int) -> FrameBatch:
    parts = [FrameBatch.empty()]

    def enough() -> bool:
        parts.append(bus.read())
        return sum(map(len, parts)) >= n

    eventually(enough)
    return FrameBatch.concat(parts)


def micros() -> int:
    return time.time_ns() // 1000


def test_frames_come_with_their_time_id_length_flags_and_data(bus: Make, virtual: can.BusABC) -> None:
    ours = up(bus("engine", "virtual", virtual.channel_id))
    before = micros()
    virtual.send(can.Message(arbitration_id=0x18FEF100, data=b"\1\2\3\4\5\6\7\10"))
    virtual.send(can.Message(arbitration_id=0x123, is_extended_id=False, data=b"\xff"))
    virtual.send(can.Message(arbitration_id=0x7FF, is_extended_id=False, is_remote_frame=True, dlc=4))
    virtual.send(
        can.Message(arbitration_id=0x20, is_extended_id=False, is_error_frame=True, data=bytes([0, 4] + [0] * 6))
    )
    frames = collect(ours, 4)
    assert frames.channels == ("engine",)
    assert frames.arbitration_id.tolist() == [0x18FEF100 | EXTENDED, 0x123, 0x7FF | REMOTE, 0x20 | ERROR]
    assert frames.dlc.tolist() == [8, 1, 4, 8]
    assert frames.flags.tolist() == [0, 0, Flag.REMOTE, Flag.ERROR]
    assert frames.data.tolist() == [[1, 2, 3, 4, 5, 6, 7, 8], [255] + [0] * 7, [0] * 8, [0, 4] + [0] * 6]
    assert (frames.ts >= before - 1).all()
    assert (frames.ts <= micros()).all()
    assert (np.diff(frames.ts) >= 0).all()
    assert len(ours.read()) == 0


def test_can_fd_is_marked_and_whole(bus: Make, virtual: can.BusABC) -> None:
    ours = up(bus("can0", "virtual", virtual.channel_id))
    long = bytes(range(64))
    virtual.send(can.Message(arbitration_id=1, is_fd=True, bitrate_switch=True, error_state_indicator=True, data=long))
    virtual.send(can.Message(arbitration_id=2, data=b"\1"))
    frames = collect(ours, 2)
    assert frames.flags.tolist() == [Flag.FD | Flag.BRS | Flag.ESI, 0]
    assert frames.dlc.tolist() == [64, 1]
    assert frames.data[0].tobytes() == long
    assert frames.data[1].tolist() == [1] + [0] * 63


def test_what_this_computer_sent_is_marked() -> None:
    columns = Columns(2)
    assert columns.put(can.Message(arbitration_id=2, is_rx=False, data=b"\1"), T)
    assert columns.put(can.Message(arbitration_id=2, is_rx=True, data=b"\1"), T)
    assert not columns.put(can.Message(arbitration_id=3), T)
    assert columns.take()["flags"].tolist() == [Flag.TX, 0]


def test_frames_of_a_clock_of_its_own_keep_their_distances(bus: Make) -> None:
    channel = uuid.uuid4().hex
    with can.Bus(interface="virtual", channel=channel, preserve_timestamps=True) as other:
        ours = up(bus("can0", "virtual", channel))
        before = micros()
        for i in range(5):
            other.send(can.Message(timestamp=40.0 + i * 0.000125, arbitration_id=i, data=b""))
        frames = collect(ours, 5)
    assert np.diff(frames.ts).tolist() == [125] * 4
    assert before <= frames.ts[0] <= micros()


def test_what_finds_no_room_is_counted(bus: Make, virtual: can.BusABC) -> None:
    ours = up(bus("can0", "virtual", virtual.channel_id, capacity=100))
    for i in range(250):
        virtual.send(can.Message(arbitration_id=i, data=b"\1"))
    eventually(lambda: ours.dropped == 150)
    assert (ours.read().arbitration_id & 0x1FFF_FFFF).tolist() == list(range(100))
    virtual.send(can.Message(arbitration_id=999, data=b"\1"))
    assert len(collect(ours, 1)) == 1  # there is room again
    assert ours.dropped == 150


class Flaky(can.BusABC):
    """A virtual bus in an adapter that a test plugs and unplugs."""

    plugged = True

    def __init__(self, channel: Any) -> None:
        self.inner = can.Bus(interface="virtual", channel=channel)
        self.channel_info = "flaky"
        super().__init__(channel)

    def _recv_internal(self, timeout: float | None) -> tuple[can.Message | None, bool]:
        if not type(self).plugged:
            raise can.CanOperationError("Error receiving: Network is down", 100)
        return self.inner.recv(timeout), True

    def send(self, msg: can.Message, timeout: float | None = None) -> None: ...

    def shutdown(self) -> None:
        super().shutdown()
        self.inner.shutdown()


@pytest.mark.usefixtures("quick")
def test_a_bus_that_goes_away_says_so_and_returns(bus: Make, virtual: can.BusABC) -> None:
    class Adapter(Flaky): ...

    def opener(interface: str, channel: Any) -> can.BusABC:
        if not Adapter.plugged:
            raise OSError(19, "No such device")
        return Adapter(channel)

    ours = up(bus("can0", "pcan", virtual.channel_id, opener=opener))
    virtual.send(can.Message(arbitration_id=1, data=b""))
    assert len(collect(ours, 1)) == 1
    Adapter.plugged = False
    eventually(lambda: "Network is down" in ours.state or "No such device" in ours.state)
    eventually(lambda: "No such device" in ours.state)
    assert ours.state.startswith("can0: pcan ")
    assert "tried again" in ours.state
    assert len(ours.read()) == 0
    Adapter.plugged = True
    up(ours)
    virtual.send(can.Message(arbitration_id=2, data=b""))
    assert (collect(ours, 1).arbitration_id & 0xFF).tolist() == [2]


@pytest.mark.usefixtures("quick")
def test_it_is_tried_for_ever_in_growing_pauses(bus: Make) -> None:
    tries: list[float] = []

    def opener(**arguments: Any) -> can.BusABC:
        tries.append(time.monotonic())
        raise RuntimeError

    ours = bus("can0", "vector", 0, {"bitrate": 250_000}, opener=opener)
    eventually(lambda: len(tries) >= 6)
    gaps = np.diff(tries[:6])
    assert (gaps >= [0.02, 0.04, 0.08, 0.08, 0.08]).all()
    assert "RuntimeError" in ours.state


def test_options_go_to_python_can_as_they_are(bus: Make) -> None:
    seen: list[dict[str, Any]] = []

    def opener(**arguments: Any) -> can.BusABC:
        seen.append(arguments)
        raise OSError

    bus("can0", "pcan", "PCAN_USBBUS1", {"bitrate": 250_000, "fd": True}, opener=opener)
    eventually(lambda: seen)
    assert seen[0] == {"interface": "pcan", "channel": "PCAN_USBBUS1", "bitrate": 250_000, "fd": True}


@pytest.mark.parametrize(("interface", "channel"), [("socketcan", "nocan9"), ("no_such_interface", 0)])
def test_what_this_computer_does_not_have_is_a_state_not_an_error(bus: Make, interface: str, channel: Any) -> None:
    ours = bus("can0", interface, channel)
    eventually(lambda: f"{interface} {channel} is away" in ours.state)
    assert len(ours.read()) == 0
    assert not ours.ended


def test_close_ends_the_thread_and_open_begins_again(virtual: can.BusABC) -> None:
    ours = CanBus("can0", "virtual", virtual.channel_id)
    for i in range(2):
        ours.open()
        up(ours)
        virtual.send(can.Message(arbitration_id=i, data=b""))
        assert len(collect(ours, 1)) == 1
        ours.close()
        assert ours.state == "can0: closed"
    virtual.send(can.Message(arbitration_id=9, data=b""))
    assert len(ours.read()) == 0


class SocketCanOnUdp(can.BusABC):
    """python-can's own way of receiving from SocketCAN, on a socket of UDP that carries ``struct can_frame``."""

    def __init__(self, **arguments: Any) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.14.2", 0))
        self.socket.setsockopt(socket.SOL_SOCKET, socketcan.constants.SO_TIMESTAMPNS, 1)
        self.channel_info = "udp"
        super().__init__("udp")

    def _recv_internal(self, timeout: float | None) -> tuple[can.Message | None, bool]:
        ready, _, _ = select.select([self.socket], [], [], timeout)
        return (socketcan.capture_message(self.socket), True) if ready else (None, False)

    def fileno(self) -> int:
        return self.socket.fileno()

    def send(self, msg: can.Message, timeout: float | None = None) -> None: ...

    def shutdown(self) -> None:
        super().shutdown()
        self.socket.close()


def kernel_stamps(bus: can.BusABC, sender: socket.socket) -> bool:
    """Linux turns the stamping of arrivals on a moment after it was asked to; until then it stamps when read."""
    sender.send(frame(0, b""))
    time.sleep(0.02)
    message = bus.recv()
    return message is not None and message.timestamp < time.time() - 0.01


@pytest.fixture
def udp() -> Iterator[tuple[SocketCanOnUdp, socket.socket]]:
    """A bus, and what sends to it."""
    bus = SocketCanOnUdp()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect(bus.socket.getsockname())
        eventually(lambda: kernel_stamps(bus, sender))
        yield bus, sender
    bus.shutdown()


def frame(number: int, data: bytes) -> bytes:
    return struct.pack("<IB3x8s", number, len(data), data)


def test_frames_of_socketcan_have_the_time_of_the_kernel(bus: Make, udp: tuple[SocketCanOnUdp, socket.socket]) -> None:
    its, sender = udp
    before = micros()
    for number in (0x98FEF100, 0x123, 0x40000123, 0x20000004):
        sender.send(frame(number, b"\1\2\3\4"))
    after = micros()
    ours = bus("can0", "socketcan", "can0", opener=lambda **_: its)
    frames = collect(ours, 4)
    assert frames.arbitration_id.tolist() == [0x98FEF100, 0x123, 0x40000123, 0x20000004]
    assert frames.flags.tolist() == [0, 0, Flag.REMOTE, Flag.ERROR]
    assert (frames.ts >= before - 1).all()
    assert (frames.ts <= after + 1).all()  # not when they were read


def test_the_kernel_s_queue_is_made_larger_and_says_what_it_dropped(
    udp: tuple[SocketCanOnUdp, socket.socket],
) -> None:
    its, sender = udp
    size = its.socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    queue = KernelQueue(its.fileno())
    assert its.socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) >= size
    its.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    for _ in range(300):
        sender.send(frame(1, b""))
    received = 0
    while its.recv(0) is not None:
        received += 1
    assert 0 < received < 300
    assert queue.dropped() == 300 - received
    queue.close()


def test_what_the_kernel_dropped_counts_over_reopening(bus: Make, quick: None) -> None:
    opened: list[SocketCanOnUdp] = []

    class Full(SocketCanOnUdp):
        """A socket with a small queue, which runs over before anybody reads."""

        def _recv_internal(self, timeout: float | None) -> tuple[can.Message | None, bool]:
            if not hasattr(self, "flooded"):
                self.flooded = True
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                    for _ in range(300):
                        sender.sendto(frame(1, b""), self.socket.getsockname())
            if (message := super()._recv_internal(0)[0]) is None and len(opened) < 3:
                raise can.CanOperationError("gone")
            return message, True

    def opener(**_: Any) -> can.BusABC:
        opened.append(Full())
        return opened[-1]

    ours = bus("can0", "socketcan", "can0", opener=opener)
    up(ours)
    received: list[int] = []

    def all_are_told_of() -> bool:
        received.append(len(ours.read()))
        return ours.dropped + sum(received) == 900

    eventually(all_are_told_of)
    assert 0 < sum(received) < 900


def test_what_is_no_socket_has_dropped_nothing() -> None:
    read, write = os.pipe()
    for number in (read, -1):
        queue = KernelQueue(number)
        assert queue.dropped() == 0
        queue.close()
    os.close(read)
    os.close(write)


MULTICAST = {"port": 40_000 + os.getpid() % 20_000, "hop_limit": 0}  # hop 0: it does not leave this computer
VCAN = [("socketcan", "vcan0", {})] if Path("/sys/class/net/vcan0").exists() else []


@pytest.mark.parametrize(("interface", "channel", "options"), [("udp_multicast", "239.74.163.14", MULTICAST), *VCAN])
def test_frames_of_another_process_s_bus(bus: Make, interface: str, channel: str, options: dict[str, Any]) -> None:
    ours = up(bus("can0", interface, channel, options))
    with can.Bus(interface=interface, channel=channel, **options) as other:
        for i in range(20):
            other.send(can.Message(arbitration_id=0x18FEF100 + i, data=bytes([i] * 8)))
        frames = collect(ours, 20)
    assert frames.arbitration_id.tolist() == [0x98FEF100 + i for i in range(20)]
    assert frames.data[:, 0].tolist() == list(range(20))
    assert (np.diff(frames.ts) >= 0).all()

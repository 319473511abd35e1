"""What the agent tells of its computer, its buses and itself."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import replace

import msgspec
import numpy as np
import psutil
import pytest
from agent_frames import Clock, T, batch

from agent import performance
from agent.bus_load import BusLoad
from agent.drafts import Draft
from agent.performance import Fields, Performance
from duco_workbench import wire
from duco_workbench.model import EXTENDED, SECOND, Flag, FrameBatch


def test_the_computer_is_told_of_as_the_system_tells() -> None:
    draft = Performance(clock=Clock(), disk="/").draft()
    assert (draft.msg_type, draft.ts) == ("client_raw_data", T)
    fields = draft.payload.fields
    assert msgspec.convert(msgspec.to_builtins(draft.payload), wire.Client) == draft.payload
    assert fields["memory_mb"] == pytest.approx(psutil.Process().memory_info().rss / 2**20, rel=0.2)
    assert fields["disk_free_mb"] == pytest.approx(psutil.disk_usage("/").free / 2**20, rel=0.2)
    assert 0 < fields["system_memory_free_mb"] < psutil.virtual_memory().total / 2**20
    assert fields["uptime_s"] < fields["system_uptime_s"] <= time.clock_gettime(time.CLOCK_BOOTTIME) + 1
    assert fields["load_1min"] == pytest.approx(os.getloadavg()[0], abs=2)


def test_the_process_s_work_shows() -> None:
    collector = Performance()
    end = time.process_time() + 0.3
    while time.process_time() < end:
        pass
    assert collector.draft().payload.fields["cpu_percent"] > 0


def test_others_add_their_figures_and_hear_how_long_it_was() -> None:
    monotonic, spans = Clock(0), list[int]()

    def queue(span: int) -> Fields:
        spans.append(span)
        return {"queue_messages": 7, "online": True, "software": "1.2"}

    def broken(span: int) -> Fields:
        raise ZeroDivisionError

    collector = Performance([broken, queue], monotonic=monotonic)
    for seconds in (10, 30):
        monotonic.at += seconds * SECOND
        fields = collector.draft().payload.fields
        assert (fields["queue_messages"], fields["online"], fields["software"]) == (7, True, "1.2")
        assert "memory_mb" in fields
    assert spans == [10 * SECOND, 30 * SECOND]


def test_what_the_platform_does_not_tell_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(psutil, "sensors_temperatures", raising=False)
    fields = Performance(disk="/no/such/folder").draft().payload.fields
    assert "board_temperature_degC" not in fields
    assert "disk_free_mb" not in fields
    assert "memory_mb" in fields


def test_the_hottest_sensor_is_the_board_s_temperature(monkeypatch: pytest.MonkeyPatch) -> None:
    def sensors() -> dict[str, list[object]]:
        shwtemp = psutil._ntuples.shwtemp if hasattr(psutil, "_ntuples") else psutil._common.shwtemp
        return {"cpu": [shwtemp("a", 41.2, None, None), shwtemp("b", 57.8, None, None)], "disk": []}

    monkeypatch.setattr(psutil, "sensors_temperatures", sensors, raising=False)
    assert performance.hottest() == 57.8


async def test_it_tells_in_its_interval() -> None:
    drafts: list[Draft] = []
    task = asyncio.create_task(Performance(interval_s=0.01).run(drafts.append))
    async with asyncio.timeout(30):
        while len(drafts) < 3:
            await asyncio.sleep(0.005)
    task.cancel()
    await asyncio.wait([task])


def frames(n: int, number: int, dlc: int, channel: str = "can0", flags: int = 0) -> FrameBatch:
    return replace(
        batch(*((i, number, bytes(dlc)) for i in range(n)), channel=channel), flags=np.full(n, flags, np.uint8)
    )


def test_the_load_of_a_bus_is_near_what_its_bits_take() -> None:
    """A full bus of 8-byte extended frames at 500 kbit/s is 3,247 to 3,906 frames a second: all stuffed, or none."""
    load = BusLoad({"can0": 500_000})
    assert load.on_frames(frames(7000, 0x18FEF100 | EXTENDED, 8)) == []
    fields = load.fields(2 * SECOND)
    assert fields["can0_frames_per_s"] == 3500
    assert 100 * 3500 / 3906 < fields["can0_load_percent"] < 100 * 3500 / 3247


def test_buses_count_by_themselves_and_from_one_call_to_the_next() -> None:
    load = BusLoad({"can0": 500_000, "can1": 0})
    load.on_frames(FrameBatch.concat([frames(10, 0x123, 8), frames(30, 0x123, 8, "can2")]))
    load.on_frames(frames(10, 0x123, 0))
    first, second = load.fields(SECOND), load.fields(SECOND)
    assert (first["can0_frames_per_s"], first["can1_frames_per_s"], first["can2_frames_per_s"]) == (20, 0, 30)
    assert [name for name in first if "load" in name] == ["can0_load_percent"]  # the bitrate of the others is not known
    assert set(second.values()) == {0}
    assert second.keys() == first.keys()


def test_remote_and_error_frames_have_no_data_on_the_wire() -> None:
    def bits(flags: int, dlc: int) -> float:
        load = BusLoad({"can0": 10_000})
        load.on_frames(frames(10, 0x123, dlc, flags=flags))
        return load.fields(SECOND)["can0_load_percent"]

    assert bits(Flag.REMOTE, 8) == bits(0, 0)
    assert bits(Flag.ERROR, 8) == 0

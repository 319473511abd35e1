"""Collecting a bus against python-can's own logger, alternating: processor time a frame and the ratio.   make bench

Both read the same frames from python-can's virtual bus, where they wait when it begins, and put them on disk: ours
through watchers, envelopes and the queue's transactions; python-can through its Notifier and BLFWriter.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import can

from agent.batch import Batch
from agent.bus_load import BusLoad
from agent.buses import CanBus
from agent.dtcs import DtcWatcher
from agent.gnss import GnssFrames
from agent.queue import Queue, Stamp
from duco_workbench.local.simulation import SimulatedMachine
from duco_workbench.model import SECOND, Clock

START = 1_760_000_400 * SECOND
ROUNDS, CHANNEL = 5, "bench"
ROUND_S = 0.05  # as the agent's
FRAMES = 40_000


def messages() -> list[can.Message]:
    frames = SimulatedMachine("bench").frames(START, START + 300 * SECOND).of("can0")
    rows = zip(frames.arbitration_id.tolist(), frames.dlc.tolist(), frames.data, strict=True)
    return [
        can.Message(arbitration_id=i & 0x1FFFFFFF, is_extended_id=bool(i >> 31), data=data[:n].tobytes())
        for i, n, data in list(rows)[:FRAMES]
    ]


def by_us(folder: Path, count: int, opened: can.BusABC) -> None:
    bus = CanBus("can0", "virtual", CHANNEL, opener=lambda **_: opened)
    watchers = [GnssFrames(), DtcWatcher(), BusLoad({"can0": 250_000})]
    batch, queue, got = Batch("bench", 10, 1), Queue(folder / "queue.db", "bench", "boot"), 0
    queue.open(START)
    bus.open()
    while got < count:
        time.sleep(ROUND_S)
        frames = bus.read()
        got += len(frames)
        for watcher in watchers:
            watcher.on_frames(frames)
        batch.add(frames, time.time_ns() // 1000)
        if drafts := batch.ready(time.time_ns() // 1000):
            queue.put(drafts, Stamp(Clock("ntp", 0.0)))
    queue.put(batch.finish(), Stamp(Clock("ntp", 0.0)))
    bus.close()
    queue.close()


def by_python_can(folder: Path, count: int, opened: can.BusABC) -> None:
    seen = Counted()
    notifier = can.Notifier(opened, [can.BLFWriter(str(folder / "log.blf")), seen], timeout=0.25)
    while seen.number < count:
        time.sleep(ROUND_S)
    notifier.stop()  # closes the log, too
    opened.shutdown()


class Counted(can.Listener):
    number = 0

    def on_message_received(self, message: can.Message) -> None:
        self.number += 1


def seconds(run: Callable[[Path, int, can.BusABC], None], sent: list[can.Message]) -> float:
    """Processor time of the whole process; the frames wait on the bus when it begins."""
    with tempfile.TemporaryDirectory() as folder, can.Bus(CHANNEL, interface="virtual") as sender:
        receiver = can.Bus(CHANNEL, interface="virtual")
        for message in sent:
            sender.send(message)
        begin = time.process_time()
        run(Path(folder), len(sent), receiver)
        return time.process_time() - begin


def main() -> None:
    sent = messages()
    runs = {"python-can": by_python_can, "ours": by_us}
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            times[name].append(seconds(run, sent) / len(sent) * 1e6)
    print(f"{len(sent):,} frames; microseconds of processor a frame, {ROUNDS} alternating rounds")
    for name, taken in times.items():
        low, middle, high = statistics.quantiles(taken, n=4)
        print(f"  {name:10} median {middle:9.1f}   quartiles {low:9.1f} {high:9.1f}")
    ratios = [theirs / ours for theirs, ours in zip(times["python-can"], times["ours"], strict=True)]
    print(f"  ratio      median {statistics.median(ratios):9.1f}")


if __name__ == "__main__":
    main()

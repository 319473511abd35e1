"""The parts that the configuration asks for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from .bus_load import BusLoad
from .buses import CanBus
from .config import Bus, Config
from .drafts import Collector, FrameSource, FrameWatcher
from .dtcs import DtcWatcher
from .gnss import GnssFrames, OnTime
from .gpsd import Gpsd
from .intake import Intake
from .key import AlwaysOn, Key, KeyFile, Traffic
from .log_file import LogFile
from .performance import Performance, Probe


def source(bus: Bus) -> FrameSource:
    if bus.interface == "file":
        return LogFile(bus.name, str(bus.channel), speed=bus.speed, repeat=bus.repeat, options=bus.options)
    return CanBus(bus.name, bus.interface, bus.channel, bus.options)


def sources(config: Config) -> list[FrameSource]:
    return [source(bus) for bus in config.bus]


def watchers(config: Config, on_time: OnTime | None) -> list[FrameWatcher]:
    """``on_time``: hears satellites' time and the system clock's (microseconds)."""
    found: list[FrameWatcher] = []
    if config.gnss.source == "can":
        found.append(GnssFrames(interval_s=config.gnss.interval_s, on_time=on_time))
    if config.dtc.enabled:
        found.append(DtcWatcher(config.dtc.repeat_s))
    if config.performance.enabled:
        found.append(BusLoad({bus.name: int(bus.options.get("bitrate", 0)) for bus in config.bus}))
    return found


def collectors(
    config: Config,
    watching: Sequence[FrameWatcher],
    probes: Sequence[Probe],
    on_time: OnTime | None,
    is_full: Callable[[], bool],
) -> list[Collector]:
    """``probes``: what the agent knows of itself, for the performance message. ``is_full``: as :class:`Intake`."""
    found: list[Collector] = []
    if config.gnss.source == "gpsd":
        found.append(Gpsd(config.gnss.host, config.gnss.port, config.gnss.interval_s, on_time))
    if config.performance.enabled:
        loads = [watcher.fields for watcher in watching if isinstance(watcher, BusLoad)]
        disk = str(Path(config.queue.path).resolve().parent)
        found.append(Performance([*loads, *probes], config.performance.interval_s, disk=disk))
    if config.intake.port:
        found.append(Intake(config.intake.host, config.intake.port, is_full=is_full))
    return found


def key(config: Config) -> tuple[Key, list[FrameWatcher]]:
    """The key, and what must see the buses' frames even while it is off."""
    if config.key.source == "file":
        return Key(KeyFile(config.key.path, config.key.on)), []
    if config.key.source == "traffic":
        traffic = Traffic(config.key.off_after_s)
        return Key(traffic), [traffic]
    return Key(AlwaysOn()), []

"""Outages: what is done to the plant, a row each; what must be seen, and what was seen."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from faults import guests, verdict
from faults.plant import LOGS, PIPELINES, Plant, wait_for
from faults.proxy import BLACK_HOLE, CUT, HALF_OPEN, PASS, Mode, slow
from faults.watch import Watch, now

SETTLE_S = 8.0  # of ordinary traffic before, so that growth is counted from what is ordinary
MOST_GROWTH_MB, MOST_DRAIN_S, DRAIN_S, MOST_MB, P99_S = 64.0, 60.0, 10.0, 512.0, 2.0
LONGEST_WAIT_S = 60.0  # of an agent between two tries to reach the hub
BACKLOG_S = 900.0  # a backlog that is not stored by then is not waited for

Facts = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Outage:
    """``do`` returns when the fault is over, with facts of its own; ``check``: what of the report is not as it must be.

    uses: the links that must go through a proxy, and ``disk`` where the store's must be small.
    """

    name: str
    must: str
    do: Callable[[Plant, Watch, float], Facts]
    check: Callable[[Facts], list[str]]
    seconds: float = 60
    uses: tuple[str, ...] = ()


# --- what is done


def stopped(part: str) -> Callable[[Plant, Watch, float], Facts]:
    def do(plant: Plant, watch: Watch, seconds: float) -> Facts:
        name = LOGS[plant.log][0] if part == "log" else part
        code = plant.stop(name)
        time.sleep(seconds)
        plant.start(name)
        return {"exit": code}

    return do


def link(name: str, mode: Mode) -> Callable[[Plant, Watch, float], Facts]:
    def do(plant: Plant, watch: Watch, seconds: float) -> Facts:
        plant.links[name].set(mode)
        time.sleep(seconds)
        plant.links[name].set(PASS)
        return {}

    return do


def hub_switch(fault: str) -> Callable[[Plant, Watch, float], Facts]:
    def do(plant: Plant, watch: Watch, seconds: float) -> Facts:
        plant.hub_fault(fault, seconds)
        if fault == "refuse":
            plant.hub_fault("kick", 0)
        time.sleep(seconds)
        return {}

    return do


def flushed(plant: Plant, watch: Watch, seconds: float) -> Facts:
    """Every second."""
    with redis.Redis.from_url(plant.settings.live_url) as live:
        for _ in range(int(seconds)):
            live.flushall()
            time.sleep(1)
    return {}


def full_disk(plant: Plant, watch: Watch, seconds: float) -> Facts:
    """All but 8 MB of the store's disk are taken, then given back."""
    filler = plant.settings.data / "store" / "filler"
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(filler).free - (8 << 20))
    time.sleep(seconds)
    filler.unlink()
    return {}


def terminated(plant: Plant, watch: Watch, seconds: float) -> Facts:
    """Each pipeline process by SIGTERM; their merges stopped, so that a row written twice is there twice."""
    verdict.command(plant, "SYSTEM STOP MERGES duco.raw_data_cache_store")
    before = verdict.written_twice(plant)
    found: Facts = {"stop_s": {}, "exit": {}}
    for part in PIPELINES:
        begun = time.monotonic()
        found["exit"][part] = plant.stop(part)
        found["stop_s"][part] = round(time.monotonic() - begun, 1)
        plant.start(part)
        wait_for(watch.is_current, MOST_DRAIN_S)
    found["redelivered"] = verdict.written_twice(plant) - before
    verdict.command(plant, "SYSTEM START MERGES duco.raw_data_cache_store")
    return found


def offline(plant: Plant, watch: Watch, seconds: float) -> Facts:
    """A machine comes back with ``seconds`` of messages at 1 Hz, while the others and it go on.

    Its queue has room for all of them, and some: an agent as it is delivered keeps the newest 10,000 batches.
    """
    name, folder = f"offline-{int(time.time())}", plant.settings.data / "offline"
    machine = guests.collect_offline(plant, name, folder, int(seconds))
    has = f"startsWith(message_id, '{name}:')"
    before, begun = watch.ages.p99(time.monotonic() - 30), time.monotonic()
    with guests.returned(plant, machine, folder):
        took = wait_for(lambda: verdict.count(plant, has) >= seconds, BACKLOG_S, every=2)
        p99 = watch.ages.p99(begun)
        wait_for(lambda: guests.depth(plant, machine) < 10, BACKLOG_S, every=2)  # it went on collecting meanwhile
        wait_for(watch.is_current, MOST_DRAIN_S)
    rate = round(seconds / took, 1) if took else 0.0  # stored a second, of a machine that sends one a second
    return {"backlog": int(seconds), "backlog_s": took and round(took), "rate": rate, "p99_before": before, "p99": p99}


def burst(plant: Plant, watch: Watch, seconds: float) -> Facts:
    """A hundred times what the plant's machines send."""
    names = [f"burst-{i}-{int(time.time())}" for i in range(3)]
    send = guests.burst(plant, names, 100.0 * len(plant.machines), seconds)
    begun = time.monotonic()
    rate = send()
    return {"rate": round(rate), "p99": watch.ages.p99(begun)}


# --- what must be seen


def drained(absent_s: float = 0.0) -> Callable[[Facts], list[str]]:
    """absent_s: so long after the fault its agents may still wait before they try again."""

    def check(facts: Facts) -> list[str]:
        wrong = [f"{part} grew by {mb} MB" for part, mb in facts["growth_mb"].items() if mb > MOST_GROWTH_MB]
        if facts["drain_s"] is None or facts["drain_s"] > MOST_DRAIN_S + absent_s:
            wrong.append(f"drained in {facts['drain_s']} s")
        return wrong

    return check


def unhurt(facts: Facts) -> list[str]:
    """History never waited."""
    late = facts["oldest_s"] > 10
    return drained()(facts) + ([f"history was {facts['oldest_s']} s behind"] if late else [])


def clean_stop(facts: Facts) -> list[str]:
    wrong = [f"{part} exited with {code}" for part, code in facts["exit"].items() if code]
    wrong += [f"{part} took {s} s" for part, s in facts["stop_s"].items() if s > DRAIN_S]
    return wrong + ([f"{facts['redelivered']} rows written twice"] if facts["redelivered"] else [])


def backlog(facts: Facts) -> list[str]:
    hurt = max(P99_S, 2 * (facts["p99_before"] or 0))
    wrong = drained()(facts) + ([f"{facts['rate']} times the live rate"] if facts["rate"] < 2 else [])
    return wrong + ([f"live p99 {facts['p99']:.1f} s"] if (facts["p99"] or 0) > hurt else [])


def bounded(facts: Facts) -> list[str]:
    wrong = [f"{part} took {mb} MB" for part, mb in facts["peak_mb"].items() if mb > MOST_MB]
    if facts["drain_s"] is None or (facts["p99_after"] or P99_S) >= P99_S:
        wrong.append(f"drained in {facts['drain_s']} s, live p99 {facts['p99_after']} s after")
    return wrong


_STORED = "nothing lost or doubled; memory +64 MB at most; drained in 60 s"
_RETURNED = "nothing lost or doubled; memory +64 MB at most; drained in 60 s once agents are back, who wait up to 60 s"
_HISTORY = "history goes on as if nothing were; live values are back after"
OUTAGES = (
    Outage("store down", _STORED, stopped("store"), drained()),
    Outage("store link cut", _STORED, link("store", CUT), drained(), uses=("store",)),
    Outage("store link half-open", _STORED, link("store", HALF_OPEN), drained(), uses=("store",)),
    Outage("store link black hole", _STORED, link("store", BLACK_HOLE), drained(), uses=("store",)),
    Outage("store 10 s slow", _STORED, link("store", slow(latency=10)), drained(), uses=("store",)),
    Outage("store disk full", _STORED, full_disk, drained(), uses=("disk",)),
    Outage("log down", _STORED, stopped("log"), drained()),
    Outage("log link cut", _STORED, link("log", CUT), drained(), uses=("log",)),
    Outage("log link half-open", _STORED, link("log", HALF_OPEN), drained(), uses=("log",)),
    Outage("log link black hole", _STORED, link("log", BLACK_HOLE), drained(), uses=("log",)),
    Outage("live flushed", _HISTORY, flushed, unhurt, 20),
    Outage("live down", _HISTORY, stopped("live"), unhurt),
    Outage("live link cut", _HISTORY, link("live", CUT), unhurt, uses=("live",)),
    Outage("live link half-open", _HISTORY, link("live", HALF_OPEN), unhurt, uses=("live",)),
    Outage("live link black hole", _HISTORY, link("live", BLACK_HOLE), unhurt, uses=("live",)),
    Outage("machine links black hole", _RETURNED, hub_switch("black_hole"), drained(LONGEST_WAIT_S), 120),
    Outage("hub refuses", _RETURNED, hub_switch("refuse"), drained(LONGEST_WAIT_S)),
    Outage("hub down", _RETURNED, stopped("hub"), drained(LONGEST_WAIT_S)),
    Outage("SIGTERM", "drained in 10 s, exit 0, no row written twice", terminated, clean_stop),
    Outage("machine offline 3 h", "backlog at twice the live rate or more, live p99 unhurt", offline, backlog, 10_800),
    Outage("burst of 100 times", "512 MB a process at most, drained, live p99 under 2 s after", burst, bounded),
)


# --- doing it


def run(plant: Plant, watch: Watch, outage: Outage, seconds: float) -> Facts:
    """The fault, the drain, the judgement; ``wrong`` is empty when all is as it must be. The machines go on after."""
    moment = now()
    wait_for(lambda: watch.has_row_after(moment) and watch.is_current(), 60)
    time.sleep(SETTLE_S)
    logs, begun = _logs(plant), time.monotonic()
    facts = outage.do(plant, watch, seconds)
    ended = time.monotonic()
    drain = wait_for(watch.is_current, 4 * MOST_DRAIN_S)
    oldest = watch.oldest(begun, time.monotonic())
    time.sleep(SETTLE_S)
    facts = {
        "name": outage.name,
        "load": os.getloadavg()[0],
        "seconds": seconds,
        **facts,
        "drain_s": drain and round(drain, 1),
        "oldest_s": round(oldest, 1),
        "growth_mb": watch.growth(begun, ended + (drain or 0)),
        "peak_mb": watch.peak(begun),
        "p99_after": watch.ages.p99(time.monotonic() - SETTLE_S),
        "said": _said(plant, logs),
        "verdict": verdict.judge(plant),
    }
    plant.start("machines")
    return {**facts, "wrong": [*outage.check(facts), *map(str, verdict.faults_of(facts["verdict"]).items())]}


def unseen(outage: Outage, seconds: float, error: Exception) -> Facts:
    """The report of one that ended with an error of ours, or of a part that does not come up again."""
    return {"name": outage.name, "seconds": seconds, "wrong": [f"not seen to its end: {error}"], "verdict": {}}


def _logs(plant: Plant) -> dict[str, int]:
    return {part: (plant.settings.data / "logs" / f"{part}.log").stat().st_size for part in PIPELINES}


def _said(plant: Plant, since: dict[str, int]) -> dict[str, str]:
    """The last warning of each pipeline process since then."""
    found = {}
    for part, size in since.items():
        text = (plant.settings.data / "logs" / f"{part}.log").read_bytes()[size:].decode(errors="replace")
        if warnings := re.findall(r"(?:WARNING|ERROR) \S+ (.*)", text):
            found[part] = warnings[-1][:300]
    return found


@contextmanager
def small_disk(folder: Path, megabytes: int = 512) -> Iterator[None]:
    """A file system in memory at ``folder``; only root may mount it."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)

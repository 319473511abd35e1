"""`duco dead-letters replay`, killed at random points and run again: nothing lost or doubled, every letter closed."""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import redis
from pipes_kit import DBC, running_pipes
from records import T, can_record, frames
from stack_kit import PATIENCE_S

from duco_workbench.health.audit import Asked, audit
from duco_workbench.local.store.process import StoreProcess
from duco_workbench.log_address import LogAddress
from duco_workbench.model import SECOND, Binding, Manifest
from duco_workbench.parsing.logic import Knowledge, ManifestLogic
from duco_workbench.redis_log import stream_key
from duco_workbench.schema import migrate
from duco_workbench.settings import Settings
from duco_workbench.sinks.clickhouse import connect
from duco_workbench.topics import PARTITIONS

MACHINES = ("m1", "m2")
DEVICES = frozenset(("demo", name) for name in MACHINES)
MANIFESTS = tuple(Manifest(7, "demo", name, (Binding("*", "x", 1, DBC),)) for name in MACHINES)
LETTERS = 1200
KILLS, SEED = 2, 5  # while nobody judges, and as many while the flow runs
MOMENT_S = 0.03  # a page is put back in one go, and the next is there after some 20 ms
REPLAY = "from duco_workbench import cli, dead_letters; dead_letters.PAGE = 10; cli.main()"  # slow enough to be hit
ALL_GOOD = r"([\d,]+) replayed: \1 good now\n|no letter was replayed: none that is open fits\n"
OPEN = "SELECT toInt64(count()) FROM dead_letters_view"


class Command:
    """The replay as a process of its own, in sight of the raw log that it writes to."""

    def __init__(self, settings: Settings) -> None:
        self._raw = redis.Redis.from_url(settings.log_url)
        self._before = self._written()
        told = {"DUCO_LOG_URL": settings.log_url, "DUCO_STORE_URL": settings.store_url}
        words = ["dead-letters", "replay", "--data", str(settings.data), "--timeout", str(PATIENCE_S)]
        command = [sys.executable, "-c", REPLAY, *words]
        self._process = subprocess.Popen(command, env=os.environ | told, stdout=subprocess.PIPE, text=True)

    def _written(self) -> int:
        keys = [stream_key("raw", p) for p in range(PARTITIONS)]
        return sum(self._raw.xinfo_stream(key)["entries-added"] for key in keys if self._raw.exists(key))

    def killed(self, chance: random.Random, letters: int) -> bool:
        """Kill it a moment after it has put back up to a quarter of ``letters``. Returns: whether some were left."""
        point, moment_s = chance.randint(1, letters // 4), chance.uniform(0, MOMENT_S)
        while self._written() - self._before < point:
            assert self._process.poll() is None, "it ended before it was killed"
            time.sleep(0.0005)
        time.sleep(moment_s)
        self._process.kill()
        return self._process.wait() == -signal.SIGKILL and self._written() - self._before < letters

    def said(self) -> str:
        """What it says at its end."""
        out, _ = self._process.communicate(timeout=2 * PATIENCE_S)
        assert self._process.returncode == 0
        return out


async def test_killed_at_random_points_and_run_again(
    on_redis: LogAddress, valkey_url: str, store: StoreProcess, tmp_path: Path
) -> None:
    """At first nobody judges what comes back, so that letters are replayed several times; then the flow closes some."""
    settings = Settings(log_url=valkey_url, store_url=f"http://127.0.0.1:{store.port}/killed", data=tmp_path)
    migrate(connect(settings.store_url))
    logic, chance = ManifestLogic(Knowledge(1, DEVICES)), random.Random(SEED)
    async with running_pipes(on_redis, valkey_url, settings.store_url, logic) as pipes:
        numbers = range(1, LETTERS // len(MACHINES) + 1)
        batches = [(seq, name, frames(10, T + seq * SECOND)) for seq in numbers for name in MACHINES]
        await pipes.send(*(can_record(seq, batch, chassis_id=name) for seq, name, batch in batches))
        await pipes.idle()
    assert pipes.rows(OPEN) == [(LETTERS,)]
    logic.use(Knowledge(7, DEVICES, MANIFESTS))
    broken_off = [await asyncio.to_thread(Command(settings).killed, chance, LETTERS) for _ in range(KILLS)]
    async with running_pipes(on_redis, valkey_url, settings.store_url, logic) as pipes:
        for _ in range(KILLS):
            await pipes.idle()
            ((still_open,),) = pipes.rows(OPEN)
            if still_open >= 4:
                broken_off.append(await asyncio.to_thread(Command(settings).killed, chance, still_open))
        assert re.fullmatch(ALL_GOOD, await asyncio.to_thread(Command(settings).said))
        await pipes.idle()
    assert sum(broken_off) >= KILLS  # a computer that pauses just then kills too late, which is no harm but no test
    assert pipes.rows(OPEN) == [(0,)]
    found = await asyncio.to_thread(audit, settings, Asked(settled=True))
    assert found.holds
    assert [line.account.stored for line in found.lines] == [len(numbers)] * len(MACHINES)
    assert pipes.rows("SELECT uniqExact(chassis_id, toStartOfSecond(ts)) FROM samples") == [(LETTERS,)]

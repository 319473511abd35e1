"""The agent's process killed again and again, under load and while the hub is away: every number is accounted for."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from hub_kit import free_address, running_hub, until

from agent.queue import Queue, Stamp
from agent.room import Limits
from duco_workbench import wire
from duco_workbench.local.hub.journal import Stored
from duco_workbench.model import Clock, MessageId

REPOSITORY = Path(__file__).parents[2]
SEED = 20
# The base install has no asammdf, which python-can would load for seconds.
BASE_INSTALL = "import sys; sys.modules['asammdf'] = None; from agent.__main__ import main; main()"
BATCHES = 100  # the least that a queue may hold; at twenty a second it overflows in five seconds


class Machine:
    """One agent as a process, which makes some twenty messages a second out of nothing but its own figures."""

    def __init__(self, folder: Path, connection: str, ca: Path) -> None:
        self._path, self.queue = folder / "agent.toml", folder / "queue.db"
        self._path.write_text(f"""
            machine = {{ chassis_id = "truck" }}
            hub = {{ connection_string = "{connection}", ca_file = "{ca}" }}
            queue = {{ path = "{self.queue}", max_batches = {BATCHES} }}
            upload = {{ seal_s = 0.05, retry_first_s = 0.05, retry_last_s = 0.2 }}
            performance = {{ interval_s = 0.04 }}
            gnss = {{ source = "none" }}
        """)

    def __enter__(self) -> Machine:
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        command = [sys.executable, "-c", BASE_INSTALL, str(self._path)]
        self._process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate(timeout=40)

    def stop(self) -> str:
        """As it should be stopped; what it said."""
        self._process.terminate()
        return self._process.communicate(timeout=40)[1]

    def given(self) -> int:
        """Messages that have a number."""
        note = self.queue.with_name("queue.db.epoch")
        return int(note.read_text().split()[1]) if note.exists() else 0


def grows(count: Callable[[], int], by: int, what: str) -> None:
    before = count()
    until(lambda: count() >= before + by, what)


def test_everything_is_at_the_hub_or_told_as_dropped_whenever_the_agent_is_killed(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    with running_hub(tmp_path / "hub", free_address(13)) as hub:
        machine = Machine(tmp_path, hub.add("truck"), hub.identity.ca)
        with machine:
            grows(lambda: len(hub.messages()), chance.randint(5, 60), "messages at the hub")
        with machine:
            grows(lambda: len(hub.messages()), 20, "messages at the hub")
            hub.stop()
            grows(machine.given, chance.randint(50, 70), "messages in the queue")
        with machine:
            grows(machine.given, BATCHES + 40, "messages in the queue")
            hub.start()
            time.sleep(chance.random())  # anywhere in what it does when the hub is back
        with machine:
            until(lambda: drops_in(message.body for message in hub.messages()), "a drop that is told")
            assert "Traceback" not in machine.stop()
        check(machine.queue, hub.messages())


def check(path: Path, messages: list[Stored]) -> None:
    bodies: dict[str, bytes] = {}
    for message in messages:
        assert bodies.setdefault(message.system["message_id"], message.body) == message.body, "an id with two bodies"
    ids = [MessageId.parse(message_id) for message_id in bodies]
    assert ids == sorted(ids), "each for the first time in order"
    queue = Queue(path, "truck", "boot", Limits(batches=BATCHES))
    assert queue.open(1) is None, "the file is whole"
    queue.tell(1, Stamp(Clock()))
    counts = queue.counts
    for waiting in queue.take(10_000, 10_000):  # it was stopped before everything was sent
        assert bodies.setdefault(waiting.message_id, waiting.body) == waiting.body
    queue.close()
    drops = drops_in(bodies.values())
    dropped = [seq for drop in drops for first, last in drop["runs"] for seq in range(first, last + 1)]
    assert len(dropped) == sum(drop["count"] for drop in drops) > 0
    assert {MessageId.parse(message_id).epoch for message_id in bodies} == {counts.epoch}
    missing = set(range(1, counts.seq + 1)) - {MessageId.parse(message_id).seq for message_id in bodies}
    assert sorted(dropped) == sorted(missing), "what is neither at the hub nor waits was dropped, and told once"


def drops_in(bodies: Iterable[bytes]) -> list[dict[str, Any]]:
    found = [wire.decode(body).payload for body in bodies if b'"drop"' in body]
    return [event.data for event in found]

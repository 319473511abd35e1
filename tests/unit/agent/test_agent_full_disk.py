"""The queue on a small disk that is really full: what is there stays, is sent, is forgotten, and makes room."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import os, sys
from pathlib import Path
from agent.drafts import Draft
from agent.queue import Queue, Stamp
from agent.storage import QueueError
from duco_workbench import wire
from duco_workbench.model import Clock

disk = Path(sys.argv[1])
queue = Queue(disk / "queue.db", "T", "boot")
queue.open(1)

def fill():
    while True:
        text = os.urandom(10_000).hex()
        try:
            queue.put([Draft("vehicle_event", 1, wire.EventBody("x", "info", {"text": text}))], Stamp(Clock()))
        except QueueError as error:
            return error.reason

def drain(count):
    taken = [message.number for message in queue.take(0, count)]
    for seq in taken:
        try:
            queue.done([seq])
        except QueueError:  # it may work later, and does: the reserve is given up
            queue.done([seq])
    return taken

assert fill() == "disk_full"
first = queue.counts.seq
assert first > 100, first
assert drain(30) == list(range(1, 31))
assert fill() == "disk_full"
more = queue.counts.seq
assert more > first + 10, (first, more)  # what was freed in the file is used again
queue.close()
queue = Queue(disk / "queue.db", "T", "boot")  # and all of it outlives the process
queue.open(1)
assert drain(1 << 20) == list(range(31, more + 1))
assert fill() == "disk_full"
assert queue.counts.seq > more + 100
print("well")
"""


def test_a_disk_that_is_full_is_emptied_by_sending(tmp_path: Path) -> None:
    run = 'mount -t tmpfs -o size=8m tmpfs "$1" && exec "$2" -c "$3" "$1"'
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", run, "sh"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(
        [*command, str(tmp_path), sys.executable, SCRIPT], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "well\n", done.stderr

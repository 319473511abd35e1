"""What `duco up` tells the machines' processes: who they are, how they reach the hub, what of their past to write.

A folder: ``machines.json`` (the plan), ``live.json`` (until when each machine has been collected, microseconds; also
the sign that the machines' process is alive), ``past.json`` (since when its past is written).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from ...model import SECOND

RECENT = 600 * SECOND  # of the past, written before the page opens
PIECE = 600 * SECOND  # of what is older, at a time
LIFE_S = 10.0


class Machine(msgspec.Struct, frozen=True):
    """One machine. ``profile``: which simulated one, or "" when ``log`` is played instead.

    ``begin``: microseconds UTC; its past ends there, and its agent collects from there on. ``max_batches``: what its
    agent's queue keeps.
    """

    chassis_id: str
    connection_string: str
    begin: int
    profile: str = ""
    log: str = ""
    speed: float = 1.0
    once: bool = False
    max_batches: int = 10_000
    past: tuple[tuple[int, int], ...] = ()  # pieces of [start, end), in the order they are to be written


class Plan(msgspec.Struct, frozen=True):
    tenant: str
    ca: str
    machines: tuple[Machine, ...] = ()


def write(folder: Path, plan: Plan) -> None:
    """The plan holds the devices' keys: its file is for its owner only."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "machines.json"
    path.touch(mode=0o600)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(plan)))


def read(folder: Path) -> Plan:
    return msgspec.json.decode((folder / "machines.json").read_bytes(), type=Plan)


def note(folder: Path, name: str, times: Mapping[str, int]) -> None:
    """Write ``live`` or ``past``; what it says of other machines stays."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    fresh = path.with_suffix(".new")
    fresh.write_bytes(msgspec.json.encode({**noted(folder, name), **times}))
    os.replace(fresh, path)


def noted(folder: Path, name: str) -> dict[str, int]:
    path = folder / f"{name}.json"
    return msgspec.json.decode(path.read_bytes(), type=dict[str, int]) if path.exists() else {}


def is_alive(folder: Path) -> bool:
    """Whether the machines' process has said so lately."""
    path = folder / "live.json"
    return path.exists() and time.time() - path.stat().st_mtime < LIFE_S


def earlier(folder: Path, name: str, begin: int) -> tuple[int, int] | None:
    """From when to when an earlier start has the machine's time, if that reaches into the last minutes."""
    since, until = noted(folder, "past").get(name), noted(folder, "live").get(name)
    if since is not None and until is not None and begin - RECENT <= until <= begin:
        return since, until
    note(folder, "past", {name: begin})
    return None


def pieces(begin: int, history: int, known: tuple[int, int] | None) -> tuple[tuple[int, int], ...]:
    """What is to be written of ``history`` microseconds before ``begin``, besides what is ``known``; newest first."""
    oldest, recent = begin - history, max(begin - RECENT, begin - history)
    since, until = known or (recent, recent)
    older = [(max(end - PIECE, oldest), end) for end in range(since, oldest, -PIECE)]
    return tuple(piece for piece in ((until, begin), *older) if piece[0] < piece[1])


def covered(parts: Iterable[tuple[int, int]]) -> int:
    """Microseconds in all."""
    return sum(end - start for start, end in parts)

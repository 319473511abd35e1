"""What a report says, in few words: for the shell and the page alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

GOOD_STATES = ("running", "exited")  # of a process that has no /health
Counts = dict[str, dict[tuple[str, str], int]]


def counts(hops: Sequence[Mapping[str, Any]]) -> Counts:
    """The highest number of each hop and machine, over all msgTypes, in the epoch its agent is in.

    A hop that has seen another epoch last (an import, a past written later) is left out.
    """
    epochs = {_key(m): m["epoch"] for hop in hops if hop["name"] == "sent" for m in hop["machines"]}
    found: Counts = {}
    for hop in hops:
        row = found.setdefault(hop["name"], {})
        for machine in hop["machines"]:
            key = _key(machine)
            if machine["epoch"] == epochs.get(key, machine["epoch"]):
                row[key] = max(row.get(key, 0), machine["seq"])
    return {name: row for name, row in found.items() if row}


def _key(machine: Mapping[str, Any]) -> tuple[str, str]:
    return machine["tenant"], machine["chassis_id"]


def in_words(seconds: float | None) -> str:
    """An age: ``3 s``, ``5 min``, ``2.5 h``, ``4 days``; "–" for none."""
    if seconds is None:
        return "–"
    if seconds < 120:
        return f"{max(seconds, 0):.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86400:.0f} days"


def state_of(machine: Mapping[str, Any]) -> str:
    """What its agent is doing; "" for a machine that has none."""
    if machine["connected"] is None:
        return ""
    words = [machine["state"] or "has not reported", *(["realtime"] if machine["realtime"] else [])]
    waiting = [f"{machine['waiting']:,} waiting"] if machine["waiting"] else []
    return ", ".join([*([] if machine["connected"] else ["offline"]), *words, *waiting])


def health_of(process: Mapping[str, Any]) -> str:
    """In a word: what its /health says, ``ok``, ``failing`` or ``silent``; its state where it has none or is down."""
    state, health = str(process["state"]).lower(), process.get("health")
    return str(health["status"]) if health and state == "running" else state


def figures_in_words(process: Mapping[str, Any]) -> Iterator[str]:
    """What it counts besides its flows: ``hub devices 3``, ``store free 56.4 GB``."""
    for name, value in ((process.get("health") or {}).get("figures") or {}).items():
        words = name.removesuffix("_total").removesuffix("_bytes").replace("_", " ")
        yield f"{words} {value / 1e9:,.1f} GB" if name.endswith("_bytes") else f"{words} {value:,}"


def sentences(found: Mapping[str, Any]) -> Iterator[str]:
    """What troubles the whole, each process and each machine, and what was left out, worst first."""
    yield from (f"{section}: {said}" for section, said in found["troubles"].items())
    yield from _of_processes(found.get("processes", {}))
    for machine in found["machines"]:
        name = machine["chassis_id"]
        if machine.get("lost"):
            yield f"{name} lost {machine['lost']:,} of its messages: {', '.join(machine['missing'])}"
        if machine.get("trouble"):
            yield f"{name}: {machine['trouble']}"
        if machine.get("note"):
            yield f"{name}: {machine['note']}"
        if machine.get("drops"):
            yield f"{name} dropped: {', '.join(f'{reason} {count:,}' for reason, count in machine['drops'].items())}"
    for reason, age in found["refused_s"].items():
        letters = (
            "1 dead letter" if found["dead_letters"][reason] == 1 else f"{found['dead_letters'][reason]:,} dead letters"
        )
        yield f"{letters}, {reason}, for {in_words(age)}: `duco dead-letters list --reason {reason}`"
    if found["drops"]["realtime"]:
        yield f"{found['drops']['realtime']:,} messages were not shown live; they are stored"
    yield from (f"{section}: {said}" for section, said in found["notes"].items())


def _of_processes(processes: Mapping[str, Any]) -> Iterator[str]:
    """Of those that run: who was stopped says nothing, and that it was stands elsewhere."""
    for name, process in processes.items():
        health = process.get("health")
        if health and process["state"] == "RUNNING":
            yield from (f"{name}: {said}" for said in [*health["wrong"], *health["notes"]])

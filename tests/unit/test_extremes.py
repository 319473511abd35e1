"""Whatever a payload's fields hold, the message is refused by name or its rows can be made: one that passed and could
then not be stored would hold up all machines, again after each restart."""

from __future__ import annotations

import json
from typing import Any

import pytest
from records import T, record

from duco_workbench.flows.validate import validator
from duco_workbench.judge import identity
from duco_workbench.model import Manifest
from duco_workbench.parsed_ipc import from_ipc, to_ipc
from duco_workbench.parsing.logic import Knowledge, ManifestLogic
from duco_workbench.sinks import clickhouse_rows, native

EXTREMES: tuple[Any, ...] = (
    *(
        sign * (1 << bits) + less
        for bits in (0, 7, 8, 16, 31, 32, 53, 62, 63, 64)
        for sign in (1, -1)
        for less in (0, -1)
    ),
    *(10**30, 0.5, 1e308, -1e308, True, None),
    *("", "a" * 100_000, "\x00", "\ud800", "\U0001f600"),
    *([], {}, [1], {"a": 1}, {"\x00": "\x00"}, {"a": 10**400}),
)
PAYLOADS: dict[str, dict[str, Any]] = {
    "vehicle_dtc": {"source": "can0:00", "dtcs": [], "lamps": {}},
    "vehicle_position": dict.fromkeys(("lat", "lon", "alt", "speed", "heading", "fix", "sats"), 1),
    "vehicle_log": {"level": "info", "logger": "x", "text": "y"},
    "vehicle_event": {"name": "x", "severity": "info", "data": {}},
    "client_raw_data": {"fields": {}},
}
LOGIC = ManifestLogic(Knowledge(1, frozenset({("demo", "m1")}), (Manifest(1, "demo", "*", ()),)))


def variants(msg_type: str, extreme: Any) -> list[dict[str, Any]]:
    """The payload with each of its fields, and what is in them, as extreme as that."""
    sound = PAYLOADS[msg_type]
    found = [{**sound, name: extreme} for name in sound]
    if msg_type == "vehicle_dtc":
        codes = [{"spn": 1, "fmi": 2, name: extreme} for name in ("spn", "fmi", "oc", "cm")]
        found += [{**sound, "dtcs": [code]} for code in codes] + [{**sound, "lamps": {"mil": extreme}}]
    if msg_type in ("client_raw_data", "vehicle_event"):
        found += [{**sound, name: {"a": extreme}} for name, value in sound.items() if value == {}]
    return found


def rows_of(body: bytes) -> int:
    """Of every table, for what is good and for what is not; how many are good."""
    about = identity(body, 0, 1, T)
    one = record(body=body, msg_type=about.msg_type, message_id=about.message_id, ts=about.ts, v=about.v)
    checked = validator()([one])
    parsed = LOGIC.parse(checked.ok)
    letters = [*checked.failed, *parsed.failed]
    assert "internal_error" not in [letter.reason for letter in letters]
    items = from_ipc(to_ipc(parsed.ok)) if parsed.ok else []
    tables = [
        clickhouse_rows.raw_rows([one]),
        clickhouse_rows.dead_letter_rows(letters),
        *(make(items) for make in (clickhouse_rows.sample_rows, clickhouse_rows.text_rows, clickhouse_rows.dtc_rows)),
        *(make(items) for make in (clickhouse_rows.event_rows, clickhouse_rows.message_rows)),
    ]
    for table in tables:
        if table.num_rows and native.holds(table.schema):
            native.block(table)
    return len(items)


@pytest.mark.parametrize("msg_type", PAYLOADS)
def test_an_extreme_field_is_refused_or_can_be_stored(msg_type: str) -> None:
    envelope = {"v": 1, "msgType": msg_type, "chassisId": "m1", "messageId": "m1:1:1", "ts": T}
    bodies = [json.dumps({**envelope, "payload": p}).encode() for e in EXTREMES for p in variants(msg_type, e)]
    good = sum(rows_of(body) for body in bodies)
    assert 0 < good < len(bodies)


def test_an_extreme_envelope_is_refused_or_can_be_stored() -> None:
    sound = {"v": 1, "msgType": "vehicle_log", "chassisId": "m1", "messageId": "m1:1:1", "ts": T, "realtime": False}
    sound["payload"] = PAYLOADS["vehicle_log"]
    ids = ("m1:-1:1", "m1:1:-1", "m1:1e5:2", f"m1:{10**30}:1", "m1::", ":::", "m1:01:1")
    changes = [*({"messageId": odd} for odd in ids), *({name: e} for name in sound for e in EXTREMES)]
    good = sum(rows_of(json.dumps({**sound, **change}).encode()) for change in changes)
    assert 0 < good < len(changes)

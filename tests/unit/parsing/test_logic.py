"""Manifests by device, bus and event time; what each msgType becomes; one dead letter for what cannot be parsed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from records import T, can_record, encoded, frames, record

from duco_workbench import wire
from duco_workbench.columns import Parsed
from duco_workbench.flows.validate import validator
from duco_workbench.model import Binding, FrameBatch, Manifest, Record
from duco_workbench.parsing import Database, Decoded, Decoder, load_text
from duco_workbench.parsing import logic as parsing_logic
from duco_workbench.parsing.logic import Knowledge, ManifestLogic

DBC = """VERSION ""
BS_:
BU_: A
BO_ 2364540158 EEC1: 8 A
 SG_ EngSpeed : 24|16@1+ ({scale},0) [0|8031.875] "rpm" A
BA_DEF_ BO_ "VFrameFormat" ENUM "StandardCAN","ExtendedCAN","reserved","J1939PG";
BA_DEF_DEF_ "VFrameFormat" "J1939PG";
"""


def binding(bus: str, scale: float = 0.125, revision: int = 1) -> Binding:
    return Binding(bus, f"x{scale}", revision, DBC.format(scale=scale))


def manifest(*bindings: Binding, revision: int = 1, valid_from: int = 0, keep: str = "changes") -> Manifest:
    return Manifest(revision, "demo", "m1", bindings, valid_from, keep)


def logic(*manifests: Manifest) -> ManifestLogic:
    return ManifestLogic(Knowledge(9, frozenset({("demo", "m1")}), manifests))


def parse(logic: ManifestLogic, *records: Record) -> tuple[Sequence[Parsed], list[str]]:
    checked = validator()(records)
    assert not checked.failed
    outcome = logic.parse(checked.ok)
    return outcome.ok, [letter.reason for letter in outcome.failed]


def speeds(parsed: Parsed, source: str) -> list[float]:
    table = parsed.samples.to_arrow().to_pylist()
    return [row["value"] for row in table if row["source"] == source]


def rpm(raw: int, n: int = 3, channel: str = "can0") -> FrameBatch:
    batch = frames(n, channel=channel)
    batch.data[:, 3:5] = np.array([raw & 255, raw >> 8], np.uint8)
    return batch


def test_a_bus_is_decoded_by_its_own_database_and_others_by_the_fallback() -> None:
    both = FrameBatch.concat([rpm(8000, channel="can0"), rpm(8000, channel="can1"), rpm(8000, channel="can2")])
    only = logic(manifest(binding("can0"), binding("*", 0.25)))
    (parsed,), failed = parse(only, can_record(1, both))
    assert failed == []
    assert set(speeds(parsed, "can0:00")) == {1000.0}
    assert set(speeds(parsed, "can1:00")) == set(speeds(parsed, "can2:00")) == {2000.0}


def test_a_bus_without_a_database_gives_nothing() -> None:
    (parsed,), _ = parse(logic(manifest(binding("can1"))), can_record(1, rpm(8000)))
    assert len(parsed.samples) == 0


def test_the_manifest_is_chosen_by_event_time() -> None:
    old, new = manifest(binding("*")), manifest(binding("*", 0.25), revision=2, valid_from=T)
    chosen = logic(old, new)
    (before, after), _ = parse(
        chosen, can_record(1, rpm(8000)[:1], ts=T - 1, ts_enqueued=T), can_record(2, rpm(8000)[:1])
    )
    assert (before.logic_version, after.logic_version) == (1, 2)
    assert (speeds(before, "can0:00"), speeds(after, "can0:00")) == ([1000.0], [2000.0])


def test_a_machine_without_a_manifest_of_its_own_has_that_of_all() -> None:
    own, common = manifest(binding("*")), replace(manifest(binding("*", 0.25), revision=2), chassis_id="*")
    others = replace(manifest(binding("*", 0.5), revision=3), tenant="other", chassis_id="*")
    for manifests, version in (((own, common, others), 1), ((common, others), 2)):
        (parsed,), _ = parse(logic(*manifests), can_record(1, rpm(8000)))
        assert parsed.logic_version == version


@pytest.mark.parametrize(("keep", "rows"), [("changes", 2), ("all", 5)])
def test_thinning_keeps_first_last_and_changes(keep: str, rows: int) -> None:
    (parsed,), _ = parse(logic(manifest(binding("*"), keep=keep)), can_record(1, rpm(8000, 5)))
    assert len(parsed.samples) == rows


def test_not_available_is_a_status_and_no_number() -> None:
    (parsed,), _ = parse(logic(manifest(binding("*"))), can_record(1, rpm(0xFFFF)))
    rows = parsed.samples.to_arrow().to_pylist()
    assert {row["status"] for row in rows} == {"not_available"}
    assert all(np.isnan(row["value"]) for row in rows)


def test_new_knowledge_takes_effect_with_the_next_batch() -> None:
    changing = logic(manifest(binding("*")))
    (first,), _ = parse(changing, can_record(1, rpm(8000)))
    changing.use(Knowledge(10, frozenset({("demo", "m1")}), (manifest(binding("*", 0.25, 2), revision=2),)))
    (second,), _ = parse(changing, can_record(2, rpm(8000)))
    assert (first.logic_version, second.logic_version) == (1, 2)
    assert (speeds(first, "can0:00")[0], speeds(second, "can0:00")[0]) == (1000.0, 2000.0)


def test_each_bad_one_has_its_reason_and_the_good_one_goes_on() -> None:
    late = frames(2, start=T + 400_000_000)
    body = can_record(4, late).body
    good, stranger = can_record(1, rpm(8000)), can_record(2, rpm(8000), chassis_id="m2")
    ahead = record(3, body.replace(str(T + 400_010_000).encode(), str(T).encode(), 1), msg_type="vehicle_can")
    parsed, failed = parse(logic(manifest(binding("*"))), stranger, good, ahead)
    assert [p.record.message_id for p in parsed] == ["m1:1:1"]
    assert failed == ["unknown_device", "clock_future"]
    assert parse(logic(), good)[1] == ["no_manifest"]


def test_a_database_that_cannot_be_read_is_a_dead_letter_of_each_message_and_read_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: list[str] = []

    def noted_load(text: str, format_: str, name: str, overrides: Any) -> Database:
        read.append(name)
        return load_text(text, format_, name, overrides)

    monkeypatch.setattr(parsing_logic, "load_text", noted_load)
    only = logic(manifest(Binding("*", "broken", 1, "this is no database", "kcd")))
    for seq in (1, 2):
        assert parse(only, can_record(seq, rpm(8000)), can_record(seq, rpm(8000)))[1] == ["bad_database"] * 2
    assert read == ["broken"]


def other(msg_type: str, payload: object) -> Parsed:
    (parsed,), failed = parse(logic(), record(1, encoded(msg_type, payload), msg_type=msg_type))
    assert failed == []
    return parsed


def test_the_other_msg_types() -> None:
    position = other("vehicle_position", wire.Position(52.5, 13.4, speed=42.5)).samples.to_arrow().to_pylist()
    assert [(r["signal"], r["source"], r["value"]) for r in position] == [
        ("Position.lat", "gnss", 52.5),
        ("Position.lon", "gnss", 13.4),
        ("Position.speed", "gnss", 42.5),
    ]
    client = other("client_raw_data", wire.Client({"cpu_pct": 12.5, "is_charging": True, "version": "1.4"}))
    assert client.samples.signals == ("Client.cpu_pct", "Client.is_charging")
    assert [text.text for text in client.texts] == ["1.4"]
    (dtc,) = other("vehicle_dtc", wire.Dtcs("can0:00", [wire.Code(110, 0, 3)], {"red-stop": "on"})).dtcs
    assert (dtc.source, dtc.spn, dtc.fmi, dtc.oc, dtc.lamps) == ("can0:00", 110, 0, 3, "red-stop:on")
    (event,) = other("vehicle_event", wire.EventBody("key_on", "info", {"v": 24})).events
    assert (event.name, event.severity, event.data) == ("key_on", "info", '{"v": 24}')
    (line,) = other("vehicle_log", wire.LogLine("warning", "uplink", "away")).events
    assert (line.name, line.severity, line.data) == ("uplink", "warning", "away")


def test_envelopes_decoded_together_are_as_if_each_were_alone() -> None:
    """Of one machine and of several, by several databases, with sessions that must not run on in the next envelope."""
    both = FrameBatch.concat([rpm(8000, 40, "can0"), rpm(9000, 30, "can1")]).sorted()
    halves = [sessions()[:4], sessions()[4:]]
    batches = [both, *halves, rpm(0xFFFF, 5, "can1"), sessions(), rpm(8000, 1)]
    records = [can_record(i, batch, chassis_id=f"m{i % 2 + 1}") for i, batch in enumerate(batches, start=1)]
    manifests = [
        Manifest(1, "demo", "m1", (binding("can0"), binding("*", 0.25))),
        Manifest(2, "demo", "m2", (binding("*"),), keep="all"),
    ]
    one = ManifestLogic(Knowledge(9, frozenset({("demo", "m1"), ("demo", "m2")}), tuple(manifests)))
    together, failed = parse(one, *records)
    assert failed == []
    assert sum(len(p.dtcs) for p in together) == 2  # the halves of a session in two envelopes give none
    for record_, parsed in zip(records, together, strict=True):
        (alone,), _ = parse(one, record_)
        assert parsed.record == alone.record
        assert (parsed.dtcs, parsed.texts, parsed.logic_version) == (alone.dtcs, alone.texts, alone.logic_version)
        assert rows_of(parsed) == rows_of(alone)


def rows_of(parsed: Parsed) -> list[list[str]]:
    """As texts: NaN is not equal to itself."""
    rows = parsed.samples.to_arrow().to_pylist()
    return sorted([str(row[name]) for name in ("signal", "source", "ts", "value", "status")] for row in rows)


def sessions() -> FrameBatch:
    """A DM1 of two codes by BAM, in three frames, twice the first one."""
    body = bytes([4, 0xFF, 100, 0, 3, 2, 110, 0, 4, 1])
    heads = [bytes([32, 10, 0, 2, 255, 0xCA, 0xFE, 0]), b"\1" + body[:7], b"\2" + body[7:].ljust(7, b"\xff")]
    batch = frames(6)
    batch.data[:] = [list(head) for head in (heads[0], heads[1], *heads, heads[0])]
    batch.arbitration_id[:] = [0x9CECFF21 if i in (0, 2, 5) else 0x9CEBFF21 for i in range(6)]
    return batch


def test_one_that_breaks_the_decoder_costs_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    decode_all = Decoder.decode_all

    def broken(self: Decoder, frames: FrameBatch, *args: Any) -> Decoded:
        if (frames.data == 77).all(axis=1).any():
            raise ZeroDivisionError("a fault of ours")
        return decode_all(self, frames, *args)

    monkeypatch.setattr(Decoder, "decode_all", broken)
    bad = rpm(8000)
    bad.data[1] = 77
    records = [can_record(1, rpm(8000)), can_record(2, bad), can_record(3, rpm(9000))]
    parsed, failed = parse(logic(manifest(binding("*"))), *records)
    assert [p.record.message_id for p in parsed] == ["m1:1:1", "m1:1:3"]
    assert failed == ["internal_error"]


@pytest.mark.parametrize("buses", [("*",), ("can0", "can0")])
def test_frames_that_become_too_many_values_are_one_dead_letter(
    buses: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By what they become, not by how many they are: those of another message become nothing."""
    one = logic(manifest(*(binding(bus, 0.125 * (n + 1)) for n, bus in enumerate(buses))))
    monkeypatch.setattr(parsing_logic, "MAX_VALUES", 50 * len(buses))
    monkeypatch.setattr(parsing_logic, "COUNTED", 7)
    strange = frames(90, arbitration_id=0x8CF00A00)
    fits, many = can_record(1, FrameBatch.concat([rpm(8000, 50), strange])), can_record(2, rpm(8000, 51))
    (parsed,), failed = parse(one, many, fits)
    assert parsed.record == fits
    assert failed == ["too_large"]

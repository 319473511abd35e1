"""OBD-II answers: readings with units, trouble codes, vehicle information."""

from __future__ import annotations

import pytest
from can_rows import Row, batch, iso_tp
from hypothesis import given
from hypothesis import strategies as st

from duco_workbench.diagnostics import isotp, obd2
from duco_workbench.diagnostics.isotp import IsoTpMessage
from duco_workbench.diagnostics.obd2_pids import PARAMETERS
from duco_workbench.diagnostics.trouble_codes import code_text

ECU = 0x7E8


def read(*answers: str, number: int = ECU) -> obd2.Obd2:
    rows: list[Row] = []
    for i, answer in enumerate(answers):
        rows += iso_tp(i * 100_000, number, bytes.fromhex(answer))
    frames = batch(rows)
    messages, counts = isotp.reassemble(frames)
    assert counts["isotp_done"] == len(answers)
    return obd2.read(messages, frames.channels)


@pytest.mark.parametrize(
    ("answer", "readings"),
    [
        ("410418", {"CalculatedLoad": (24 * 100 / 255, "%")}),
        ("41057b", {"CoolantTemperature": (83, "degC")}),
        ("410c1af8", {"EngineSpeed": (1726, "1/min")}),
        ("410d21", {"VehicleSpeed": (33, "km/h")}),
        ("41060080", {"ShortTermFuelTrimBank1": (-100, "%")}),
        ("410e00", {"TimingAdvance": (-64, "deg")}),
        ("4110ffff", {"MassAirFlow": (655.35, "g/s")}),
        ("4115c880", {"OxygenSensor2Voltage": (1, "V"), "OxygenSensor2ShortTermTrim": (0, "%")}),
        ("4115c8ff", {"OxygenSensor2Voltage": (1, "V")}),
        ("4132ffff", {"EvaporativeVapourPressure": (-0.25, "Pa")}),
        ("41348000 8000", {"OxygenSensor1PumpLambda": (1, ""), "OxygenSensor1PumpCurrent": (0, "mA")}),
        ("413c1324", {"CatalystTemperatureBank1Sensor1": (450, "degC")}),
        ("41423039", {"ControlModuleVoltage": (12.345, "V")}),
        ("415d6980", {"FuelInjectionTiming": (1, "deg")}),
        ("415e0014", {"FuelRate": (1, "L/h")}),
        ("4162ff", {"ActualTorque": (130, "%")}),
        ("416701 5a00", {"CoolantTemperatureSensor1": (50, "degC")}),
        ("4178 05 0190 ffff 07d0 ffff", {"Bank1Sensor1": (0, "degC"), "Bank1Sensor3": (160, "degC")}),
        ("41a6000186a0", {"Odometer": (10_000, "km")}),
        (
            "4101 83 07e500",
            {"MalfunctionIndicator": (1, ""), "TroubleCodeCount": (3, ""), "MonitorStatus": (0x7E500, "")},
        ),
        ("4100be3fa813", {"SupportedPids00": (0xBE3FA813, "")}),
    ],
)
def test_readings(answer: str, readings: dict[str, tuple[float, str]]) -> None:
    found = read(answer)
    short = {r.name.removeprefix("ExhaustGasTemperature"): (pytest.approx(r.value), r.unit) for r in found.readings}
    assert readings == {name: short[name] for name in readings}
    assert len(short) == len(readings) or answer == "41060080"
    assert {r.source for r in found.readings} == {"can0:7e8"}


def test_several_pids_in_one_answer_of_several_frames() -> None:
    found = read("410c1af80d21057b0b6442303911ff", number=0x98DA_F110)
    assert [(r.pid, round(r.value, 3)) for r in found.readings] == [
        (0x0C, 1726),
        (0x0D, 33),
        (0x05, 83),
        (0x0B, 100),
        (0x42, 12.345),
        (0x11, 100),
    ]
    assert {r.source for r in found.readings} == {"can0:10"}
    assert found.counts == {"obd_read": 1}


def test_an_unknown_pid_ends_an_answer() -> None:
    found = read("410d21c5000c1af8")
    assert [r.pid for r in found.readings] == [0x0D]
    assert found.counts == {"obd_unknown_pid": 1}


def test_pids_as_identifiers_of_uds() -> None:
    found = read("62f40c1af8f40d21", "62f40c1af8f190", "62f190313233")
    assert [(r.name, r.value) for r in found.readings[:2]] == [("EngineSpeed", 1726), ("VehicleSpeed", 33)]
    assert found.counts == {"obd_read": 1, "obd_malformed": 1}


@pytest.mark.parametrize("answer", ["41", "410c1a", "43", "430201", "4302013342", "49", "4902", "490201414243"])
def test_malformed_answers_are_counted(answer: str) -> None:
    found = read(answer)
    assert (found.readings, found.code_lists, found.infos) == ([], [], [])
    assert found.counts == {"obd_malformed": 1}


def test_lists_of_codes() -> None:
    found = read("4300", "4302013341ff", "4701c123", "4a01a001")
    assert [(c.kind, c.codes) for c in found.code_lists] == [
        ("stored", ()),
        ("stored", ("P0133", "C01FF")),
        ("pending", ("U0123",)),
        ("permanent", ("B2001",)),
    ]


@pytest.mark.parametrize(
    ("number", "text"),
    [(0x0301, "P0301"), (0x3FFF, "P3FFF"), (0x4123, "C0123"), (0x9234, "B1234"), (0xC100, "U0100"), (0, "P0000")],
)
def test_texts_of_codes(number: int, text: str) -> None:
    assert code_text(number) == text


def test_vehicle_information() -> None:
    vin, calibrations = b"TMBJP7NX5NY084923", b"CAL-1".ljust(16, b"\0") + b"CAL-2".ljust(16, b"\0")
    found = read(
        "490201" + vin.hex(),
        "490402" + calibrations.hex(),
        "49060112abcdef",
        "490a01" + b"ECM\0-EngineControl".ljust(20, b"\0").hex(),
        "4908" + "01" * 10,
    )
    assert [(i.name, i.texts) for i in found.infos] == [
        ("vin", (vin.decode(),)),
        ("calibration_id", ("CAL-1", "CAL-2")),
        ("calibration_verification", ("12ABCDEF",)),
        ("ecu_name", ("ECM\0-EngineControl",)),
    ]
    assert found.counts == {"obd_read": 4, "obd_unknown_pid": 1}


def test_requests_and_other_services_are_passed_over() -> None:
    found = read("010c", "03", "0902", "7f0112", "5003", "6e1234", number=0x7E0)
    assert found == obd2.Obd2()


def test_the_table_is_whole() -> None:
    assert len(PARAMETERS) > 100
    assert set(range(0x66)) <= set(PARAMETERS)
    names = [field.name for parameter in PARAMETERS.values() for field in parameter.fields]
    assert len(names) == len(set(names))
    for parameter in PARAMETERS.values():
        assert all(f.start >= 0 and f.start + f.bits <= 8 * parameter.length for f in parameter.fields)


@given(st.binary(min_size=1, max_size=40))
def test_any_message_is_counted_or_passed_over(data: bytes) -> None:
    found = obd2.read([IsoTpMessage(0, 0, ECU, data)], ("can0",))
    assert found.counts.total() == (data[0] in (0x41, 0x43, 0x47, 0x49, 0x4A) or data[:2] == b"\x62\xf4")

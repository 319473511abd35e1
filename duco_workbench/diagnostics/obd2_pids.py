"""The parameters of OBD-II service 01 (SAE J1979, ISO 15031-5): where each lies in its answer and what it measures.

To add one, add a line. ``Parameter`` says how many bytes follow the PID, which an answer to several PIDs cannot be read
without; fields are counted in bits from the first of these bytes, most significant first.
"""

from __future__ import annotations

from typing import NamedTuple


class Field(NamedTuple):
    """One quantity: value = raw * scale + offset, in ``unit``.

    Attributes:
        absent: raw value that says there is none, or None.
        support: bit of the first byte that says whether there is one, or None where it always is.
    """

    name: str
    unit: str = ""
    start: int = 0
    bits: int = 8
    scale: float = 1
    offset: float = 0
    is_signed: bool = False
    absent: int | None = None
    support: int | None = None

    def value(self, data: bytes) -> float | None:
        """Of a PID's whole data; None where the ECU says that it has none."""
        raw = int.from_bytes(data, "big") >> (8 * len(data) - self.start - self.bits) & ((1 << self.bits) - 1)
        if raw == self.absent or (self.support is not None and not data[0] >> self.support & 1):
            return None
        if self.is_signed and raw >> (self.bits - 1):
            raw -= 1 << self.bits
        return raw * self.scale + self.offset


class Parameter(NamedTuple):
    """The data of one PID: ``length`` bytes."""

    length: int
    fields: tuple[Field, ...]


_PERCENT = 100 / 255
_TRIM = 100 / 128  # around 0: -100 .. 99.2 %
_LAMBDA = 2 / 65536


def _byte(name: str, unit: str = "", scale: float = 1, offset: float = 0) -> Parameter:
    return Parameter(1, (Field(name, unit, 0, 8, scale, offset),))


def _word(name: str, unit: str = "", scale: float = 1, offset: float = 0, is_signed: bool = False) -> Parameter:
    return Parameter(2, (Field(name, unit, 0, 16, scale, offset, is_signed),))


def _bits(name: str, length: int) -> Parameter:
    """Flags or a code: the raw number."""
    return Parameter(length, (Field(name, "", 0, 8 * length),))


def _supported(first: int) -> Parameter:
    return _bits(f"SupportedPids{first:02X}", 4)


def _percent(name: str) -> Parameter:
    return _byte(name, "%", _PERCENT)


def _temperature(name: str) -> Parameter:
    return _byte(name, "degC", 1, -40)


def _trims(name: str, first: str, second: str) -> Parameter:
    return Parameter(
        2, (Field(f"{name}{first}", "%", 0, 8, _TRIM, -100), Field(f"{name}{second}", "%", 8, 8, _TRIM, -100))
    )


def _oxygen(sensor: int) -> Parameter:
    """A narrow-band sensor; a trim of FF says that it is not used for trimming."""
    name = f"OxygenSensor{sensor}"
    trim = Field(f"{name}ShortTermTrim", "%", 8, 8, _TRIM, -100, absent=0xFF)
    return Parameter(2, (Field(f"{name}Voltage", "V", 0, 8, 1 / 200), trim))


def _wide_voltage(sensor: int) -> Parameter:
    name = f"OxygenSensor{sensor}"
    return Parameter(
        4, (Field(f"{name}Lambda", "", 0, 16, _LAMBDA), Field(f"{name}WideVoltage", "V", 16, 16, 8 / 65536))
    )


def _wide_current(sensor: int) -> Parameter:
    name = f"OxygenSensor{sensor}"
    return Parameter(
        4, (Field(f"{name}PumpLambda", "", 0, 16, _LAMBDA), Field(f"{name}PumpCurrent", "mA", 16, 16, 1 / 256, -128))
    )


def _exhaust_temperatures(bank: int) -> Parameter:
    """The first byte says which of four sensors there are."""
    name = f"ExhaustGasTemperatureBank{bank}Sensor"
    sensors = (Field(f"{name}{i + 1}", "degC", 8 + 16 * i, 16, 0.1, -40, support=i) for i in range(4))
    return Parameter(9, tuple(sensors))


PARAMETERS: dict[int, Parameter] = {
    **{first: _supported(first) for first in range(0x00, 0x100, 0x20)},
    0x01: Parameter(
        4,
        (
            Field("MalfunctionIndicator", "", 0, 1),
            Field("TroubleCodeCount", "", 1, 7),
            Field("MonitorStatus", "", 8, 24),
        ),
    ),
    0x02: _bits("FreezeFrameCode", 2),
    0x03: Parameter(2, (Field("FuelSystem1Status"), Field("FuelSystem2Status", "", 8))),
    0x04: _percent("CalculatedLoad"),
    0x05: _temperature("CoolantTemperature"),
    0x06: _byte("ShortTermFuelTrimBank1", "%", _TRIM, -100),
    0x07: _byte("LongTermFuelTrimBank1", "%", _TRIM, -100),
    0x08: _byte("ShortTermFuelTrimBank2", "%", _TRIM, -100),
    0x09: _byte("LongTermFuelTrimBank2", "%", _TRIM, -100),
    0x0A: _byte("FuelPressure", "kPa", 3),
    0x0B: _byte("IntakeManifoldPressure", "kPa"),
    0x0C: _word("EngineSpeed", "1/min", 1 / 4),
    0x0D: _byte("VehicleSpeed", "km/h"),
    0x0E: _byte("TimingAdvance", "deg", 1 / 2, -64),
    0x0F: _temperature("IntakeAirTemperature"),
    0x10: _word("MassAirFlow", "g/s", 1 / 100),
    0x11: _percent("ThrottlePosition"),
    0x12: _bits("SecondaryAirStatus", 1),
    0x13: _bits("OxygenSensorsOf2Banks", 1),
    **{0x14 + i: _oxygen(i + 1) for i in range(8)},
    0x1C: _bits("ObdStandard", 1),
    0x1D: _bits("OxygenSensorsOf4Banks", 1),
    0x1E: _bits("AuxiliaryInput", 1),
    0x1F: _word("RunTime", "s"),
    0x21: _word("DistanceWithMalfunctionIndicator", "km"),
    0x22: _word("FuelRailRelativePressure", "kPa", 0.079),
    0x23: _word("FuelRailGaugePressure", "kPa", 10),
    **{0x24 + i: _wide_voltage(i + 1) for i in range(8)},
    0x2C: _percent("CommandedEgr"),
    0x2D: _byte("EgrError", "%", _TRIM, -100),
    0x2E: _percent("CommandedEvaporativePurge"),
    0x2F: _percent("FuelLevel"),
    0x30: _byte("WarmUpsSinceClear"),
    0x31: _word("DistanceSinceClear", "km"),
    0x32: _word("EvaporativeVapourPressure", "Pa", 1 / 4, is_signed=True),
    0x33: _byte("BarometricPressure", "kPa"),
    **{0x34 + i: _wide_current(i + 1) for i in range(8)},
    0x3C: _word("CatalystTemperatureBank1Sensor1", "degC", 0.1, -40),
    0x3D: _word("CatalystTemperatureBank2Sensor1", "degC", 0.1, -40),
    0x3E: _word("CatalystTemperatureBank1Sensor2", "degC", 0.1, -40),
    0x3F: _word("CatalystTemperatureBank2Sensor2", "degC", 0.1, -40),
    0x41: _bits("MonitorStatusThisCycle", 4),
    0x42: _word("ControlModuleVoltage", "V", 1 / 1000),
    0x43: _word("AbsoluteLoad", "%", _PERCENT),
    0x44: _word("CommandedLambda", "", _LAMBDA),
    0x45: _percent("RelativeThrottlePosition"),
    0x46: _temperature("AmbientTemperature"),
    0x47: _percent("ThrottlePositionB"),
    0x48: _percent("ThrottlePositionC"),
    0x49: _percent("AcceleratorPositionD"),
    0x4A: _percent("AcceleratorPositionE"),
    0x4B: _percent("AcceleratorPositionF"),
    0x4C: _percent("CommandedThrottle"),
    0x4D: _word("TimeWithMalfunctionIndicator", "min"),
    0x4E: _word("TimeSinceClear", "min"),
    0x4F: Parameter(
        4,
        (
            Field("MaximumLambda"),
            Field("MaximumOxygenSensorVoltage", "V", 8),
            Field("MaximumOxygenSensorCurrent", "mA", 16),
            Field("MaximumIntakeManifoldPressure", "kPa", 24, scale=10),
        ),
    ),
    0x50: Parameter(4, (Field("MaximumMassAirFlow", "g/s", scale=10),)),
    0x51: _bits("FuelType", 1),
    0x52: _percent("EthanolContent"),
    0x53: _word("AbsoluteEvaporativePressure", "kPa", 1 / 200),
    0x54: _word("EvaporativePressure", "Pa", is_signed=True),
    0x55: _trims("ShortTermSecondaryTrimBank", "1", "3"),
    0x56: _trims("LongTermSecondaryTrimBank", "1", "3"),
    0x57: _trims("ShortTermSecondaryTrimBank", "2", "4"),
    0x58: _trims("LongTermSecondaryTrimBank", "2", "4"),
    0x59: _word("FuelRailAbsolutePressure", "kPa", 10),
    0x5A: _percent("RelativeAcceleratorPosition"),
    0x5B: _percent("HybridBatteryRemainingLife"),
    0x5C: _temperature("OilTemperature"),
    0x5D: _word("FuelInjectionTiming", "deg", 1 / 128, -210),
    0x5E: _word("FuelRate", "L/h", 1 / 20),
    0x5F: _bits("EmissionRequirements", 1),
    0x61: _byte("DemandedTorque", "%", 1, -125),
    0x62: _byte("ActualTorque", "%", 1, -125),
    0x63: _word("ReferenceTorque", "Nm"),
    0x64: Parameter(5, tuple(Field(f"TorqueAtPoint{i + 1}", "%", 8 * i, 8, 1, -125) for i in range(5))),
    0x65: _bits("AuxiliaryInputOutput", 2),
    0x66: Parameter(
        5,
        (
            Field("MassAirFlowSensorA", "g/s", 8, 16, 1 / 32, support=0),
            Field("MassAirFlowSensorB", "g/s", 24, 16, 1 / 32, support=1),
        ),
    ),
    0x67: Parameter(
        3,
        (
            Field("CoolantTemperatureSensor1", "degC", 8, 8, 1, -40, support=0),
            Field("CoolantTemperatureSensor2", "degC", 16, 8, 1, -40, support=1),
        ),
    ),
    0x78: _exhaust_temperatures(1),
    0x79: _exhaust_temperatures(2),
    0x84: _temperature("ManifoldSurfaceTemperature"),
    0x8D: _percent("ThrottlePositionG"),
    0x8E: _byte("EngineFrictionTorque", "%", 1, -125),
    0xA4: Parameter(
        4,
        (
            Field("TransmissionGear", "", 8, 4, support=0),
            Field("TransmissionGearRatio", "", 16, 16, 1 / 1000, support=1),
        ),
    ),
    0xA6: Parameter(4, (Field("Odometer", "km", 0, 32, 0.1),)),
}

"""One spelling per unit, whatever a database calls it. Nothing is converted: only the name changes."""

from __future__ import annotations

_SPELLINGS = {
    # Case decides here (mV is not MV), so these are compared as written, before the table below.
    "V": "V volt",
    "mV": "mV",
    "kV": "kV",
    "A": "A amp",
    "mA": "mA",
    "W": "W",
    "mW": "mW",
    "kW": "kW KW",
    "MW": "MW",
    "Pa": "Pa pa",
    "hPa": "hPa",
    "kPa": "kPa KPa kpa KPA",
    "MPa": "MPa",
    "N": "N",
    "kN": "kN",
    "L": "L l",
    "mL": "mL ml",
    "m": "m",
    "mm": "mm MM",
    "g": "g",
    "kg": "kg Kg KG",
    "s": "s S",
    "ms": "ms",
    "h": "h H",
    "K": "K",
    "degC": "C",  # coulomb by the book, Celsius in every database seen
    "degF": "F",
}

_WORDS = {
    "degC": "°c|℃|ºc|degc|deg c|deg.c|deg. c|deg_c|degree c|degrees c|degreec|degree celsius|degrees celsius|celsius"
    "|grad c|�c|° c|deg° c|cel",
    "degF": "°f|℉|ºf|degf|deg f|deg.f|deg_f|degrees f|fahrenheit|�f|° f",
    "K": "kelvin|°k|degk",
    "deg": "°|º|�|degree|degrees|degs|grad",
    "deg/s": "°/s|º/s|�/s|degree/s|degrees/s|deg/sec|deg per s|degrees per second|dps",
    "rad": "rad|radian|radians",
    "rad/s": "rad/sec|radians/s",
    "1/min": "rpm|r/min|rev/min|revs/min|1/minute|min-1|min^-1|/min|u/min|upm|rpms|revolutions per minute",
    "1/s": "rps|r/s|rev/s|s-1|s^-1",
    "km/h": "kph|kmh|km/hr|kmph|km per hour|kilometer/hour|kilometers per hour|km/hour",
    "mph": "mi/h|miles/h|mile/h|miles per hour",
    "m/s": "m/sec|mps|meter/s|meters/s|meters per second",
    "m/s2": "m/s^2|m/s²|m/s/s|m/sec2|m/sec^2|m/s**2",
    "%": "percent|pct|per cent|prozent|percentage",
    "%/s": "%/sec|percent/s",
    "ppm": "ppm",
    "V": "volt|volts|vdc|vac",
    "A": "amp|amps|ampere|amperes|adc",
    "mA": "milliamp|milliamps|ma",
    "mV": "millivolt|millivolts|mv",
    "kV": "kv",
    "W": "watt|watts",
    "kW": "kilowatt|kilowatts|kw",
    "Ohm": "ohm|ohms|ω|Ω",
    "Ah": "ah|a.h|a*h|amp-hour|amp hours|amphours",
    "kWh": "kwh|kw.h|kw*h|kw-h|kw h|kilowatt hours",
    "Wh": "wh|watt hours",
    "kVA": "kva",
    "Hz": "hz|hertz",
    "kHz": "khz",
    "Pa": "pascal",
    "kPa": "kpa|kilopascal|kpa(a)|kpa (g)|kpa(g)|kpag|kpaa",
    "MPa": "mpa",
    "hPa": "hpa",
    "bar": "bar|bars",
    "mbar": "mbar|millibar",
    "psi": "psi|psig|psia",
    "Nm": "nm|n.m|n*m|n-m|n m|newton meter|newton-meter|n·m",
    "kN": "kn",
    "L": "liter|liters|litre|litres|ltr",
    "mL": "milliliter|millilitre",
    "L/h": "l/h|l/hr|l per h|liter per hour|liters per hour|litre/h|lph|liter/h|liters/h|l/hour",
    "L/100km": "l/100 km",
    "km/L": "km/l|km per l|kmpl",
    "gal": "gallon|gallons",
    "m": "meter|meters|metre|metres",
    "km": "kilometer|kilometers|kilometre|kilometres|kms",
    "mi": "mile|miles",
    "mm": "millimeter|millimeters",
    "cm": "centimeter",
    "um": "µm|μm|micrometer",
    "kg": "kilogram|kilograms|kgs",
    "g": "gram|grams",
    "t": "tonne|tonnes|ton|tons",
    "kg/h": "kg/hr|kg per h|kg per hour|kg/hour",
    "g/s": "g/sec|grams/sec|grams/s|gram/s|gm/s",
    "h": "hr|hrs|hour|hours|std",
    "min": "minute|minutes|mins",
    "s": "sec|secs|second|seconds",
    "ms": "msec|msecs|millisecond|milliseconds",
    "us": "µs|μs|usec|microsecond|microseconds",
    "": "-|--|none|n/a|na|unitless|no unit|dimensionless|ratio|count|counts|bit|bits|enum|binary|state|states|status"
    "|boolean|bool|raw|1|n.a.|flag|code",
}

_AS_WRITTEN = {spelling: unit for unit, row in _SPELLINGS.items() for spelling in row.split()}
_FOLDED = {spelling: unit for unit, row in _WORDS.items() for spelling in row.split("|")}
_KNOWN = {unit.casefold(): unit for unit in _WORDS}


def normalise(unit: str | None) -> str:
    """``°C``, ``deg C`` -> ``degC``; ``rpm`` -> ``1/min``; ``kph`` -> ``km/h``; a unit not in the table stays as it is.

    >>> normalise("deg C"), normalise("KPH"), normalise(" furlong "), normalise(None)
    ('degC', 'km/h', 'furlong', '')
    """
    text = " ".join((unit or "").split())
    if text in _AS_WRITTEN:
        return _AS_WRITTEN[text]
    folded = text.casefold()
    return _FOLDED.get(folded) or _KNOWN.get(folded) or ("" if folded in _FOLDED else text)

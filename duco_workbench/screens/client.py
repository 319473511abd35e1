"""Client metrics, how the machine's computer and its application are doing: labels, units and groups by their names.

They come without a database: ``cpu_percent`` says its unit itself, by its last word.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

PREFIX, SOURCE = "Client.", "client"
UNITS = {
    "percent": "%",
    "pct": "%",
    "b": "B",
    "bytes": "B",
    "kb": "kB",
    "mb": "MB",
    "gb": "GB",
    "degc": "°C",
    "dbm": "dBm",
    "s": "s",
    "ms": "ms",
    "us": "µs",
    "v": "V",
    "hz": "Hz",
    "bps": "bit/s",
}
GROUPS = {
    "%": "Client: load",
    "MB": "Client: memory",
    "GB": "Client: memory",
    "kB": "Client: memory",
    "B": "Client: bytes",
    "1/s": "Client: rates",
    "ms": "Client: delays",
    "°C": "Client: temperature",
    "dBm": "Client: signal",
    "s": "Client: time",
}
OTHERS = "Client: counts and states"
DISK = "Client: disk"  # its gigabytes would flatten the curves of memory
NOT_DRAWN = "uptime_s"  # a straight line
SHORT = {"cpu": "CPU", "gpu": "GPU", "ram": "RAM", "rss": "RSS", "wal": "WAL"}


class Metric(NamedTuple):
    label: str
    unit: str


def is_metric(series: tuple[str, str]) -> bool:
    """By its source: a database may have a message called Client."""
    return series[1] == SOURCE


@lru_cache(maxsize=4096)
def metric(signal: str) -> Metric:
    """``Client.board_temperature_degC``: "Board temperature" in °C."""
    words = signal.removeprefix(PREFIX).split("_")
    unit = ""
    if len(words) > 2 and words[-2:] == ["per", "s"]:
        words, unit = words[:-2], "1/s"
    elif len(words) > 1 and words[-1].lower() in UNITS:
        unit = UNITS[words.pop().lower()]
    return Metric(" ".join([_first(words[0]), *(SHORT.get(word, word) for word in words[1:])]), unit)


def group(series: tuple[str, str], unit: str) -> str:
    """The title of the chart a metric is on; "" when only the table has it."""
    if series[0].endswith(NOT_DRAWN):
        return ""
    title = GROUPS.get(unit, OTHERS)
    is_disk = title == GROUPS["MB"] and any(word in series[0].lower() for word in ("disk", "flash"))
    return DISK if is_disk else title


def _first(word: str) -> str:
    """A bus (can0) stays as it is written."""
    return SHORT.get(word, word if word[-1:].isdigit() else word[:1].upper() + word[1:])

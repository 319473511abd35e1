"""Chart groups proposed from any database, so that a page is of use before anybody has arranged one.

Themes first; what no theme takes is grouped by message. At most ``MOST_GROUPS`` groups of ``MOST_CURVES`` curves,
all curves of a group in one unit.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ..model import Variable
from .naming import readable
from .types import ChartGroup

MOST_GROUPS = 12
MOST_CURVES = 8
NEVER = r"(?!)"


@dataclass(frozen=True, slots=True)
class Theme:
    """Signals of one of ``units`` whose name says ``words`` (any, where that is "").

    Where a database gives no unit, only signals whose name says ``unnamed`` belong here.
    """

    name: str
    units: frozenset[str]
    words: str = ""
    unnamed: str = NEVER

    def takes(self, variable: Variable) -> bool:
        name = variable.name.lower()
        if not variable.unit:
            return re.search(self.unnamed, name) is not None
        return variable.unit in self.units and re.search(self.words, name) is not None


def _theme(name: str, units: str, words: str = "", unnamed: str = NEVER) -> Theme:
    return Theme(name, frozenset(units.split()), words, unnamed)


THEMES = (
    _theme("Engine speed", "1/min", r"eng|rpm", r"engine speed|\brpm\b"),
    _theme("Engine load and torque", "%", r"torque|load", r"percent torque|engine (percent )?load"),
    _theme("Vehicle speed", "km/h mph m/s", "", r"vehicle speed|wheel speed"),
    _theme("Pedals and valves", "%", r"pedal|throttle|brake|clutch|valve|steer|position", r"pedal|throttle"),
    _theme("Temperatures", "degC degF K", "", r"\btemp(erature)?\b"),
    _theme("Pressures", "kPa bar mbar hPa MPa Pa psi", "", r"pressure"),
    _theme("Fuel", "L/h kg/h g/s L/100km km/L", r"fuel|consum|econ", r"fuel rate|fuel econ"),
    _theme("Levels", "%", r"level|soc|charge", r"\blevel\b"),
    _theme("Shaft speeds", "1/min", "", r"shaft speed"),
    _theme("Voltages", "V mV kV", "", r"volt|battery potential"),
    _theme("Currents", "A mA", "", r"\bcurrent$"),
    _theme("Power", "kW W kVA", "", r"\bpower$"),
    _theme("Torque", "Nm", ""),
    _theme("Acceleration", "m/s2", ""),
)

# The parameters an engineer asks for first (J1939 SPN); a large standard database has thousands beside them.
_FIRST = (
    "190 92 513 512 514 91 51 84 1624 974 521 191 161 110 175 105 171 172 177 173 52 174 100 102 108 109 127 98 96 183"
    " 184 185 1761 168 158 167 115 114 3216 3226 3251 3242 3246 3719 4360 4363 544 2978 904 905 1807 1808 1809 1810"
)
_RANK = {int(spn): rank for rank, spn in enumerate(_FIRST.split())}
_SETTINGS = re.compile(
    r"\b(reference|request(ed)?|limit|max(imum)?|min(imum)?|threshold|points?|accuracy|desired|setpoint|demand)\b"
)


def propose(variables: Iterable[Variable]) -> list[ChartGroup]:
    """The groups of a device, the most useful first; each variable in one at most."""
    rest = [v for v in variables if v.kind == "gauge"]
    groups: list[ChartGroup] = []
    for theme in THEMES:
        taken = sorted((v for v in rest if theme.takes(v)), key=_usefulness)
        chosen = _one_unit(_readings(taken))[:MOST_CURVES]
        if chosen:
            groups.append(_group(theme.name, chosen))
            rest = [v for v in rest if v not in chosen]
    return _bounded(groups, list(_by_message(rest)))


def _bounded(themed: list[ChartGroup], by_message: list[ChartGroup]) -> list[ChartGroup]:
    """Themes give way to messages only where there is room: a proprietary file has few themes and many messages."""
    unique: dict[str, ChartGroup] = {}
    for group in themed + by_message:
        unique.setdefault(group.name, group)
    return list(unique.values())[:MOST_GROUPS]


def _one_unit(variables: Sequence[Variable]) -> list[Variable]:
    """Those of the commonest unit: kPa and MPa do not share an axis."""
    if not variables:
        return []
    known = Counter(v.unit for v in variables if v.spn in _RANK) or Counter(v.unit for v in variables)
    unit = known.most_common(1)[0][0]
    return [v for v in variables if v.unit == unit]


def _usefulness(variable: Variable) -> tuple[int, bool]:
    return _RANK.get(variable.spn or 0, len(_RANK)), _is_setting(variable)


def _is_setting(variable: Variable) -> bool:
    return _SETTINGS.search(variable.name.lower()) is not None


def _readings(variables: list[Variable]) -> list[Variable]:
    """Without set points and configured limits, straight lines that hide the rest; all, where there is nothing else."""
    return [v for v in variables if v.spn in _RANK or not _is_setting(v)] or variables


def _by_message(variables: Iterable[Variable]) -> Iterator[ChartGroup]:
    messages: dict[str, list[Variable]] = {}
    for variable in variables:
        messages.setdefault(variable.signal.rpartition(".")[0], []).append(variable)
    for message, members in messages.items():
        yield _group(readable(message), _one_unit(members)[:MOST_CURVES])


def _group(name: str, variables: Sequence[Variable]) -> ChartGroup:
    return ChartGroup(name, tuple(v.name for v in variables), variables[0].unit)

"""What happened to a machine: trouble codes, events and log lines, as the page lists them and marks them on charts.

An active code is reported again and again (DM1: every second), on the bus and once more by the agent. All its reports
are one item, at the time of the first, until it has been quiet for a while. Pure; times are microseconds UTC.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from ..columns import Event
from ..live import Entry
from ..model import SECOND, Dtc, Variable

QUIET = 15 * SECOND  # a code is cleared after this long; in normal mode its reports are up to 11 s apart
SELDOM = 75 * SECOND  # and one that only the agent tells, each minute, for no database is bound to its bus
LOOK_BACK = 1800 * SECOND
MOST = 80  # items on a page
LONGEST = 300  # characters of a text

Code = tuple[str, int, int]  # source, SPN, FMI

# SAE J1939-73, the words of the failure mode identifiers.
FMI = {
    0: "above normal, most severe",
    1: "below normal, most severe",
    2: "erratic, intermittent or incorrect",
    3: "voltage above normal or shorted high",
    4: "voltage below normal or shorted low",
    5: "current below normal or open circuit",
    6: "current above normal or grounded",
    7: "mechanical system not responding",
    8: "abnormal frequency, pulse width or period",
    9: "abnormal update rate",
    10: "abnormal rate of change",
    11: "root cause not known",
    12: "bad device or component",
    13: "out of calibration",
    14: "special instructions",
    15: "above normal, least severe",
    16: "above normal, moderately severe",
    17: "below normal, least severe",
    18: "below normal, moderately severe",
    19: "received network data in error",
    20: "data drifted high",
    21: "data drifted low",
    31: "condition exists",
}
SEVERITIES = {"critical": "error", "fatal": "error", "error": "error", "warn": "warning", "warning": "warning"}
NAMES = {"spn": "SPN", "fmi": "FMI"}
RANK = ("info", "warning", "error")


@dataclass(frozen=True, slots=True)
class Reports:
    """As machines and stores say it; events with the id of their message, which tells like ones apart."""

    dtcs: tuple[Dtc, ...] = ()
    events: tuple[tuple[str, Event], ...] = ()


def reports(entries: Iterable[Entry]) -> Reports:
    """Of live entries."""
    parsed = [entry.parsed for entry in entries]
    return Reports(
        tuple(dtc for p in parsed for dtc in p.dtcs),
        tuple((p.record.message_id, event) for p in parsed for event in p.events),
    )


@dataclass(slots=True)
class _Span:
    """One time of a code being active. The lamps are those of a whole DM1, so a code is only as bad as the mildest
    of its reports: a worse lamp in another was lit by another code."""

    first: int
    last: int
    severity: str
    count: int | None
    often: bool = False  # reported twice within QUIET

    @property
    def ends(self) -> int:
        """When it counts as cleared if nothing more is heard."""
        return self.last + (QUIET if self.often else SELDOM)

    def is_near(self, ts: int) -> bool:
        return self.first - (self.ends - self.last) <= ts <= self.ends

    def take(self, other: _Span) -> bool:
        """Whether more than its end changed."""
        before = (self.first, self.severity, self.count)
        apart = max(self.first, other.first) - min(self.last, other.last)
        self.often |= other.often or 0 < apart <= QUIET
        self.first, self.last = min(self.first, other.first), max(self.last, other.last)
        self.severity = min(self.severity, other.severity, key=RANK.index)
        self.count = other.count if other.count is not None else self.count
        return before != (self.first, self.severity, self.count)


@dataclass(slots=True)
class Marks:
    """All items of one machine on one page. ``spn_names``: what the catalog calls a parameter."""

    spn_names: Mapping[int, str] = field(default_factory=dict)
    _spans: dict[Code, list[_Span]] = field(default_factory=dict)
    _events: dict[tuple[str, Event], None] = field(default_factory=dict)
    _changed: bool = False
    _look_again: int = 0  # when an active code may have become quiet, or something is too old
    _said: list[dict[str, Any]] = field(default_factory=list)

    def take(self, found: Reports) -> None:
        """In any order, and as often as one likes."""
        for dtc in sorted(found.dtcs, key=lambda dtc: dtc.ts):
            self._report(dtc)
        for event in found.events:
            if event not in self._events:
                self._events[event] = None
                self._changed = True

    def news(self, now: int) -> list[dict[str, Any]] | None:
        """The items when they changed since the last call, else None. ``now``: the newest time of the machine.

        Active codes first, then the newest first; keys ``t`` and ``until`` (ms UTC), ``kind`` (code, event, log),
        ``severity`` (info, warning, error), ``state`` (active, cleared or ""), ``title``, ``text``, ``source``.
        """
        if not self._changed and now < self._look_again:
            return None
        self._changed = False
        self._forget(now - LOOK_BACK)
        spans = [(code, span) for code, spans in self._spans.items() for span in spans]
        self._look_again = min((s.ends + 1 for _, s in spans if now <= s.ends), default=now + 60 * SECOND)
        items = [self._code(code, span, now) for code, span in spans]
        items += [_event(event) for _, event in self._events]
        items.sort(key=lambda item: (item["state"] != "active", -item["t"], item["title"]))
        if items[:MOST] == self._said:
            return None
        self._said = items[:MOST]
        return self._said

    def _report(self, dtc: Dtc) -> None:
        spans = self._spans.setdefault((dtc.source, dtc.spn, dtc.fmi), [])
        new = _Span(dtc.ts, dtc.ts, _lamp_severity(dtc.lamps), dtc.oc)
        near = [s for s in spans if s.is_near(dtc.ts)]
        if not near:
            spans.append(new)
            self._changed = True
            return
        kept, *rest = near
        for other in (*rest, new):
            self._changed |= kept.take(other)
        for other in rest:
            spans.remove(other)

    def _forget(self, oldest: int) -> None:
        for code, spans in list(self._spans.items()):
            self._spans[code] = [s for s in spans if s.last >= oldest]
            if not self._spans[code]:
                del self._spans[code]
        for key in [key for key in self._events if key[1].ts < oldest]:
            del self._events[key]
        for key in sorted(self._events, key=lambda key: key[1].ts)[: -3 * MOST]:
            del self._events[key]

    def _code(self, code: Code, span: _Span, now: int) -> dict[str, Any]:
        source, spn, fmi = code
        active = now <= span.ends
        words = ": ".join(filter(None, (self.spn_names.get(spn), FMI.get(fmi))))
        count = f" · {span.count} times" if span.count and span.count > 1 else ""
        return {
            "t": span.first / 1000,
            "until": None if active else span.last / 1000,
            "kind": "code",
            "severity": span.severity,
            "state": "active" if active else "cleared",
            "title": f"SPN {spn} FMI {fmi}",
            "text": words + count,
            "source": source,
        }


def spn_names(variables: Iterable[Variable]) -> dict[int, str]:
    """What the catalog calls the parameters that trouble codes name by number."""
    return {v.spn: v.name for v in variables if v.spn is not None}


def _lamp_severity(lamps: str) -> str:
    """A red lamp is an error, whatever else is on; a code without a lamp is still a warning."""
    lit = (lamp.partition(":") for lamp in lamps.split(","))
    return "error" if any("red" in name and state not in ("", "off") for name, _, state in lit) else "warning"


def _event(event: Event) -> dict[str, Any]:
    data = _data(event.data)
    return {
        "t": event.ts / 1000,
        "until": None,
        "kind": "log" if data is None else "event",
        "severity": SEVERITIES.get(event.severity.lower(), "info"),
        "state": "",
        "title": event.name if data is None else event.name.replace("_", " "),
        "text": (event.data if data is None else _said(data))[:LONGEST],
        "source": event.severity.lower() if data is None else "",
    }


def _data(text: str) -> dict[str, Any] | None:
    """An event's data; None for the text of a log line."""
    try:
        data = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return None
    return data if isinstance(data, dict) else None


def _said(data: Mapping[str, Any]) -> str:
    """Its ``text`` first, then the other facts."""
    words = [str(data["text"])] if data.get("text") else []
    facts = [f"{NAMES.get(name, name.replace('_', ' '))} {value}" for name, value in data.items() if name != "text"]
    return " · ".join([*words, ", ".join(facts)] if facts else words)

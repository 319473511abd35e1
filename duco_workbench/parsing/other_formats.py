"""KCD, SYM and ARXML files, parsed by cantools after what they state has been held against :mod:`.bounds`.

XML is first walked through by expat, which keeps nothing: a DOCTYPE (and with it every entity), too many elements, too
deep nesting or a giant length is refused with its line before a tree is built.
"""

from __future__ import annotations

import re
from typing import Any
from xml.parsers import expat

from ..errors import ConfigError
from . import bounds
from .definitions import Message, Signal, Skipped

MAX_ELEMENTS = 2_000_000
MAX_DEPTH = 100
MAX_MUX_GROUPS = 10_000  # each costs cantools a millisecond
MAX_SIZES = {"kcd": 8 * bounds.MAX_MESSAGE_BYTES, "arxml": 1 << 19, "sym": 8 * bounds.MAX_MESSAGE_BYTES}  # bits
_SIZES = frozenset(("length", "offset"))  # KCD attributes
_SIZE_ELEMENTS = frozenset(("LENGTH", "FRAME-LENGTH", "START-POSITION", "OFFSET"))  # ARXML; Ethernet's are long
_COUNTED = {
    **dict.fromkeys(("Message", "CAN-FRAME"), bounds.MAX_MESSAGES),
    **dict.fromkeys(("Signal", "I-SIGNAL"), bounds.MAX_SIGNALS),
    **dict.fromkeys(("Label", "COMPU-SCALE"), bounds.MAX_CHOICES),
    "MuxGroup": MAX_MUX_GROUPS,
}
_NAMED = {"kcd": '"{}"', "arxml": ">{}<", "sym": "[{}]"}  # how a format writes the name of a message
_SYM_COUNTED = (
    (re.compile(r"^[ \t]*(?:Sig|Var|Mux)=", re.MULTILINE), bounds.MAX_SIGNALS, "signals"),
    (re.compile(r"^[ \t]*\[", re.MULTILINE), bounds.MAX_MESSAGES, "messages"),
)
_SYM_SIZES = re.compile(
    r'^[ \t]*(?:Len=|(?:Sig|Var|Mux)=[ \t]*(?:"[^"\n]*"|[^\s=]+)[ \t]+(?:[A-Za-z_]\w*[ \t]+)?)'
    r"(-?[0-9]+)(?:[ \t]*,[ \t]*(-?[0-9]+))?",
    re.MULTILINE,
)


def read(text: str, kind: str, name: str, skipped: Skipped) -> list[tuple[Message, str]]:
    """The messages of a text, each with where it stands; what is left out goes to ``skipped``.

    Raises: ConfigError: it is refused, or is not a database of that kind.
    """
    if kind == "sym":
        _check_sym(text, name)
    else:
        _XmlCheck(name, kind).run(text)
    parsed = _parse(text, kind, name)
    found, lines = [], _Lines(text, _NAMED[kind])
    for m in parsed.messages:
        where = f"{name}:{lines.naming(m.name)}"
        if why := _impossible(m):
            skipped.append((where, f"{m.name}: {why}"))
        else:
            found.append((_message(m, where, skipped), where))
    if not parsed.messages:
        skipped.append((name, "it defines no message"))
    return found


def _parse(text: str, kind: str, name: str) -> Any:
    import cantools

    try:
        return cantools.database.load_string(text, database_format=kind, strict=False)
    except MemoryError:
        raise
    except Exception as error:  # ValueError, KeyError, IndexError, RecursionError and cantools' own
        cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
        reason = " ".join(str(cause).split())[:300]
        raise ConfigError(f"{name} cannot be read as {kind}: {reason}; mend the file or remove that part") from error


def _impossible(m: Any) -> str:
    if not m.name or not all(s.name for s in m.signals):
        return "it, or a signal of it, has no name"
    if m.is_container:
        return "a container message"
    if not 0 <= m.length <= bounds.MAX_MESSAGE_BYTES:
        return f"longer than {bounds.MAX_MESSAGE_BYTES} bytes, or shorter than none"
    return "its id is negative" if m.frame_id < 0 else ""


def _message(m: Any, where: str, skipped: Skipped) -> Message:
    signals = []
    is_j1939 = bool(m.is_extended_frame) and m.protocol == "j1939"
    for s in map(_signal, m.signals):
        if why := bounds.unusable(s, is_j1939):
            skipped.append((where, f"{m.name}.{s.name}: {why}"))
        else:
            signals.append(s)
    try:
        bounds.entries_of(signals, bounds.MAX_MUX_ENTRIES)
    except ValueError as error:
        raise ConfigError(f"{where}: {m.name}: {error}") from error
    comment = m.comment if isinstance(m.comment, str) else ""
    return Message(
        m.name, m.frame_id, m.is_extended_frame, is_j1939, m.length, tuple(signals), _texts(m.senders), comment
    )


def _texts(senders: Any) -> tuple[str, ...]:
    return tuple(str(sender) for sender in senders if sender)


def _signal(s: Any) -> Signal:
    return Signal(
        name=s.name,
        start=s.start,
        length=s.length,
        byte_order=s.byte_order,
        is_signed=s.is_signed,
        is_float=s.conversion.is_float,
        scale=s.conversion.scale,
        offset=s.conversion.offset,
        unit=s.unit or "",
        minimum=_limit(s.minimum),
        maximum=_limit(s.maximum),
        choices={int(k): str(v) for k, v in (s.choices or {}).items() if bounds.finite(k)},
        spn=s.spn or None,
        comment=s.comment if isinstance(s.comment, str) else "",
        is_multiplexer=s.is_multiplexer,
        multiplexer_signal=s.multiplexer_signal,
        multiplexer_ids=bounds.possible(s.multiplexer_ids or ()),
    )


def _limit(number: float | None) -> float | None:
    return None if number is None or not bounds.finite(number) else float(number)


class _Lines:
    """Where messages stand: these formats' parsers keep no lines, but keep their order."""

    def __init__(self, text: str, form: str) -> None:
        self.text, self.form, self.at, self.line = text, form, 0, 1

    def naming(self, name: str) -> int:
        """The line that names a message next; that of the one before where none does."""
        wanted = self.form.format(name)
        at = self.text.find(wanted, self.at)
        if at < 0 and (at := self.text.find(wanted)) >= 0:
            self.at, self.line = 0, 1
        if at >= 0:
            self.line += self.text.count("\n", self.at, at)
            self.at = at
        return self.line


def _check_sym(text: str, name: str) -> None:
    for pattern, limit, what in _SYM_COUNTED:
        for number, match in enumerate(pattern.finditer(text)):
            if number >= limit:
                raise bounds.too_many(name, bounds.line_of(text, match.start()), limit, what)
    for match in _SYM_SIZES.finditer(text):
        if any(part and int(part[:12]) > MAX_SIZES["sym"] for part in match.groups()):
            line = bounds.line_of(text, match.start())
            raise ConfigError(f"{name}:{line}: {match[0].strip()[:80]}: over {bounds.MAX_MESSAGE_BYTES} bytes")


class _XmlCheck:
    """One walk through an XML text."""

    def __init__(self, name: str, kind: str) -> None:
        self.name, self.kind, self.depth, self.elements = name, kind, 0, 0
        self.counts = dict.fromkeys(_COUNTED, 0)
        self.size: list[str] | None = None  # text of an element that states one
        self.parser = expat.ParserCreate("utf-8")  # whatever the text says: it is decoded already
        self.parser.StartDoctypeDeclHandler = self.doctype
        self.parser.StartElementHandler = self.start
        self.parser.EndElementHandler = self.end
        self.parser.CharacterDataHandler = self.text

    def run(self, text: str) -> None:
        """Raises: ConfigError."""
        try:
            self.parser.Parse(text.encode("utf-8", "replace"), True)
        except (expat.ExpatError, LookupError, ValueError) as error:
            raise self.refuse(f"it is no well-formed XML ({error})") from error

    def refuse(self, why: str) -> ConfigError:
        return ConfigError(f"{self.name}:{self.parser.CurrentLineNumber} cannot be read as {self.kind}: {why}")

    def doctype(self, *_: object) -> None:
        raise self.refuse("XML with a DOCTYPE is refused; remove that line")

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        local = tag.rpartition(":")[2]
        self.depth, self.elements = self.depth + 1, self.elements + 1
        if self.depth > MAX_DEPTH or self.elements > MAX_ELEMENTS:
            raise self.refuse(f"it nests over {MAX_DEPTH} deep, or has over {MAX_ELEMENTS:,} elements")
        if local in self.counts:
            self.counts[local] += 1
            if self.counts[local] > _COUNTED[local]:
                raise bounds.too_many(self.name, self.parser.CurrentLineNumber, _COUNTED[local], f"<{local}> elements")
        for key in _SIZES & attributes.keys():
            self.check(local, attributes[key])
        self.size = [] if local in _SIZE_ELEMENTS else None

    def end(self, tag: str) -> None:
        self.depth -= 1
        if self.size:
            self.check(tag, "".join(self.size))
        self.size = None

    def text(self, part: str) -> None:
        if self.size is not None and len(self.size) < 9:
            self.size.append(part[:99])

    def check(self, tag: str, size: str) -> None:
        digits = re.sub(r"[\s_+-]", "", size).lstrip("0")
        most = bounds.MAX_MESSAGE_BYTES if tag == "Message" else MAX_SIZES[self.kind]
        if digits.isdecimal() and (len(digits) > 8 or int(digits) > most):
            raise self.refuse(f"<{tag}> states a size of {size[:40]}, over {most:,}")

"""Databases of messages and signals, read from DBC, KCD, SYM and ARXML files into small values of our own.

cantools parses (on first use: it takes a second to import); nothing of it is kept, so a catalog that holds many
databases stays small. What is left out of a file, by :mod:`.repair` or here, is listed in ``Database.skipped``.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from . import repair, validity

MAX_FILE_BYTES = 64 << 20
FORMATS = ("dbc", "kcd", "sym", "arxml")
OVERRIDES = ("scale", "offset", "unit", "minimum", "maximum", "validity")
Overrides = Mapping[str, Mapping[str, Any]]
_FLOATS = (16, 32, 64)


@dataclass(frozen=True, slots=True)
class Signal:
    """One signal of a message.

    Attributes:
        start, length: bits, as a DBC counts them (Motorola: ``start`` is the most significant bit).
        scale, offset: value = raw * scale + offset, in ``unit``.
        minimum, maximum: the database's limits in ``unit``, or None.
        choices: names of raw values; a decoded value stays the number.
        spn: J1939 suspect parameter number, or None.
        long_name: SystemSignalLongSymbol, "" where there is none; ``name`` is then the same.
        multiplexer_signal, multiplexer_ids: present only when that signal has one of these values.
        validity: override of the J1939 rule: ``""``, ``"none"``, ``"j1939"``; see :mod:`.validity`.
    """

    name: str
    start: int
    length: int
    byte_order: str = "little_endian"
    is_signed: bool = False
    is_float: bool = False
    scale: float = 1
    offset: float = 0
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    choices: Mapping[int, str] = field(default_factory=dict)
    spn: int | None = None
    comment: str = ""
    long_name: str = ""
    is_multiplexer: bool = False
    multiplexer_signal: str | None = None
    multiplexer_ids: tuple[int, ...] = ()
    validity: str = ""

    @property
    def first_bit(self) -> int:
        """Where it begins when bits are counted in the order its bytes are read."""
        return 8 * (self.start // 8) + 7 - self.start % 8 if self.byte_order == "big_endian" else self.start

    @property
    def end_bit(self) -> int:
        """The bit after its last: it is present in data of that many bits."""
        return self.first_bit + self.length


@dataclass(frozen=True, slots=True)
class Message:
    """One message; ``frame_id`` without SocketCAN's bit 31, ``length`` in bytes."""

    name: str
    frame_id: int
    is_extended: bool
    is_j1939: bool
    length: int
    signals: tuple[Signal, ...]
    senders: tuple[str, ...] = ()
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Database:
    """The messages of one or more files.

    Attributes:
        messages: in file order. Of two with one id the later decodes, as in cantools.
        skipped: what was left out or is shadowed: (where, why).
        fingerprint: 16 hex digits that change with any text or override.
    """

    messages: tuple[Message, ...]
    skipped: tuple[tuple[str, str], ...] = ()
    fingerprint: str = ""


def load(*paths: str | Path, overrides: Overrides | None = None) -> Database:
    """One database of all these files; the format is the file name's ending.

    Raises:
        ConfigError: a file is missing, too large, of an unknown format, or damaged; an override names no signal.
    """
    files = [read_file(Path(path)) for path in paths]
    return _database([(text, kind, name) for text, kind, name in files], overrides or {})


def load_text(text: str, format: str = "dbc", name: str = "", overrides: Overrides | None = None) -> Database:
    """The database of a text; ``name`` is what errors call it. Raises: as :func:`load`."""
    if format not in FORMATS:
        raise ConfigError(f"{name or 'database'}: format {format!r} is unknown, use one of {', '.join(FORMATS)}")
    return _database([(text, format, name or f"{format} text")], overrides or {})


def read_file(path: Path) -> tuple[str, str, str]:
    """Text, format and name of a database file. Raises: ConfigError: missing, too large, or of an unknown format."""
    kind = path.suffix.lower().lstrip(".")
    if kind not in FORMATS:
        raise ConfigError(f"{path}: cannot tell the format by its name, it must end in .{', .'.join(FORMATS)}")
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ConfigError(f"{path} is larger than {MAX_FILE_BYTES >> 20} MiB: not a database of one machine")
        body = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    return _text(body), kind, path.name


def _text(body: bytes) -> str:
    """UTF-16 and UTF-8 when they are just that; else Windows' western code page, which most tools write."""
    if body[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return body.decode("utf-16", "replace")
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        return body.decode("cp1252", "replace")


def _database(files: list[tuple[str, str, str]], overrides: Overrides) -> Database:
    messages: list[Message] = []
    skipped: repair.Skipped = []
    for text, kind, name in files:
        if kind in ("kcd", "arxml") and re.search(r"<!DOCTYPE", text, re.IGNORECASE):
            raise ConfigError(f"{name}: XML with a DOCTYPE is refused; remove that line")
        parsed, left_out = repair.parse(text, kind, name)
        skipped += left_out
        messages += _messages(parsed, name, skipped)
    _note_shadowed(messages, skipped)
    messages = _override(messages, overrides)
    seed = repr([[f[0] for f in files], sorted((k, sorted(v.items())) for k, v in overrides.items())])
    digest = hashlib.sha256(seed.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return Database(tuple(messages), tuple(skipped), digest)


def _messages(parsed: Any, name: str, skipped: repair.Skipped) -> list[Message]:
    specifics = getattr(parsed, "dbc", None)
    protocol = specifics.attributes.get("ProtocolType") if specifics and specifics.attributes else None
    by_default = protocol is not None and str(protocol.value).upper() == "J1939"
    found = []
    for m in parsed.messages:
        if m.is_container or m.length > repair.MAX_MESSAGE_BYTES:
            why = "container" if m.is_container else f"longer than {repair.MAX_MESSAGE_BYTES} bytes"
            skipped.append((f"{name}: {m.name}", why))
            continue
        is_j1939 = bool(m.is_extended_frame) and (m.protocol == "j1939" or (by_default and not _states_format(m)))
        signals = tuple(s for s in map(_signal, m.signals) if _usable(s, m.name, is_j1939, name, skipped))
        comment = m.comment if isinstance(m.comment, str) else ""
        found.append(
            Message(m.name, m.frame_id, m.is_extended_frame, is_j1939, m.length, signals, tuple(m.senders), comment)
        )
    return found


def _states_format(message: Any) -> bool:
    """Whether the file says of this message, itself or by default, which frame format it has."""
    attributes = message.dbc.attributes or {}
    definition = message.dbc.attribute_definitions.get("VFrameFormat")
    return "VFrameFormat" in attributes or (definition is not None and definition.default_value is not None)


def _signal(s: Any) -> Signal:
    attributes = s.dbc.attributes if s.dbc is not None and s.dbc.attributes else {}
    long_name = attributes.get("SystemSignalLongSymbol")
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
        minimum=None if s.minimum is None else float(s.minimum),
        maximum=None if s.maximum is None else float(s.maximum),
        choices={int(k): str(v) for k, v in (s.choices or {}).items()},
        spn=s.spn or None,  # 0 is what "not given" looks like
        comment=s.comment if isinstance(s.comment, str) else "",
        long_name=str(long_name.value) if long_name is not None else "",
        is_multiplexer=s.is_multiplexer,
        multiplexer_signal=s.multiplexer_signal,
        multiplexer_ids=tuple(s.multiplexer_ids or ()),
    )


def _usable(s: Signal, message: str, is_j1939: bool, name: str, skipped: repair.Skipped) -> bool:
    why = ""
    if not _finite(s.scale) or not _finite(s.offset):
        why = "scale or offset is not a finite number"
    elif s.is_float and s.length not in _FLOATS:
        why = f"a floating point number of {s.length} bits"
    elif s.length > 64 and not (is_j1939 and s.byte_order == "little_endian" and s.start % 8 == 0):
        why = f"{s.length} bits are too many for a number"
    elif s.end_bit > 8 * repair.MAX_MESSAGE_BYTES:
        why = f"ends after {repair.MAX_MESSAGE_BYTES} bytes"
    if why:
        skipped.append((f"{name}: {message}.{s.name}", why))
    return not why


def _finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # an integer beyond float64
        return False


def _note_shadowed(messages: list[Message], skipped: repair.Skipped) -> None:
    seen: dict[tuple[bool, int], Message] = {}
    for m in messages:
        key = (m.is_extended, m.frame_id)
        if key in seen:
            skipped.append((f"{seen[key].name} (0x{m.frame_id:x})", f"{m.name} has the same id and comes later"))
        seen[key] = m


def _override(messages: list[Message], overrides: Overrides) -> list[Message]:
    known = {f"{m.name}.{s.name}" for m in messages for s in m.signals}
    for key, change in overrides.items():
        if key not in known:
            raise ConfigError(f"override of {key!r}: the database has no such signal (write Message.Signal)")
        for what in change:
            if what not in OVERRIDES:
                raise ConfigError(f"override of {key!r}: {what!r} cannot be changed, only {', '.join(OVERRIDES)}")
        _check_values(key, change)
    if not overrides:
        return messages

    def changed(m: Message, s: Signal) -> Signal:
        return replace(s, **dict(overrides.get(f"{m.name}.{s.name}", {})))

    return [replace(m, signals=tuple(changed(m, s) for s in m.signals)) for m in messages]


def _check_values(key: str, change: Mapping[str, Any]) -> None:
    for what, value in change.items():
        if what == "validity" and value not in validity.RULES:
            raise ConfigError(f"override of {key!r}: validity {value!r} is not one of {', '.join(validity.RULES[1:])}")
        if what == "unit" and not isinstance(value, str):
            raise ConfigError(f"override of {key!r}: unit must be text, not {value!r}")
        if what in ("scale", "offset", "minimum", "maximum") and (
            isinstance(value, bool) or not isinstance(value, int | float)
        ):
            raise ConfigError(f"override of {key!r}: {what} must be a number, not {value!r}")

"""Databases of messages and signals, read from DBC, KCD, SYM and ARXML files into small values of our own.

DBC files are read by :mod:`.dbc`, the others by cantools (:mod:`.other_formats`; on first use, since importing it takes
seconds). What is left out of a file is listed in ``Database.skipped``, with its line.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from ..errors import ConfigError
from . import bounds, dbc
from .definitions import Database, Message, Signal, Skipped
from .overrides import OVERRIDES, Overrides, override

__all__ = ["FORMATS", "OVERRIDES", "Database", "Message", "Overrides", "Signal", "load", "load_text", "read_file"]

FORMATS = ("dbc", "kcd", "sym", "arxml")
_BLANK_UTF16 = {b"<\0": "utf-16-le", b"\0<": "utf-16-be", b"V\0": "utf-16-le", b"\0V": "utf-16-be"}


def load(*paths: str | Path, overrides: Overrides | None = None) -> Database:
    """One database of all these files; the format is the file name's ending.

    Raises:
        ConfigError: a file is missing, too large, of an unknown format, or damaged; an override names no signal.
    """
    return _database([read_file(Path(path)) for path in paths], overrides or {})


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
        with path.open("rb") as file:
            body = file.read(bounds.MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    if len(body) > bounds.MAX_FILE_BYTES:
        raise ConfigError(
            f"{path} is larger than {bounds.MAX_FILE_BYTES >> 20} MiB: not a database of one machine; "
            "give the part this machine needs"
        )
    return _text(body), kind, path.name


def _text(body: bytes) -> str:
    """UTF-16 and UTF-8 when they are just that; else Windows' western code page, which most tools write."""
    if body[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return body.decode("utf-16", "replace")
    if encoding := _BLANK_UTF16.get(body[:2]):
        return body.decode(encoding, "replace")
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        return body.decode("cp1252", "replace")


def _database(files: list[tuple[str, str, str]], overrides: Overrides) -> Database:
    found: list[tuple[Message, str]] = []
    skipped: Skipped = []
    for text, kind, name in files:
        bounds.check_text(text, kind, name)
        found += _messages(text, kind, name, skipped)
    _note_shadowed(found, skipped)
    messages = override([message for message, _ in found], overrides)
    seed = repr([[f[0] for f in files], sorted((k, sorted(v.items())) for k, v in overrides.items())])
    digest = hashlib.sha256(seed.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return Database(tuple(messages), tuple(skipped), digest)


def _messages(text: str, kind: str, name: str, skipped: Skipped) -> list[tuple[Message, str]]:
    if kind == "dbc":
        return dbc.read(text, name, skipped)
    from . import other_formats

    return other_formats.read(text, kind, name, skipped)


def _note_shadowed(found: list[tuple[Message, str]], skipped: Skipped) -> None:
    seen: dict[tuple[bool, int], tuple[Message, str]] = {}
    for m, where in found:
        key = (m.is_extended, m.frame_id)
        if key in seen:
            earlier, its_place = seen[key]
            skipped.append((its_place, f"{earlier.name} (0x{m.frame_id:x}): {m.name} of {where} has the same id"))
        seen[key] = m, where

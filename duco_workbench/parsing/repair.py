"""Opening the database files that cantools refuses: leave out the part it names, say so, try again.

One pass costs one parse of the file, so passes are bounded; what cannot be mended is a
:class:`~duco_workbench.errors.ConfigError` with the first reason.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import Any, NamedTuple

from ..errors import ConfigError

MAX_PASSES = 40
MAX_MESSAGE_BYTES = 1785  # the longest J1939 transport message
Skipped = list[tuple[str, str]]

_KEYWORDS = frozenset(
    """BA_ BA_DEF_ BA_DEF_DEF_ BA_DEF_DEF_REL_ BA_DEF_REL_ BA_REL_ BO_ BO_TX_BU_ BS_ BU_ CM_ ENVVAR_DATA_ EV_ NS_
    SG_ SG_MUL_VAL_ SIG_GROUP_ SIG_VALTYPE_ VAL_ VAL_TABLE_ VERSION""".split()  # noqa: SIM905 - shorter so
)
# A quoted string (which may span lines and hold keywords), or a keyword that begins a line.
_TOKEN = re.compile(r'"(?:\\"|[^"])*"|^[ \t]*([A-Z][A-Z_]*_|VERSION)(?![A-Za-z0-9_])', re.MULTILINE)
_NO_RECEIVER = re.compile(r'^([ \t]*SG_ [^"\n]*"[^"\n]*")[ \t]*(?=\r?$)', re.MULTILINE)
# The sections a database can do without, least useful first: dropped whole when nothing better is known.
_OPTIONAL = (
    ("BA_REL_", "BA_DEF_REL_", "BA_DEF_DEF_REL_", "BU_SG_REL_", "BU_BO_REL_", "BU_EV_REL_"),
    ("SIG_GROUP_", "SGTYPE_", "SIG_TYPE_REF_", "SGTYPE_VAL_", "SIGTYPE_VALTYPE_", "CAT_", "CAT_DEF_", "FILTER"),
    ("EV_", "EV_DATA_", "ENVVAR_DATA_"),
    ("CM_",),
    ("BO_TX_BU_",),
    ("BA_", "BA_DEF_", "BA_DEF_DEF_"),
    ("VAL_", "VAL_TABLE_"),
)


class Statement(NamedTuple):
    """One statement of a DBC text: where it is, and the keyword it begins with."""

    start: int
    end: int
    keyword: str


def parse(text: str, file_format: str, name: str) -> tuple[Any, Skipped]:
    """cantools' database of ``text`` and what had to be left out as (where, why).

    Raises:
        ConfigError: not a database of that format, or damaged beyond these repairs.
    """
    skipped: Skipped = []
    places: set[str] = set()
    if file_format == "dbc":
        if not re.search(r"^[ \t]*BO_ ", text, re.MULTILINE):
            raise ConfigError(f"{name} is not a DBC file: it defines no message (no line begins with BO_)")
        text = _drop_giants(_NO_RECEIVER.sub(r"\1 Vector__XXX", text), name, skipped)
    first: Exception | None = None
    for _ in range(MAX_PASSES):
        try:
            parsed = _load(text, file_format)
            if parsed.messages:
                return parsed, skipped
            first = first or ValueError("it defines no message")
            break
        except Exception as error:  # cantools lets ValueError, KeyError, IndexError and its own errors out
            cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
            first = first or cause
            mended = _mend(text, cause, name, skipped, places) if file_format == "dbc" else None
            if mended is None:
                break
            text = mended
    reason = " ".join(str(first).split())
    raise ConfigError(f"{name} cannot be read as {file_format}: {reason}; mend the file or remove that part") from first


def _load(text: str, file_format: str) -> Any:
    import cantools

    return cantools.database.load_string(text, database_format=file_format, strict=False)


def statements(text: str) -> list[Statement]:
    """The statements of a DBC text; a keyword inside a quoted string begins none."""
    starts = [(m.start(), m.group(1)) for m in _TOKEN.finditer(text) if m.group(1)]
    ends = [*(start for start, _ in starts[1:]), len(text)]
    return [Statement(start, end, keyword) for (start, keyword), end in zip(starts, ends, strict=False)]


def _mend(text: str, cause: Exception, name: str, skipped: Skipped, places: set[str]) -> str | None:
    """``text`` without what ``cause`` complains of, or None when nothing is left to leave out."""
    reason = " ".join(str(cause).split())
    parts = statements(text)
    wrong = _named(text, parts, str(cause)) or _at_line(text, parts, reason, places)
    if not wrong and isinstance(cause, KeyError):  # an attribute without a definition
        wrong = _matching(text, parts, rf"BA_\s+\"{re.escape(str(cause.args[0]))}\"")
    if not wrong:
        wrong = next((found for kinds in _OPTIONAL if (found := [s for s in parts if s.keyword in kinds])), [])
        reason = f"the section cantools fails on ({reason})"
    for s in wrong:
        line = text.count("\n", 0, s.start) + 1
        skipped.append((f"{name}:{line}", f"{' '.join(text[s.start : s.end].split())[:80]}: {reason[:200]}"))
    return _without(text, wrong) if wrong else None


def _named(text: str, parts: list[Statement], reason: str) -> list[Statement]:
    """The statements that cantools' message names: unused entries, ids out of range, signals without length."""
    unused = re.findall(r"^\s*(VAL_|SIG_VALTYPE_) (\d+) (\S+)$", reason, re.MULTILINE)
    if unused:
        wanted = set(unused)
        found = {s: re.match(r"\s*(\w+)\s+(\d+)\s+(\w+)", text[s.start : s.end]) for s in parts}
        return [s for s, m in found.items() if m and m.groups() in wanted]
    if match := re.search(r"is more than (?:11|29) bits in message (\S+?)\.?$", reason):
        return _message(text, parts, match[1])
    if match := re.search(r"The signal (\S+) length \S+ is not greater than 0 in message (\S+?)\.?$", reason):
        signal = re.compile(rf"\s*SG_\s+{re.escape(match[1])}\b")
        return [s for s in _message(text, parts, match[2]) if signal.match(text, s.start)]
    return []


def _message(text: str, parts: list[Statement], name: str) -> list[Statement]:
    """The BO_ of a message and its SG_ statements."""
    header = re.compile(rf"\s*BO_\s+\d+\s+{re.escape(name)}\s*:")
    return [s for i, head in enumerate(parts) if header.match(text, head.start) for s in _block(parts, i)]


def _block(parts: list[Statement], i: int) -> list[Statement]:
    end = i + 1
    while parts[i].keyword == "BO_" and end < len(parts) and parts[end].keyword == "SG_":
        end += 1
    return parts[i:end]


def _at_line(text: str, parts: list[Statement], reason: str, places: set[str]) -> list[Statement]:
    """The statement where a syntax error is.

    When a statement is cut short it is the first word of the next one that surprises, so the one before is meant;
    unless that word is no keyword, or the error was at this place (``places``) before.
    """
    match = re.search(r"at line (\d+), column (\d+)", reason)
    if not match or not parts:
        return []
    line_start = 0
    for _ in range(int(match[1]) - 1):
        line_start = text.find("\n", line_start) + 1
    at = line_start + int(match[2]) - 1
    i = max(0, bisect_right([s.start for s in parts], at) - 1)
    is_first_word = not text[parts[i].start : at].strip()
    if i and is_first_word and parts[i].keyword in _KEYWORDS and match[0] not in places:
        i -= 1
    places.add(match[0])
    return _block(parts, i)


def _matching(text: str, parts: list[Statement], pattern: str) -> list[Statement]:
    compiled = re.compile(rf"\s*{pattern}")
    return [s for s in parts if compiled.match(text, s.start)]


def _without(text: str, wrong: list[Statement]) -> str:
    """``text`` with these statements blanked; line numbers stay."""
    for s in sorted(wrong, reverse=True):
        text = text[: s.start] + "\n" * text.count("\n", s.start, s.end) + text[s.end :]
    return text


def _drop_giants(text: str, name: str, skipped: Skipped) -> str:
    """Without the messages and signals whose stated size alone would fill the memory of whoever parses them."""
    parts = statements(text)
    wrong: list[Statement] = []
    for i, s in enumerate(parts):
        if s.keyword == "BO_":
            match = re.match(r"\s*BO_\s+\d+\s+\w+\s*:\s*(\d+)", text[s.start : s.end])
            if match and int(match[1][:9]) > MAX_MESSAGE_BYTES:
                wrong += _block(parts, i)
        elif s.keyword == "SG_":
            match = re.match(r"[^:]*:\s*(\d+)\s*\|\s*(\d+)", text[s.start : s.end])
            if match and int(match[1][:9]) + int(match[2][:9]) > 8 * MAX_MESSAGE_BYTES:
                wrong.append(s)
    for s in wrong:
        where = f"{name}:{text.count(chr(10), 0, s.start) + 1}"
        skipped.append((where, f"{text[s.start : s.end].strip()[:80]}: over {MAX_MESSAGE_BYTES} bytes"))
    return _without(text, list(dict.fromkeys(wrong))) if wrong else text

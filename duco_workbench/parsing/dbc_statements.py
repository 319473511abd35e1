"""The statements of a DBC text, found by walking through it once: what is damaged is noted, and the walk goes on.

::

    VERSION ""                      passed over, as is every section no decoding needs
    BO_ 256 Engine: 8 ECU           Statement(line 2, "BO_", match)
     SG_ Speed : 0|16@1+ (.25,0)    damaged: noted; the walk goes on at the next line that begins with a keyword
    CM_ "of two
    BO_ lines";                     one statement: its grammar takes strings whole, whatever they hold

Each keyword has one regular expression. Its repeats are possessive (``*+``: nothing that matched is tried again), so
that no text costs more than its length; numbers have bounded digits.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from .bounds import MAX_DAMAGED, MAX_DIGITS, MAX_STATEMENTS, too_many
from .definitions import Skipped

KEYWORDS = frozenset(
    """BA_ BA_DEF_ BA_DEF_DEF_ BA_DEF_DEF_REL_ BA_DEF_REL_ BA_DEF_SGTYPE_ BA_REL_ BA_SGTYPE_ BO_ BO_TX_BU_ BS_ BU_
    BU_BO_REL_ BU_EV_REL_ BU_SG_REL_ CAT_ CAT_DEF_ CM_ ENVVAR_DATA_ EV_ EV_DATA_ FILTER NS_ NS_DESC_ SG_ SG_MUL_VAL_
    SGTYPE_ SGTYPE_VAL_ SIG_GROUP_ SIG_TYPE_REF_ SIG_VALTYPE_ SIGTYPE_VALTYPE_ VAL_ VAL_TABLE_
    VERSION""".split()  # noqa: SIM905 - shorter so
)
_ANY_KEY = rf"(?:{'|'.join(sorted(KEYWORDS, reverse=True))})(?![A-Za-z0-9_])"
_D = rf"[0-9]{{1,{MAX_DIGITS}}}+"
NUMBER = rf"[-+]?(?:{_D}(?:\.(?:{_D})?)?|\.{_D})(?:[eE][-+]?[0-9]{{1,4}}+)?"
STRING = r'"[^"\\]*+(?:\\"?+[^"\\]*+)*+"'
_ID, _BITS, _NAME = "([0-9]{1,10}+)", "([0-9]{1,9}+)", r"(\w++)"
_WORD = rf"(?!{_ANY_KEY})\w++"
# A semicolon, which may be missing where the next statement or the end of the text follows.
_END = rf"(?:\s*+;|(?=\s*+(?:{_ANY_KEY}|\Z)))"

_GRAMMAR = {
    "BO_": rf"BO_\s+{_ID}\s+{_NAME}\s*:\s*{_BITS}(?![0-9])(?:[ \t]*+({_WORD}))?",
    "SG_": (
        rf"SG_\s+{_NAME}(?:\s+{_NAME})?\s*:\s*{_BITS}\s*\|\s*{_BITS}\s*@\s*([0-9])\s*([-+])"
        rf"\s*\(\s*({NUMBER})\s*,\s*({NUMBER})\s*\)\s*\[([^|\]\n]*+)\|([^|\]\n]*+)\]\s*({STRING})"
        rf"(?:(?:[ \t]|,\s*+)*+{_WORD})*+,?"
    ),
    "CM_": rf"CM_\s*(?:BO_\s+{_ID}|SG_\s+{_ID}\s+{_NAME}|(?:BU_|EV_)\s+\w++)?\s*({STRING}){_END}",
    "VAL_": rf"VAL_\s+(?:{_ID}\s+)?{_NAME}((?:\s*+{NUMBER}\s*+{STRING})*+){_END}",
    "SIG_VALTYPE_": rf"SIG_VALTYPE_\s+{_ID}\s+{_NAME}\s*:?\s*([0-9]){_END}",
    "SG_MUL_VAL_": (
        rf"SG_MUL_VAL_\s+{_ID}\s+{_NAME}\s+{_NAME}((?:[\s,]*+[0-9]{{1,20}}+\s*+-\s*+[0-9]{{1,20}}+)++){_END}"
    ),
    "BO_TX_BU_": rf"BO_TX_BU_\s+{_ID}\s*:((?:[\s,]*+{_WORD})*+){_END}",
    "BA_DEF_": rf"BA_DEF_\s+(?:(?:BU_|BO_|SG_|EV_)\s+)?({STRING})\s*(\w++)((?:[\s,]*+(?:{NUMBER}|{STRING}))*+){_END}",
    "BA_DEF_DEF_": rf"BA_DEF_DEF_\s+({STRING})\s*({NUMBER}|{STRING}){_END}",
    "BA_": (
        rf"BA_\s+({STRING})\s*(?:BO_\s+{_ID}|SG_\s+{_ID}\s+{_NAME}|BU_\s+{_NAME}|EV_\s+\w++)?"
        rf"\s*({NUMBER}|{STRING}){_END}"
    ),
}
NEEDED = frozenset(_GRAMMAR)
_READ = {keyword: re.compile(grammar) for keyword, grammar in _GRAMMAR.items()}
_PASSED = {
    "NS_": re.compile(r"NS_[^\n]*+(?:\n[ \t]*+(?:[A-Z][A-Z_]*+[ \t]*+)?\r?(?=\n|\Z))*+"),
    "BU_": re.compile(rf"BU_\s*:?(?:\s*+{_WORD})*+"),
    "": re.compile(rf'\w++(?:[^";\n]++|{STRING})*+;?'),  # every other
}
_BETWEEN = re.compile(r"(?:[\s\0\x1a\ufeff;]++|//[^\n]*+)*+")
_WORDS_OF_KEY = re.compile(r"[A-Z][A-Z_]*_(?![A-Za-z0-9_])|VERSION\b|FILTER\b")
_NEXT = re.compile(rf"^[ \t]*+(?=[A-Z][A-Z_]*_(?![A-Za-z0-9_])|{_ANY_KEY})", re.MULTILINE)


class Statement(NamedTuple):
    """One statement; ``match`` holds the parts its grammar names, None for a message's header that is damaged."""

    line: int
    keyword: str
    match: re.Match[str] | None


def walk(text: str, name: str, skipped: Skipped) -> Iterator[Statement]:
    """The statements of ``text``, in order; those that cannot be read go to ``skipped``.

    Of sections that no decoding needs (``keyword not in NEEDED``) the match is only where they are.

    Raises: ConfigError: more statements, or more damaged ones, than any database has.
    """
    at, line, counted, number, noted = 0, 1, 0, 0, len(skipped)
    while (at := _end(_BETWEEN, text, at)) < len(text):
        line, counted = line + text.count("\n", counted, at), at
        key = _WORDS_OF_KEY.match(text, at)
        keyword = key[0] if key else ""
        match = _match(keyword, text, at)
        if match is None:
            after = _NEXT.search(text, at + 1)
            end = after.end() if after else len(text)
            skipped.append((f"{name}:{line}", f"{excerpt(text, at, end)}: {_reason(keyword)}"))
            if keyword == "BO_":
                yield Statement(line, keyword, None)
            at = end
        else:
            at = match.end()
            yield Statement(line, keyword, match)
        number += 1
        if number > MAX_STATEMENTS:
            raise too_many(name, line, MAX_STATEMENTS, "statements")
        if len(skipped) - noted > MAX_DAMAGED:
            raise too_many(name, line, MAX_DAMAGED, "damaged statements")


def excerpt(text: str, start: int, end: int) -> str:
    """The beginning of a statement, on one line."""
    return " ".join(text[start : min(end, start + 200)].split())[:80]


def unquoted(string: str) -> str:
    return string[1:-1].replace('\\"', '"')


def _match(keyword: str, text: str, at: int) -> re.Match[str] | None:
    if keyword in _READ:
        return _READ[keyword].match(text, at)
    return _PASSED.get(keyword, _PASSED[""]).match(text, at) if keyword in KEYWORDS else None


def _reason(keyword: str) -> str:
    if keyword in KEYWORDS:
        return f"cannot be read as {keyword}"
    return f"{keyword} is no section of a DBC file" if keyword else "no statement begins so"


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at

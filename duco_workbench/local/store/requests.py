"""A ClickHouse HTTP request, taken apart: statement, data, format, database, settings, parameters, session."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from .errors import EngineError

# Arguments of the HTTP interface itself; every other one is a setting, or a parameter if it begins with "param_".
RESERVED = frozenset(
    """query database default_format session_id session_timeout session_check query_id quota_key compress decompress
    wait_end_of_query buffer_size client_protocol_version role user password enable_http_compression stacktrace
    send_progress_in_http_headers http_headers_progress_interval_ms add_http_cors_header close_session
    readonly log_comment""".split()  # noqa: SIM905
)
MAX_SESSION_TIMEOUT = 3600  # seconds, ClickHouse's own limit

_SETTING_NAME = re.compile(r"[A-Za-z_]\w*\Z")
# Every repetition is possessive (``*+``): a pattern that tries again is exponential in the length of a statement.
_SPACE = rb"(?:\s++|--[^\n]*+|/\*(?:[^*]++|\*(?!/))*+\*/)*+"  # and comments
_QUOTED = rb"`(?:[^`\\]|\\.)*+`|\"(?:[^\"\\]|\\.)*+\""
_NAME = rb"(?:" + _QUOTED + rb"|[\w$]++)"
_COLUMNS = rb"\((?:[^()`\"]|" + _QUOTED + rb")*+\)"
_INSERT = re.compile(
    rb"%(space)bINSERT\s+INTO\s+(?:TABLE\s+)?%(name)b(?:%(space)b\.%(space)b%(name)b)?+%(space)b(?:%(columns)b)?+%(space)b"
    rb"(?P<settings>SETTINGS\s[^;]{0,2000}?\s)?"
    # One line end belongs to the statement; what follows is data, and binary data may begin with what looks like space.
    rb"(?P<word>FORMAT)\s+(?P<format>\w+)(?P<gap>[ \t]*\r?\n|[ \t]+|\Z)"
    % {b"space": _SPACE, b"name": _NAME, b"columns": _COLUMNS},
    re.IGNORECASE | re.DOTALL,
)
_SELECT = re.compile(_SPACE + rb"(?:\(\s*+)*+(?:SELECT|WITH|FROM)\b", re.IGNORECASE | re.DOTALL)
_FORMAT = re.compile(rb"\bFORMAT\s+(\w+)(?:\s+SETTINGS\s[^;]*)?\s*;?\s*\Z", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Insert:
    """``INSERT INTO … SETTINGS … FORMAT x`` and the bytes that come with it."""

    statement: str  # up to the names of the columns
    format: str
    data: bytes
    settings: str = ""


@dataclass(frozen=True, slots=True)
class Query:
    """Any other statement; ``format`` is what its result is written in, ``is_select`` that it can be streamed."""

    statement: str
    format: str
    is_select: bool


@dataclass(frozen=True, slots=True)
class Request:
    """One statement and everything the client said about how to run it."""

    body: Insert | Query
    database: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    readonly: int = 0
    session_id: str = ""
    session_timeout: int = 60

    @classmethod
    def parse(cls, arguments: Mapping[str, str], data: bytes, read_only: bool = False) -> Request:
        """From the URL's (and form's) arguments and the unpacked body.

        A statement may stand in ``query``, in the body, or begin in the one and go on in the other.

        Raises: EngineError when a setting's name is none, or the arguments ask for what the door does not do.
        """
        if arguments.get("compress") == "1" or arguments.get("decompress") == "1":
            raise EngineError(48, "the native block compression (compress=1, decompress=1) is not supported here; "
                                  "use HTTP compression (NOT_IMPLEMENTED)")  # fmt: skip
        settings = {k: v for k, v in arguments.items() if k not in RESERVED and not k.startswith("param_")}
        for name in settings:
            if not _SETTING_NAME.match(name):
                raise EngineError(115, f"Unknown setting '{name}'. (UNKNOWN_SETTING)")
        asked = int(arguments.get("readonly") or 0) if (arguments.get("readonly") or "0").isdigit() else 1
        return cls(
            body=_statement(arguments.get("query", "").encode(), data, arguments.get("default_format", "")),
            database=arguments.get("database", ""),
            settings=settings,
            parameters={k[6:]: v for k, v in arguments.items() if k.startswith("param_")},
            readonly=asked or (2 if read_only else 0),
            session_id=arguments.get("session_id", ""),
            session_timeout=_seconds(arguments.get("session_timeout", "")),
        )


def _seconds(text: str) -> int:
    return min(int(text), MAX_SESSION_TIMEOUT) if text.isdigit() else 60


def _statement(query: bytes, data: bytes, default_format: str) -> Insert | Query:
    insert = _INSERT.match(query or data)
    if insert:
        return _insert(insert, query, data)
    text = query + b"\n" + data if query and data else query or data
    named = _FORMAT.search(text, max(0, len(text) - 4096))
    form = named[1].decode() if named else default_format or "TabSeparated"
    return Query(_decode(text), form, is_select=_SELECT.match(text) is not None)


def _insert(found: re.Match[bytes], query: bytes, data: bytes) -> Insert:
    whole, inline = (query, data) if query else (data, b"")
    end = found.start("settings" if found["settings"] else "word")
    data = whole[found.end() :] + inline
    return Insert(_decode(whole[:end]), found["format"].decode(), data, _decode(found["settings"] or b""))


def _decode(text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise EngineError(62, f"the statement is not UTF-8: {error} (SYNTAX_ERROR)") from None

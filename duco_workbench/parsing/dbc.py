"""DBC files, read by ourselves: cantools refuses a whole file for one stray line, about a quarter of those people have.

What a well-formed statement means is what cantools says it means (tests compare the two over some two hundred files);
what cannot be used is left out, and said with its line. Ids here are those of the file: bit 31 set means 29 bits.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from ..errors import ConfigError
from . import bounds
from .dbc_file import Draft, File, Located
from .dbc_multiplexing import hang
from .dbc_statements import NEEDED, NUMBER, STRING, Statement, excerpt, unquoted, walk
from .definitions import Message, Signal, Skipped

EXTENDED = 1 << 31
NOBODY = "Vector__XXX"
_UNASSIGNED = "VECTOR__INDEPENDENT_SIG_MSG"  # holds the signals that belong to no message
_PAIR = re.compile(rf"\s*+({NUMBER})\s*+({STRING})")


def read(text: str, name: str, skipped: Skipped) -> list[tuple[Message, str]]:
    """The messages of a DBC text, each with where it stands (``file:line``); what is left out goes to ``skipped``.

    Raises: ConfigError: no statement of it is a DBC's, or it passes a bound of :mod:`.bounds`.
    """
    file, known = File(name, skipped), len(skipped)
    if not _gather(file, walk(text, name, skipped)):
        if not re.search(r"^[ \t]*BO_ ", text, re.MULTILINE):
            raise ConfigError(f"{name} is not a DBC file: it defines no message (no line begins with BO_)")
        where, why = skipped[known]
        raise ConfigError(f"{name} cannot be read as dbc: {where}: {why}; mend the file or remove that part")
    found = list(_messages(file))
    if not found:
        skipped.append((name, "it defines no message"))
    return found


def _gather(file: File, statements: Iterable[Statement]) -> int:
    """Puts every statement where it belongs; how many there were."""
    orphans: list[Statement] = []
    others: list[Statement] = []
    draft: Draft | None = None
    number = signals = 0
    for s in statements:
        if s.keyword == "BO_":
            _note_orphans(file, orphans)
            draft = _draft(s) if s.match else None
            if draft:
                file.drafts.append(draft)
        elif s.keyword == "SG_":
            signals += 1
            if draft:
                draft.signals.append(_located(s))
            else:
                orphans.append(s)
        elif s.keyword in NEEDED:
            others.append(s)
        number += s.match is not None
        if len(file.drafts) > bounds.MAX_MESSAGES:
            raise bounds.too_many(file.name, s.line, bounds.MAX_MESSAGES, "messages")
        if signals > bounds.MAX_SIGNALS:
            raise bounds.too_many(file.name, s.line, bounds.MAX_SIGNALS, "signals")
    _note_orphans(file, orphans)
    for s in sorted(others, key=lambda s: s.keyword != "BA_DEF_"):  # what an attribute is may be said after its use
        _keep(file, s)
    _keep_values(file, [s for s in others if s.keyword in ("VAL_", "SIG_VALTYPE_")])
    return number


def _note_orphans(file: File, orphans: list[Statement]) -> None:
    """One note for the signals of a message that could not be read."""
    if orphans:
        more = f" and {len(orphans) - 1} more" if len(orphans) > 1 else ""
        file.skip(orphans[0].line, f"{_said(orphans[0])}{more}", "no message that can be read stands before")
    orphans.clear()


def _draft(s: Statement) -> Draft:
    assert s.match is not None
    dbc_id, name, length, sender = s.match.groups()
    return Draft(s.line, _said(s), int(dbc_id), name, int(length), sender or NOBODY)


def _located(s: Statement) -> Located:
    assert s.match is not None
    name, marker, start, length, order, sign, scale, offset, minimum, maximum, unit = s.match.groups()
    limits = (None, None) if minimum.strip() == maximum.strip() == "0" else (_limit(minimum), _limit(maximum))
    signal = Signal(
        name=name,
        start=int(start),
        length=int(length),
        byte_order="big_endian" if order == "0" else "little_endian",
        is_signed=sign == "-",
        scale=_number(scale),
        offset=_number(offset),
        unit=unquoted(unit),
        minimum=limits[0],
        maximum=limits[1],
        is_multiplexer=bool(marker) and marker.endswith("M"),
    )
    return Located(signal, marker or "", s.line, _said(s))


def _keep(file: File, s: Statement) -> None:
    """Keeps a statement about messages or signals that may stand anywhere in the file."""
    assert s.match is not None
    if s.keyword == "CM_":
        message, of_signal, signal, text = s.match.groups()
        if message or of_signal:
            file.comments[int(message or of_signal), signal or ""] = unquoted(text)
    elif s.keyword == "SG_MUL_VAL_":
        dbc_id, signal, parent, ranges = s.match.groups()
        file.mux[int(dbc_id)][signal] = parent, ranges
    elif s.keyword == "BO_TX_BU_":
        file.senders[int(s.match[1])] += re.findall(r"\w+", s.match[2])
    elif s.keyword.startswith("BA_") and (why := file.attributes.keep(s.keyword, s.match)):
        file.skip(s.line, _said(s), why)


def _keep_values(file: File, values: list[Statement]) -> None:
    """Names of values and kinds of numbers, of signals that exist."""
    known = {(d.dbc_id, s.signal.name) for d in file.drafts for s in d.signals}
    count = 0
    for s in values:
        assert s.match is not None
        key = int(s.match[1] or 0), s.match[2]
        if key not in known:
            if s.match[1] is not None:  # else of an environment variable
                file.skip(s.line, _said(s), "the file has no such signal")
        elif s.keyword == "SIG_VALTYPE_":
            if s.match[3] in "12":
                file.floats.add(key)
        elif pairs := _PAIR.findall(s.match[3]):
            file.choices[key] = {int(_number(n)): unquoted(text) for n, text in pairs if bounds.finite(_number(n))}
            count += len(pairs)
            if count > bounds.MAX_CHOICES:
                raise bounds.too_many(file.name, s.line, bounds.MAX_CHOICES, "names of values")


def _messages(file: File) -> Iterable[tuple[Message, str]]:
    for draft in file.drafts:
        if draft.name == _UNASSIGNED:
            continue
        try:
            yield _message(file, draft), f"{file.name}:{draft.line}"
        except ValueError as error:
            file.skip(draft.line, f"{draft.said} and its {len(draft.signals)} signals", str(error))


def _message(file: File, draft: Draft) -> Message:
    """Raises: ValueError: why there cannot be such a message."""
    _check(draft)
    frame_id, is_extended = draft.dbc_id & ~EXTENDED, draft.dbc_id >= 1 << 11
    if is_extended and draft.dbc_id < EXTENDED:
        file.skip(draft.line, draft.said, "an id of more than 11 bits without bit 31: read as one of 29 bits")
    is_j1939 = is_extended and file.attributes.is_j1939(draft.dbc_id)
    signals = hang(file, draft, _usable(file, draft, is_j1939))
    name = file.attributes.message_name(draft.dbc_id) or draft.name
    comment = file.comments.get((draft.dbc_id, ""), "")
    return Message(name, frame_id, is_extended, is_j1939, draft.length, signals, _senders(file, draft), comment)


def _check(draft: Draft) -> None:
    if draft.length > bounds.MAX_MESSAGE_BYTES:
        raise ValueError(f"over {bounds.MAX_MESSAGE_BYTES} bytes")
    if draft.dbc_id & ~EXTENDED >= 1 << 29:
        raise ValueError(f"the id 0x{draft.dbc_id:x} has more than 29 bits")
    if draft.dbc_id >= 1 << 32:
        raise ValueError(f"the id 0x{draft.dbc_id:x} has more than 32 bits")
    if len(draft.signals) > bounds.MAX_MESSAGE_SIGNALS:
        raise ValueError(f"over {bounds.MAX_MESSAGE_SIGNALS} signals")


def _usable(file: File, draft: Draft, is_j1939: bool) -> list[Located]:
    """The signals that can be decoded, with what the rest of the file says of them."""
    found = []
    for located in draft.signals:
        key = draft.dbc_id, located.signal.name
        signal = replace(
            located.signal,
            is_float=key in file.floats,
            choices=file.choices.get(key, {}),
            comment=file.comments.get(key, ""),
            spn=file.attributes.spn(*key),
        )
        if why := bounds.unusable(signal, is_j1939):
            file.skip(located.line, located.said, why)
        else:
            found.append(located._replace(signal=signal))
    return found


def _senders(file: File, draft: Draft) -> tuple[str, ...]:
    nodes: Mapping[str, str] = file.attributes.node_names
    named = dict.fromkeys(nodes.get(node, node) for node in (draft.sender, *file.senders.get(draft.dbc_id, ())))
    return () if list(named) == [NOBODY] else tuple(named)


def _number(text: str) -> float:
    """An integer where the text is one, as exact as it is written."""
    return float(text) if set(text) & set(".eE") else int(text)


def _limit(text: str) -> float | None:
    """A limit of a signal; None for what some tools write there (``1.#INF``), and for what is no limit (1e999)."""
    try:
        limit = float(text)
    except ValueError:
        return None
    return limit if bounds.finite(limit) else None


def _said(s: Statement) -> str:
    assert s.match is not None
    return excerpt(s.match.string, s.match.start(), s.match.end())

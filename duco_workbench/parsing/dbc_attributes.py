"""The few attributes of a DBC file that decoding needs: frame format, protocol, SPN, and names beyond 32 characters."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from .dbc_statements import unquoted

_FRAME_FORMATS = {3: "J1939PG", 14: "StandardCAN_FD", 15: "ExtendedCAN_FD"}  # of Vector, where the file lists none
_LISTED = re.compile(r'"[^"\\]*+(?:\\"?+[^"\\]*+)*+"')
_LONG = {"message": "SystemMessageLongSymbol", "signal": "SystemSignalLongSymbol", "node": "SystemNodeLongSymbol"}
_FRAME_FORMAT, _PROTOCOL, _SPN = "VFrameFormat", "ProtocolType", "SPN"
_NEEDED = frozenset((_FRAME_FORMAT, _PROTOCOL, _SPN, *_LONG.values()))


@dataclass(slots=True)
class Attributes:
    """Definitions, defaults and values, as texts: a number as written, a string without its quotes."""

    listed: dict[str, list[str]] = field(default_factory=dict)  # defined attributes, with the values an ENUM lists
    defaults: dict[str, str] = field(default_factory=dict)
    values: dict[tuple[str, int, str], str] = field(default_factory=dict)  # attribute, id (-1: the file), signal or ""
    node_names: dict[str, str] = field(default_factory=dict)

    def keep(self, keyword: str, match: re.Match[str]) -> str:
        """Takes in one BA_ statement, definitions first; "" or why it is left out."""
        name = unquoted(match[1])
        if keyword == "BA_DEF_":
            self.listed[name] = [unquoted(text) for text in _LISTED.findall(match[3])]
        elif keyword == "BA_DEF_DEF_":
            self.defaults[name] = _plain(match[2])
        elif name not in self.listed:
            return f"the file defines no attribute {name!r}"
        elif name in _NEEDED:
            message, of_signal, signal, node, value = match.groups()[1:]
            if node:
                self.node_names.update({node: _plain(value)} if name == _LONG["node"] else {})
            else:
                self.values[name, int(message or of_signal or -1), signal or ""] = _plain(value)
        return ""

    def message_name(self, dbc_id: int) -> str:
        return self.values.get((_LONG["message"], dbc_id, ""), "")

    def signal_name(self, dbc_id: int, signal: str) -> str:
        return self.values.get((_LONG["signal"], dbc_id, signal), "")

    def spn(self, dbc_id: int, signal: str) -> int | None:
        """Its suspect parameter number; 0 is what "not given" looks like."""
        text = self.values.get((_SPN, dbc_id, signal)) or self._default(_SPN) or ""
        return int(text) or None if text.isdecimal() and len(text) < 10 else None

    def is_j1939(self, dbc_id: int) -> bool:
        """Whether the file says so of a message with a 29-bit id, itself or, where it says nothing, of all."""
        stated = self.values.get((_FRAME_FORMAT, dbc_id, ""), self._default(_FRAME_FORMAT))
        if stated is not None:
            return self._frame_format(stated) == "J1939PG"
        protocol = self.values.get((_PROTOCOL, -1, ""), "")
        return protocol.upper() == "J1939"

    def _default(self, name: str) -> str | None:
        return self.defaults.get(name) if name in self.listed else None

    def _frame_format(self, stated: str) -> str:
        if not stated.isdecimal() or len(stated) > 4:
            return stated
        listed = self.listed.get(_FRAME_FORMAT)
        if listed:
            return listed[int(stated)] if int(stated) < len(listed) else ""
        return _FRAME_FORMATS.get(int(stated), "")


def _plain(text: str) -> str:
    return unquoted(text) if text.startswith('"') else text

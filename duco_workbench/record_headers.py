"""A record without its body, as texts by name: headers of an entry of the log."""

from __future__ import annotations

from collections.abc import Mapping

from .model import Record

_NUMBERS = ("ts", "ts_enqueued", "ts_ingested", "hub_partition", "hub_sequence", "v")
_TEXTS = ("tenant", "chassis_id", "msg_type", "message_id")


def headers_of(record: Record) -> dict[str, str]:
    return {name: str(getattr(record, name)) for name in (*_TEXTS, *_NUMBERS)}


def record_of(headers: Mapping[str, str], body: bytes) -> Record:
    numbers = {name: int(headers[name]) for name in _NUMBERS}
    return Record(**{name: headers[name] for name in _TEXTS}, **numbers, body=body)  # type: ignore[arg-type]

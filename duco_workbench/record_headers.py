"""A record without its body, as texts by name: headers of an entry of the log."""

from __future__ import annotations

from collections.abc import Mapping

from .model import Record, Replay

_NUMBERS = ("ts", "ts_enqueued", "ts_ingested", "hub_partition", "hub_sequence", "v")
_TEXTS = ("tenant", "chassis_id", "msg_type", "message_id")


def headers_of(record: Record) -> dict[str, str]:
    """A replay's two only where there is one: nearly every record is judged once."""
    known = {name: str(getattr(record, name)) for name in (*_TEXTS, *_NUMBERS)}
    if record.replay is not None:
        known |= {"replay_of": record.replay.letter, "replayed_at": str(record.replay.at)}
    return known


def record_of(headers: Mapping[str, str], body: bytes) -> Record:
    numbers = {name: int(headers[name]) for name in _NUMBERS}
    replay = Replay(headers["replay_of"], int(headers["replayed_at"])) if "replay_of" in headers else None
    return Record(**{name: headers[name] for name in _TEXTS}, **numbers, body=body, replay=replay)  # type: ignore[arg-type]

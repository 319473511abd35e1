"""Log lines: text for a person, JSON for a collector of logs; and few of them, however long a trouble lasts."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from ..ports import Delivery

MOST_IDS = 5  # message ids in a line
MOST_POSITIONS = 16
AGAIN_S = 10.0  # between two lines about the same trouble
# Libraries that say a line for each call, or a dozen for a lost link, which we say in a sentence.
QUIET = {"azure": "ERROR", "httpx": "ERROR", "tornado.access": "WARNING", "urllib3": "ERROR", "uvicorn": "WARNING"}


def about(delivery: Delivery[Any]) -> dict[str, Any]:
    """Fields of a line about a batch: how many messages, the first ids, the positions in the log or hub."""
    ids = [getattr(item, "message_id", None) or _inner_id(item) for item in delivery.items[:MOST_IDS]]
    positions = {str(where): str(offset) for where, offset in list(delivery.position.items())[:MOST_POSITIONS]}
    return {"count": len(delivery.items), "message_ids": ids, "positions": positions}


def _inner_id(item: Any) -> str | None:
    return getattr(getattr(item, "record", None), "message_id", None)


class JsonLines(logging.Formatter):
    """One object a line: ``ts`` (UTC), ``level``, ``logger``, ``process``, ``message``, and the line's own fields."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": self._process,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        fields: Mapping[str, Any] = getattr(record, "fields", {})
        return msgspec.json.encode(line | {k: v for k, v in fields.items() if k not in line}, enc_hook=str).decode()


def set_up(process: str, form: str = "text", level: str = "info") -> None:
    """All of this process's lines go to its standard error, in this form; who says it again replaces it."""
    handler = logging.StreamHandler()
    text = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.setFormatter(JsonLines(process) if form == "json" else text)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name, least in QUIET.items():
        logging.getLogger(name).setLevel(least)


class Complaint:
    """One trouble that repeats: said at once, then at most every ten seconds with how often, and when it is over."""

    def __init__(self, logger: logging.Logger) -> None:
        self._log, self._sentence = logger, ""
        self._times, self._since, self._said = 0, 0.0, 0.0

    def say(self, sentence: str, **fields: Any) -> None:
        now = time.monotonic()
        self._times, self._sentence = self._times + 1, sentence
        if self._times == 1:
            self._since = now
        elif now - self._said < AGAIN_S:
            return
        more = f" ({self._times} times in {now - self._since:.0f} s)" if self._times > 1 else ""
        self._said = now
        self._log.warning("%s%s", sentence, more, extra={"fields": {"times": self._times, **fields}})

    @property
    def now(self) -> str | None:
        """The sentence, while it lasts."""
        return self._sentence if self._times else None

    def over(self) -> None:
        """It works again; nothing is said where nothing was wrong."""
        if self._times:
            self._log.warning("over after %.0f s: %s", time.monotonic() - self._since, self._sentence)
        self._times = 0

"""What the engine refuses, as ClickHouse says it over HTTP."""

from __future__ import annotations

import re

_CODE = re.compile(r"Code: (\d+)\. ")

BAD_REQUEST = {6, 26, 27, 33, 36, 38, 41, 43, 53, 62, 70, 72, 117, 130, 131, 271, 386, 456, 457}
NOT_FOUND = {46, 47, 50, 56, 60, 81, 115}
FORBIDDEN = {164, 497}
HTTP_STATUS = {48: 501, 159: 408, 307: 413, 372: 404, 373: 500}


class EngineError(Exception):
    """A refusal with ClickHouse's number for it; ``message`` is what the client gets to read."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message if message.startswith("Code: ") else f"Code: {code}. DB::Exception: {message}"

    @classmethod
    def of(cls, error: BaseException) -> EngineError:
        """From whatever chDB raised: the code stands in its text."""
        if isinstance(error, EngineError):
            return error
        text = str(error).strip()
        found = _CODE.search(text)
        return cls(int(found[1]), text[found.start() :]) if found else cls(1002, text or type(error).__name__)

    @property
    def http_status(self) -> int:
        if self.code in BAD_REQUEST:
            return 400
        if self.code in NOT_FOUND:
            return 404
        return 403 if self.code in FORBIDDEN else HTTP_STATUS.get(self.code, 500)

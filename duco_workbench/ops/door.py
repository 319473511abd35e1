"""``/health`` and ``/metrics`` on loopback: a thread with the standard library's HTTP server.

A thread of its own answers also when the process's loop hangs, and then says so.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

log = logging.getLogger(__name__)

TIMEOUT_S = 10.0  # for a client that says nothing


class Answer(NamedTuple):
    status: int
    kind: str
    body: bytes


NOTHING = Answer(404, "text/plain", b"there are /health and /metrics\n")


class Door:
    """Answers GET at ``address`` (host:port, port 0 takes a free one), from :meth:`open` to :meth:`close`."""

    def __init__(self, address: str, answer: Callable[[str], Answer]) -> None:
        self._asked, self._answer = address, answer
        self._server: ThreadingHTTPServer | None = None

    def open(self) -> str:
        """The URL, "" when the port cannot be had: what a process does matters more than who looks at it."""
        host, _, port = self._asked.rpartition(":")
        try:
            self._server = _Server((host or "127.0.0.1", int(port)), _handler(self._answer))
        except (OSError, ValueError, OverflowError) as error:
            log.warning("/health and /metrics cannot be served at %s: %s; set DUCO_OPS", self._asked, error)
            return ""
        threading.Thread(target=self._server.serve_forever, name="ops", daemon=True).start()
        return f"http://{self._server.server_address[0]!s}:{self._server.server_address[1]}"

    def close(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False


def _handler(answer: Callable[[str], Answer]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = TIMEOUT_S

        def do_GET(self) -> None:
            given = answer(self.path.partition("?")[0])
            self.send_response(given.status)
            self.send_header("Content-Type", given.kind)
            self.send_header("Content-Length", str(len(given.body)))
            self.end_headers()
            self.wfile.write(given.body)

        def log_message(self, format: str, *args: object) -> None:
            """No line per request."""

    return Handler

"""``/health`` of an agent on loopback, for whoever watches the machine's computer: 200, or 503 and what is wrong."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from .config import Health

log = logging.getLogger(__name__)


@contextmanager
def serving(config: Health, facts: Callable[[], dict[str, Any]]) -> Iterator[str]:
    """Gives the URL, "" where port 0 says not to, or the port cannot be had (which is logged, and stops nothing).

    ``facts``: as JSON types; ``wrong`` among them lists sentences, and is empty when the agent does its work.
    """
    server = _listening(config, facts) if config.port else None
    try:
        yield f"http://{config.host}:{config.port}" if server else ""
    finally:
        if server:
            server.shutdown()
            server.server_close()


def _listening(config: Health, facts: Callable[[], dict[str, Any]]) -> ThreadingHTTPServer | None:
    try:
        server = ThreadingHTTPServer((config.host, config.port), _handler(facts))
    except OSError as error:
        log.warning("/health cannot be served at %s:%d: %s", config.host, config.port, error)
        return None
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="health", daemon=True).start()
    return server


def _handler(facts: Callable[[], dict[str, Any]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10.0

        def do_GET(self) -> None:
            found = facts() if self.path == "/health" else None
            body = json.dumps({"status": "failing" if found["wrong"] else "ok", **found} if found else {}).encode()
            self.send_response(404 if found is None else 503 if found["wrong"] else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """No line per request."""

    return Handler

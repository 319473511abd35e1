"""The HTTP side of the store door: one handler, the answer's headers, and the drain before the engine closes."""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from urllib.parse import urlsplit

from tornado import httputil, iostream, web
from tornado.httpserver import HTTPServer

from . import encoding
from .engine import Engine
from .errors import EngineError
from .execution import Execution, safe_comment
from .requests import Query, Request

T = TypeVar("T")
log = logging.getLogger(__name__)

MAX_BODY = 256 << 20  # bytes of one request, packed and unpacked
THREADS = 16  # statements that run at once; more wait
CANCEL_S = 2.5  # a statement looks only now and then whether it was cancelled
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Door:
    """The engine, the threads its statements run in, and how many run."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.running = 0
        self._threads = ThreadPoolExecutor(THREADS, "statement")
        routes = [("/ping", _Ping), ("/", _Statement, {"door": self})]
        self._server = HTTPServer(web.Application(routes, log_function=_quiet), max_body_size=MAX_BODY)  # type: ignore[arg-type]

    def bind(self, sockets: list[Any]) -> None:
        self._server.add_sockets(sockets)

    async def call(self, function: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    def background(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._threads.submit(function, *arguments)

    async def drain(self, seconds: float) -> bool:
        """No new requests; those running finish, or are cancelled after ``seconds``. True when none is left."""
        self._server.stop()
        if not await self._idle(seconds):
            log.warning("cancelling %d statements", self.running)
            await self.call(self.engine.cancel)
        done = await self._idle(CANCEL_S)
        await self._server.close_all_connections()
        return done

    async def _idle(self, seconds: float) -> bool:
        for _ in range(int(seconds / 0.02)):
            if not self.running:
                return True
            await asyncio.sleep(0.02)
        return not self.running


def _quiet(handler: web.RequestHandler) -> None:
    """No line per request; clients get their errors."""


class _Local(web.RequestHandler):
    def prepare(self) -> Any:
        """Web pages of elsewhere may not talk to the store through the browser of whoever sits here."""
        host = urlsplit(f"//{self.request.host}").hostname
        origin = urlsplit(self.request.headers.get("Origin", "")).hostname
        if host not in LOOPBACK or (self.request.headers.get("Origin") and origin not in LOOPBACK):
            raise web.HTTPError(403, "only from this computer")


class _Ping(_Local):
    def get(self) -> None:
        self.finish("Ok.\n")


@web.stream_request_body
class _Statement(_Local):
    """GET (read-only, as on any ClickHouse) and POST of one statement."""

    def initialize(self, door: Door) -> None:
        self._door = door
        self._body = bytearray()
        self._over = False
        self._comment = safe_comment(self.get_query_argument("query_id", "") or str(uuid.uuid4()))
        self._can_stop = False
        self._packer: encoding.Compressor | None = None

    def prepare(self) -> Any:
        super().prepare()
        if int(self.request.headers.get("Content-Length") or 0) > MAX_BODY:
            self._refuse_body()

    def data_received(self, chunk: bytes) -> None:
        if len(self._body) + len(chunk) > MAX_BODY and not self._finished:
            self._refuse_body()
        elif not self._finished:
            self._body += chunk

    def _refuse_body(self) -> None:
        self._fail(EngineError(307, f"a request may hold {MAX_BODY >> 20} MB; insert in parts (TOO_MANY_BYTES)"))

    async def get(self) -> None:
        await self._answer(read_only=True)

    async def post(self) -> None:
        await self._answer(read_only=False)

    async def _answer(self, read_only: bool) -> None:
        if self._finished:
            return
        self._door.running += 1
        try:
            request = await self._door.call(self._parse, read_only)
            if request is None:
                await self.finish("Ok.\n")
            else:
                await self._run(request)
        except EngineError as error:
            await (self._break_off(error) if self._headers_written else self._fail(error))
        except iostream.StreamClosedError:
            pass  # the client went away
        finally:
            self._door.running -= 1

    def _parse(self, read_only: bool) -> Request | None:
        arguments, headers = _last(self.request.query_arguments), self.request.headers
        body = encoding.decompress(bytes(self._body), headers.get("Content-Encoding", ""), MAX_BODY)
        self._body = bytearray()
        kind = headers.get("Content-Type", "")
        if kind.startswith("multipart/form-data"):  # curl calls any body a form, so that other kind is just a body
            form: dict[str, list[bytes]] = {}
            files: dict[str, list[httputil.HTTPFile]] = {}
            httputil.parse_body_arguments(kind, body, form, files)
            if files:
                raise EngineError(48, "external data is not supported by this door (NOT_IMPLEMENTED)")
            arguments, body = {**arguments, **_last(form)}, b""
        if not arguments.get("query", "").strip() and not body.strip():
            return None
        return Request.parse(arguments, body, read_only)

    async def _run(self, request: Request) -> None:
        execution = Execution(self._door.engine, request, self._comment)
        self._can_stop = isinstance(request.body, Query)
        try:
            await self._send(execution, request)
        finally:  # before the answer ends: the client's next statement may be for the same session
            self._can_stop = False
            await self._door.call(execution.close)
        await self.finish(self._packer.end() if self._packer else None)

    async def _send(self, execution: Execution, request: Request) -> None:
        chunk = await self._door.call(execution.start)
        self._head(execution, request)
        self._packer = self._choose_packer()
        while chunk is not None:
            self.write(self._packer.add(chunk) if self._packer else chunk)
            await self.flush()  # waits while the client is slower than the engine
            chunk = await self._door.call(execution.chunk)

    def _head(self, execution: Execution, request: Request) -> None:
        self._engine_headers()
        if execution.has_result:
            self.set_header("X-ClickHouse-Format", getattr(request.body, "format", ""))
            self.set_header("Content-Type", "application/octet-stream")
            self.set_header("X-ClickHouse-Exception-Tag", self._tag)
        if execution.summary:
            self.set_header("X-ClickHouse-Summary", json.dumps(execution.summary))

    def _engine_headers(self) -> None:
        self.set_header("X-ClickHouse-Query-Id", self._comment)
        self.set_header("X-ClickHouse-Timezone", self._door.engine.timezone)
        self.set_header("X-ClickHouse-Server-Display-Name", "embedded")

    @property
    def _tag(self) -> str:
        return uuid.uuid5(uuid.NAMESPACE_OID, self._comment).hex[:16]

    def _choose_packer(self) -> encoding.Compressor | None:
        if self.get_query_argument("enable_http_compression", "0") != "1":
            return None
        chosen = encoding.choose(self.request.headers.get("Accept-Encoding", ""))
        if not chosen:
            return None
        self.set_header("Content-Encoding", chosen)
        return encoding.Compressor(chosen)

    async def _break_off(self, error: EngineError) -> None:
        """An answer that began cannot change its status: the error in ClickHouse's marks, an end no client mistakes."""
        text = error.message.encode()
        tag = self._tag.encode()
        last = b"\r\n__exception__\r\n%b\r\n%b\n%d %b\r\n__exception__\r\n" % (tag, text, len(text) + 1, tag)
        self.write(self._packer.add(last) if self._packer else last)
        await self.flush()
        self.request.connection.stream.close()  # type: ignore[union-attr]

    def _fail(self, error: EngineError) -> Any:
        self.clear()
        self._engine_headers()
        self.set_status(error.http_status)
        self.set_header("X-ClickHouse-Exception-Code", str(error.code))
        return self.finish(f"{error.message} (version {self._door.engine.version})\n")

    def on_connection_close(self) -> None:
        """A notebook cell was interrupted: what it asked for need not be computed. Inserts run on."""
        if self._can_stop and self.get_query_argument("cancel_http_readonly_queries_on_client_close", "0") == "1":
            self._door.background(self._door.engine.cancel, self._comment)


def _last(arguments: dict[str, list[bytes]]) -> dict[str, str]:
    return {name: values[-1].decode() for name, values in arguments.items()}

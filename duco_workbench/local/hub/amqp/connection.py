"""One AMQP connection: headers, SASL, open, frames to their sessions, heartbeats, close."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time

from .codec import NULL, string, symbols, ubyte, uint, ushort
from .errors import FORCED, FRAMING_ERROR, INTERNAL_ERROR, INVALID_FIELD, NOT_ALLOWED, AmqpError
from .frames import (
    AMQP,
    AMQP_HEADER,
    EMPTY,
    HEADER_BYTES,
    MIN_FRAME_BYTES,
    SASL,
    SASL_HEADER,
    Code,
    Frame,
    decode,
    encode,
    error,
    read_header,
)
from .nodes import Endpoint, Grants
from .session import Session

MAX_FRAME_BYTES = 64 << 10
CHANNEL_MAX = 255
MECHANISMS = ("MSSBCBS", "ANONYMOUS")
HELLO_S = 30.0  # until a peer has opened
# A peer that hears nothing notices at its next heartbeat that we are gone: it is asked for one each 10 s. Its own
# silence is forgiven for as long as Event Hubs does.
IDLE_S, SILENCE_S = 20.0, 240.0
BEAT_S, MIN_BEAT_S = 10.0, 0.05  # between our heartbeats
LINGER_S = 2.0  # for a peer to read why it is closed
BUFFER_BYTES = 256 << 10  # written and not yet read by the peer: links wait
FLOOD_BYTES = 4 * BUFFER_BYTES  # here even requests wait

log = logging.getLogger(__name__)


class Connection:
    """Serves one peer until it goes, breaks the protocol, or :meth:`run` is cancelled."""

    def __init__(self, endpoint: Endpoint, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._endpoint, self._reader, self._writer = endpoint, reader, writer
        self._grants = Grants(endpoint.check)
        self._sessions: dict[int, Session | None] = {}  # None: ended
        self._open = False
        self._heard = time.monotonic()
        self._beat_s = BEAT_S
        self.max_frame_bytes = MAX_FRAME_BYTES
        writer.transport.set_write_buffer_limits(high=BUFFER_BYTES)

    async def run(self) -> None:
        tending: asyncio.Task[None] | None = None
        try:
            async with asyncio.timeout(HELLO_S):
                await self._hello()
            tending = asyncio.create_task(self._tend())
            while await self._next():
                pass
        except AmqpError as broken:
            await self._part(broken)
        except (asyncio.IncompleteReadError, OSError):
            pass  # the peer is gone, or never said hello
        except asyncio.CancelledError:
            self._say_close(AmqpError(FORCED, "the hub is closing; try again"))
        except Exception:
            log.exception("an AMQP connection failed")
            await self._part(AmqpError(INTERNAL_ERROR, "the hub failed; see its log"))
        finally:
            if tending is not None:
                tending.cancel()
            for session in self._living():
                session.end()
            self._writer.close()

    # -- what sessions ask for

    def write(self, data: bytes) -> None:
        self._writer.write(data)

    async def drained(self) -> None:
        await self._writer.drain()

    # -- the beginning

    async def _hello(self) -> None:
        """SASL without a secret (the tokens come later, by ``$cbs``), then open."""
        await self._exchange(SASL_HEADER)
        self.write(encode(Code.SASL_MECHANISMS, [symbols(MECHANISMS)], kind=SASL))
        init = await self._read_frame(SASL)
        good = init is not None and init.code == Code.SASL_INIT and init.get(0) in MECHANISMS
        self.write(encode(Code.SASL_OUTCOME, [ubyte(0 if good else 1)], kind=SASL))
        if not good:
            raise AmqpError(NOT_ALLOWED, f"SASL is one of {MECHANISMS} here; the token goes to $cbs")
        await self._exchange(AMQP_HEADER)
        frame = await self._read_frame(AMQP)
        if frame is None or frame.code != Code.OPEN:
            raise AmqpError(NOT_ALLOWED, "a connection begins with open")
        self._on_open(frame)

    async def _exchange(self, header: bytes) -> None:
        """A peer of another protocol or version gets our header, and the connection ends."""
        theirs = await self._reader.readexactly(len(header))
        self.write(header)
        if theirs != header:
            raise AmqpError(FRAMING_ERROR, f"{header!r} was expected, not {theirs!r}")

    def _on_open(self, frame: Frame) -> None:
        theirs = frame.number(2, default=MAX_FRAME_BYTES)
        self.max_frame_bytes = min(theirs, MAX_FRAME_BYTES)
        wish = frame.number(4, default=0) / 1000  # the peer hangs up when it hears nothing for so long
        self._beat_s = min(BEAT_S, max(wish / 2, MIN_BEAT_S)) if wish else BEAT_S
        name, idle = string(self._endpoint.name), uint(int(IDLE_S * 1000))
        self.write(encode(Code.OPEN, [name, NULL, uint(MAX_FRAME_BYTES), ushort(CHANNEL_MAX), idle]))
        self._open = True
        if theirs < MIN_FRAME_BYTES:
            raise AmqpError(INVALID_FIELD, f"max-frame-size is at least {MIN_FRAME_BYTES}, not {theirs}")

    # -- frames

    async def _next(self) -> bool:
        """Handle one frame. False after the peer's close."""
        frame = await self._read_frame(AMQP)
        if frame is not None and frame.code == Code.CLOSE:
            self.write(encode(Code.CLOSE, []))
            return False
        if frame is not None:
            await self._dispatch(frame)
        if self._writer.transport.get_write_buffer_size() > FLOOD_BYTES:
            await self.drained()
        return True

    async def _read_frame(self, kind: int) -> Frame | None:
        """None for a heartbeat."""
        header = read_header(await self._reader.readexactly(HEADER_BYTES), MAX_FRAME_BYTES)
        body = await self._reader.readexactly(header.size - HEADER_BYTES)
        self._heard = time.monotonic()
        if header.kind != kind:
            raise AmqpError(FRAMING_ERROR, f"a frame of type {header.kind}, where type {kind} belongs")
        body = body[header.offset * 4 - HEADER_BYTES :]
        return decode(header.channel, body) if body else None

    async def _dispatch(self, frame: Frame) -> None:
        channel = frame.channel
        if frame.code == Code.BEGIN:
            self._begin(frame)
        elif channel not in self._sessions:
            raise AmqpError(NOT_ALLOWED, f"performative 0x{frame.code:02x} on channel {channel}, which has no session")
        elif (session := self._sessions[channel]) is None:
            pass  # the SDK of Azure ends a session first and detaches its links then
        elif frame.code == Code.END:
            session.end()
            self._sessions[channel] = None
            self.write(encode(Code.END, [], channel))
        else:
            await session.on_frame(frame)

    def _begin(self, frame: Frame) -> None:
        channel = frame.channel
        if self._sessions.get(channel) or channel > CHANNEL_MAX:
            raise AmqpError(NOT_ALLOWED, f"channel {channel} is in use, or beyond {CHANNEL_MAX}")
        self._sessions[channel] = Session(self, self._endpoint, self._grants, channel, frame)

    def _living(self) -> list[Session]:
        return [session for session in self._sessions.values() if session is not None]

    # -- heartbeats and the end

    async def _tend(self) -> None:
        """Heartbeats, expired tokens, and peers that are not there any more."""
        while True:
            await asyncio.sleep(self._beat_s)
            if time.monotonic() - self._heard > SILENCE_S:
                log.info("a consumer said nothing for %.0f s: hanging up", SILENCE_S)
                self._writer.transport.abort()
                return
            self.write(EMPTY)
            for session in self._living():
                session.withdraw()

    async def _part(self, broken: AmqpError) -> None:
        """Say why, and give the peer time to read it: closing with its bytes unread would reset the connection."""
        log.info("closing an AMQP connection: %s", broken)
        self._say_close(broken)
        with contextlib.suppress(OSError):  # time-outs are of its kind
            async with asyncio.timeout(LINGER_S):
                while await self._reader.read(MAX_FRAME_BYTES):
                    pass

    def _say_close(self, broken: AmqpError) -> None:
        if self._open:
            self.write(encode(Code.CLOSE, [error(broken.condition, broken.description)]))

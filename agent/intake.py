"""Where the machine's own application hands over log lines, events, figures: JSON lines over TCP on this computer.

::

    > {"msgType": "vehicle_event", "ts": 1760000000000000, "payload": {"name": "door_open"}}
    < {"ok":true}
    > {"msgType": "vehicle_event", "payload": {}}
    < {"error":"vehicle_event: Object missing required field `name`"}

An answer waits until the agent has room: an application that hands over faster than the disk takes it is held back.
``ts`` (microseconds UTC) may be left out: then it is now. ``vehicle_can`` is not taken: frames come from the buses.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable

import msgspec

from duco_workbench import wire
from duco_workbench.errors import ConfigError, DataError
from duco_workbench.model import MSG_TYPES, SECOND, Micros

from .drafts import Draft, Emit
from .peers import Backoff, Telling, in_words, now

LONGEST = 64 << 10  # bytes of a line; an envelope holds it in any case
MOST_CLIENTS = 16
ROOM_S = 0.02  # until it is asked again whether there is room
FUTURE = 300 * SECOND  # microseconds; what is later than that is refused further on, when nobody hears of it
TAKEN = tuple(name for name in MSG_TYPES if name != "vehicle_can")

_OK = b'{"ok":true}\n'


class _Line(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    msg_type: str
    payload: msgspec.Raw
    ts: Micros | None = None


_decoder = msgspec.json.Decoder(_Line)
_payloads = {name: msgspec.json.Decoder(wire.PAYLOADS[name]) for name in TAKEN}


class Intake:
    """A Collector.

    Args:
        host: of this computer only: who reaches it speaks in the machine's name.
        port: 0 takes any; ``port`` then tells which.
        clock: microseconds UTC.
        is_full: the agent takes nothing for now.
    Raises: ConfigError for a host that others reach.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        clock: Callable[[], int] = now,
        is_full: Callable[[], bool] = lambda: False,
    ) -> None:
        if not _is_loopback(host):
            raise ConfigError(f"intake.host = {host!r} can be reached from outside; write 127.0.0.1 or ::1")
        self.host, self.port = host, port
        self._clock, self._is_full, self._clients = clock, is_full, set[asyncio.StreamWriter]()

    async def run(self, emit: Emit) -> None:
        telling, backoff = Telling("intake", emit, self._clock), Backoff()
        while True:
            try:
                server = await asyncio.start_server(
                    lambda reader, writer: self._serve(reader, writer, emit), self.host, self.port, limit=LONGEST
                )
            except OSError as error:
                where = f"{self.host}:{self.port}"
                telling.warning(f"the application cannot hand over at {where}: {in_words(error)}; it is tried again")
                await asyncio.sleep(backoff.pause())
                continue
            self.port = server.sockets[0].getsockname()[1]
            telling.info(f"the application can hand over at {self.host}:{self.port}")
            try:
                await asyncio.Future()  # until cancelled
            finally:
                server.close()
                for writer in self._clients:
                    writer.transport.abort()  # one that does not read its answers would never close

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, emit: Emit) -> None:
        """One client, until it goes or sends a line without end."""
        self._clients.add(writer)
        try:
            if len(self._clients) > MOST_CLIENTS:
                writer.write(_refusal(f"there are {MOST_CLIENTS} clients already; close one"))
                return
            while line := await self._line(reader, writer):
                while self._is_full():
                    await asyncio.sleep(ROOM_S)
                writer.write(self._take(line, emit))
                await writer.drain()
        except OSError:
            pass  # it went without a word
        finally:
            self._clients.discard(writer)
            writer.close()

    async def _line(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        """b"" when there is no further one."""
        try:
            return await reader.readline()
        except ValueError:
            writer.write(_refusal(f"the line is longer than {LONGEST} bytes; the connection ends here"))
            return b""

    def _take(self, line: bytes, emit: Emit) -> bytes:
        try:
            emit(draft_of(line, self._clock()))
        except DataError as error:
            return _refusal(error.detail)
        except Exception as error:  # the agent's trouble (a full disk) is the client's to know, not to end by
            return _refusal(f"the agent cannot take it: {in_words(error)}")
        return _OK


def draft_of(line: bytes, clock: int) -> Draft:
    """Raises: DataError whose detail says what is wrong with the line."""
    try:
        read = _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DataError("bad_line", str(error)) from None
    if read.msg_type not in TAKEN:
        raise DataError("unknown_msg_type", f"msgType {read.msg_type!r} is none of {', '.join(TAKEN)}")
    if read.ts is not None and read.ts > clock + FUTURE:
        raise DataError(
            "clock_future", f"ts {read.ts} is more than {FUTURE // SECOND} s ahead of this computer's clock"
        )
    try:
        payload = _payloads[read.msg_type].decode(read.payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DataError("bad_payload", f"{read.msg_type}: {error}") from None
    return Draft(read.msg_type, clock if read.ts is None else read.ts, payload)


def _refusal(sentence: str) -> bytes:
    return msgspec.json.encode({"error": sentence}) + b"\n"


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

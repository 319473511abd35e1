"""Links: one direction of messages each. What goes out waits for credit, room in the session and the peer's reading."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from .errors import SIZE_EXCEEDED, AmqpError, LinkRefused
from .frames import TRANSFER_BYTES, Frame
from .nodes import Node
from .supplies import MAX_ANSWERS, Supply

WRITE_BYTES = 64 << 10  # small messages are written together, up to this
MAX_REQUEST_BYTES = 256 << 10
REQUEST_CREDIT = MAX_ANSWERS // 2  # so that no honest peer has more answers waiting than there is room for
SERIAL = 1 << 32  # delivery counts and transfer ids wrap around


def distance(later: int, earlier: int) -> int:
    """How far ``later`` is ahead, in the serial numbers of AMQP; negative when it is behind."""
    ahead = (later - earlier) % SERIAL
    return ahead if ahead < SERIAL // 2 else ahead - SERIAL


class Carrier(Protocol):
    """What a link needs of its session: numbers for what it sends, and the way out."""

    max_frame_bytes: int
    window: int  # transfers the peer still takes

    def next_delivery_id(self) -> int: ...

    def transfer(self, handle: int, delivery_id: int, chunk_bytes: int, more: bool) -> bytes:
        """The head of the next transfer frame; it takes one from the window."""

    def write(self, data: bytes) -> None: ...

    async def drained(self) -> None:
        """Until the peer has read most of what was written."""

    def write_flow(self, link: Outgoing | Incoming, *, drain: bool = False) -> None: ...


class Outgoing:
    """Messages of a supply to the peer, as its credit allows."""

    def __init__(self, session: Carrier, handle: int, node: Node, supply: Supply, name: str, target: str) -> None:
        self.handle, self.node, self.supply, self.name, self.target = handle, node, supply, name, target
        self.credit = 0
        self.delivery_count = 0
        self.changed = asyncio.Event()  # credit, drain or the session's window
        self.on_detach: Callable[[LinkRefused], None] = lambda error: None
        self._session = session
        self._drain = False
        self._made: list[bytes | memoryview] = []
        self._made_bytes = 0

    def detach(self, error: LinkRefused) -> None:
        self.on_detach(error)

    def on_flow(self, frame: Frame) -> None:
        """The peer's credit counts from the deliveries that it has seen, which may be fewer than were sent."""
        limit = frame.number(5, default=0) + frame.number(6, default=0)
        self.credit = max(0, distance(limit, self.delivery_count))
        self._drain = frame.flag(8)
        self.changed.set()

    async def run(self) -> None:
        while True:
            await self._until(lambda: self.credit > 0)
            messages = await self.supply.read()
            if messages:
                await self._send(messages)
            elif self._drain:
                self._use_up_credit()
            else:
                await self._more()

    async def _until(self, ready: Callable[[], bool]) -> None:
        while not ready():
            self.changed.clear()
            await self.changed.wait()

    async def _more(self) -> None:
        """Until the supply has some, or the peer says something that may change what to do."""
        self.changed.clear()
        waits = [asyncio.ensure_future(self.supply.wait()), asyncio.ensure_future(self.changed.wait())]
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in done:
                wait.result()
        finally:
            for wait in waits:
                wait.cancel()

    def _use_up_credit(self) -> None:
        """The answer to drain: there is no more, the credit counts as used."""
        self.delivery_count = (self.delivery_count + self.credit) % SERIAL
        self.credit, self._drain = 0, False
        self._session.write_flow(self, drain=True)

    async def _send(self, messages: Sequence[bytes]) -> None:
        for message in messages:
            while self.credit <= 0 or self._session.window <= 0 or self._made_bytes >= WRITE_BYTES:
                await self._write()
                await self._until(lambda: self.credit > 0 and self._session.window > 0)
            await self._deliver(message)
        await self._write()

    async def _deliver(self, message: bytes) -> None:
        """Make the frames of one message. Once begun it goes on, even if its credit is taken back."""
        delivery_id = self._session.next_delivery_id()
        for chunk, more in self._chunks(message):
            if self._session.window <= 0 or self._made_bytes >= WRITE_BYTES:
                await self._write()
                await self._until(lambda: self._session.window > 0)
            self._made += (self._session.transfer(self.handle, delivery_id, len(chunk), more), chunk)
            self._made_bytes += len(chunk)
        self.credit -= 1
        self.delivery_count = (self.delivery_count + 1) % SERIAL

    def _chunks(self, message: bytes) -> Iterator[tuple[bytes | memoryview, bool]]:
        """The message in frames, and whether more follow."""
        room = self._session.max_frame_bytes - TRANSFER_BYTES
        if len(message) <= room:
            yield message, False
            return
        view = memoryview(message)
        for start in range(0, len(view), room):
            yield view[start : start + room], start + room < len(view)

    async def _write(self) -> None:
        """Frames are numbered as they are made: whatever is made is written before anything is waited for."""
        made, self._made, self._made_bytes = self._made, [], 0
        self._session.write(b"".join(made))
        await self._session.drained()


class Incoming:
    """Requests of the peer, put together from their frames."""

    def __init__(self, handle: int, node: Node) -> None:
        self.handle, self.node = handle, node
        self.credit = REQUEST_CREDIT
        self.delivery_count = 0
        self.delivery_id = 0  # of what was last begun
        self.changed = asyncio.Event()  # nobody waits: the peer's flow means nothing here
        self._parts = bytearray()

    def on_flow(self, frame: Frame) -> None:
        """A sender tells its state, it asks for nothing."""

    def on_transfer(self, frame: Frame) -> bytes | None:
        """The message, when this was its last frame. Raises: AmqpError when it is too large."""
        if frame.flag(9):  # aborted
            self._parts.clear()
            return None
        if not self._parts:
            self.delivery_id = frame.number(1)  # frames that continue a delivery may leave it out
        self._parts += frame.payload
        if len(self._parts) > MAX_REQUEST_BYTES:
            raise AmqpError(SIZE_EXCEEDED, f"a request has at most {MAX_REQUEST_BYTES} bytes")
        if frame.flag(5):  # more
            return None
        message = bytes(self._parts)
        self._parts.clear()
        self.delivery_count = (self.delivery_count + 1) % SERIAL
        self.credit -= 1
        return message

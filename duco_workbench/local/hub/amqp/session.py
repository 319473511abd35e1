"""Sessions: links come and go, transfers are numbered, windows kept."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from . import codec
from .codec import FALSE, NULL, TRUE, boolean, string, symbols, ubyte, uint, ulong
from .errors import (
    HANDLE_IN_USE,
    INTERNAL_ERROR,
    NOT_ALLOWED,
    UNATTACHED_HANDLE,
    UNAUTHORIZED,
    AmqpError,
    LinkRefused,
)
from .frames import Code, Frame, encode, error, transfer
from .links import MAX_REQUEST_BYTES, REQUEST_CREDIT, SERIAL, Incoming, Outgoing, distance
from .management import handle as answer_request
from .messages import answer, read_request
from .nodes import Endpoint, Grants, node_at
from .positions import resolve, selector_of
from .supplies import Answers, Events

HANDLE_MAX = 255
WINDOW = 5000  # transfers a peer may send before it hears of us again
MAX_MESSAGE_BYTES = 1 << 20
EPOCH, RECEIVER_NAME = "com.microsoft:epoch", "com.microsoft:receiver-name"
TRACKS_END = "com.microsoft:enable-receiver-runtime-metric"
ACCEPTED = codec.described(Code.ACCEPTED, codec.listed([]))

log = logging.getLogger(__name__)
Link = Outgoing | Incoming


class Wire(Protocol):
    """What a session needs of its connection."""

    max_frame_bytes: int

    def write(self, data: bytes) -> None: ...

    async def drained(self) -> None: ...


class Session:
    """One session of a connection. What the peer does wrong in it ends the connection: AmqpError."""

    def __init__(self, wire: Wire, endpoint: Endpoint, grants: Grants, channel: int, begin: Frame) -> None:
        self._wire, self._endpoint, self._grants, self._channel = wire, endpoint, grants, channel
        self.max_frame_bytes = wire.max_frame_bytes
        self.window = begin.number(2)
        self._outgoing_id = 0
        self._delivery_id = 0
        self._incoming_id = begin.number(1)
        self._incoming_window = WINDOW
        self._links: dict[int, Link | None] = {}  # None: we have detached it, the peer has not said yes yet
        self._tasks: dict[int, asyncio.Task[None]] = {}
        fields = [codec.ushort(channel), uint(0), uint(WINDOW), uint(WINDOW), uint(HANDLE_MAX)]
        self._write(Code.BEGIN, fields)

    async def on_frame(self, frame: Frame) -> None:
        match frame.code:
            case Code.ATTACH:
                await self._on_attach(frame)
            case Code.FLOW:
                self._on_flow(frame)
            case Code.TRANSFER:
                await self._on_transfer(frame)
            case Code.DISPOSITION:
                pass  # all we send is settled: there is nothing to settle
            case Code.DETACH:
                self._on_detach(frame)
            case code:
                raise AmqpError(NOT_ALLOWED, f"performative 0x{code:02x} has no place in a session")

    def end(self) -> None:
        """Forget every link; the peer is told by whoever calls."""
        for task in self._tasks.values():
            task.cancel()
        self._tasks.clear()
        for handle in list(self._links):
            self._forget(handle)

    def withdraw(self) -> None:
        """Detach the links whose tokens have expired."""
        for link in self._links.values():
            if link is None:
                continue
            try:
                self._grants.require(link.node)
            except LinkRefused as refusal:
                self._detach(link.handle, refusal)

    # -- what links ask for

    def next_delivery_id(self) -> int:
        delivery_id, self._delivery_id = self._delivery_id, (self._delivery_id + 1) % SERIAL
        return delivery_id

    def transfer(self, handle: int, delivery_id: int, chunk_bytes: int, more: bool) -> bytes:
        self._outgoing_id = (self._outgoing_id + 1) % SERIAL
        self.window -= 1
        return transfer(self._channel, handle, delivery_id, chunk_bytes, more)

    def write(self, data: bytes) -> None:
        self._wire.write(data)

    async def drained(self) -> None:
        await self._wire.drained()

    def write_flow(self, link: Link | None = None, *, drain: bool = False) -> None:
        """Our state: of the session alone, or of a link in it too."""
        fields = [uint(self._incoming_id), uint(self._incoming_window), uint(self._outgoing_id), uint(WINDOW)]
        if link is not None:
            fields += [uint(link.handle), uint(link.delivery_count), uint(link.credit), NULL, boolean(drain)]
        self._write(Code.FLOW, fields)

    # -- flow, transfer, detach

    def _on_flow(self, frame: Frame) -> None:
        expected = frame.number(0, default=0)  # absent before the peer has seen our begin, which says 0
        self.window = max(0, distance(expected + frame.number(1), self._outgoing_id))
        link = None if frame.get(4) is None else self._link(frame.number(4))
        if link is not None:
            link.on_flow(frame)
        for each in self._links.values():
            if each is not None:
                each.changed.set()
        if frame.flag(9):  # echo
            self.write_flow(link)

    async def _on_transfer(self, frame: Frame) -> None:
        link = self._link(frame.number(0))
        self._incoming_id = (self._incoming_id + 1) % SERIAL
        self._incoming_window -= 1
        if self._incoming_window < WINDOW // 2:
            self._incoming_window = WINDOW
            self.write_flow()
        if link is None:
            return
        if isinstance(link, Outgoing):
            raise AmqpError(NOT_ALLOWED, "a transfer on a link that receives")
        message = link.on_transfer(frame)
        if message is not None:
            await self._on_request(link, message)
            if not frame.flag(4):
                delivery = uint(link.delivery_id)
                self._write(Code.DISPOSITION, [TRUE, delivery, delivery, TRUE, ACCEPTED])

    async def _on_request(self, link: Incoming, message: bytes) -> None:
        if link.credit < REQUEST_CREDIT // 2:
            link.credit = REQUEST_CREDIT
            self.write_flow(link)
        request = read_request(message)
        given = await answer_request(self._endpoint, self._grants, link.node.service, request)
        for other in self._links.values():
            if (
                isinstance(other, Outgoing)
                and other.node.service == link.node.service
                and isinstance(other.supply, Answers)
                and request.reply_to in (None, other.target)
            ):
                other.supply.put(answer(request, given))

    def _on_detach(self, frame: Frame) -> None:
        handle = frame.number(0)
        if self._link(handle) is not None:
            self._write(Code.DETACH, [uint(handle), boolean(frame.flag(1))])
        self._forget(handle)
        self._links.pop(handle)

    def _link(self, handle: int) -> Link | None:
        try:
            return self._links[handle]
        except KeyError:
            raise AmqpError(UNATTACHED_HANDLE, f"no link is attached to handle {handle}") from None

    # -- attach

    async def _on_attach(self, frame: Frame) -> None:
        handle = frame.number(1)
        if handle > HANDLE_MAX:
            raise AmqpError(NOT_ALLOWED, f"handle {handle} is beyond {HANDLE_MAX}")
        if handle in self._links:
            raise AmqpError(HANDLE_IN_USE, f"handle {handle} is in use")
        try:
            if frame.flag(2):  # the peer receives
                await self._attach_outgoing(frame, handle)
            else:
                self._attach_incoming(frame, handle)
        except LinkRefused as refusal:
            self._answer_attach(frame, refused=True)
            self._detach(handle, refusal)

    def _attach_incoming(self, frame: Frame, handle: int) -> None:
        node = node_at(self._endpoint, _address(frame.composite(6)))
        if not node.service:
            path = "/".join(node.path)
            raise LinkRefused(
                UNAUTHORIZED,
                "Unauthorized access. 'Send' claim(s) are required to perform this operation: the events of an IoT "
                f"Hub come from its devices. Resource: '{path}'.",
            )
        self._grants.require(node)
        link = self._links[handle] = Incoming(handle, node)
        self._answer_attach(frame)
        self.write_flow(link)

    async def _attach_outgoing(self, frame: Frame, handle: int) -> None:
        source, target = frame.composite(5), frame.composite(6)
        node = node_at(self._endpoint, _address(source))
        self._grants.require(node)
        if node.place is None and not node.service:
            raise LinkRefused(NOT_ALLOWED, "events are read from …/ConsumerGroups/<group>/Partitions/<id>")
        name = str(_property(frame, RECEIVER_NAME) or "nil")
        supply = Answers() if node.place is None else await self._events(frame, node.place.partition, source)
        link = Outgoing(self, handle, node, supply, name, _address(target))
        link.on_detach = lambda error: self._detach(handle, error)
        if node.place is not None:
            epoch = _property(frame, EPOCH)
            self._endpoint.readers.admit(node.place, link, epoch if isinstance(epoch, int) else None)
        self._links[handle] = link
        self._answer_attach(frame)
        self._tasks[handle] = asyncio.create_task(self._run(link))

    async def _events(self, frame: Frame, partition: int, source: list[object]) -> Events:
        selector = selector_of(source[7] if len(source) > 7 else None)
        after = await resolve(self._endpoint.journal, partition, selector)
        return Events(self._endpoint.journal, partition, after, TRACKS_END in _names(frame.get(12)))

    def _answer_attach(self, frame: Frame, refused: bool = False) -> None:
        """Our half of the link, with the peer's source and target; without ours of the two when it is refused."""
        receives = frame.flag(2)
        source, target = frame.raw(5), frame.raw(6)
        if refused:
            source, target = (NULL, target) if receives else (source, NULL)
        offered = [TRACKS_END] if TRACKS_END in _names(frame.get(12)) else []
        fields = [
            *(string(frame.text(0)), uint(frame.number(1)), FALSE if receives else TRUE),
            # What we send is settled: a consumer's progress is its offset, not what it accepts. The real one does so.
            *(ubyte(1) if receives else frame.raw(3), ubyte(0)),
            *(source, target, NULL, NULL),
            uint(0) if receives else NULL,
            ulong(MAX_MESSAGE_BYTES if receives else MAX_REQUEST_BYTES),
            symbols(offered) if offered else NULL,
        ]
        self._write(Code.ATTACH, fields)

    # -- links at work

    async def _run(self, link: Outgoing) -> None:
        try:
            await link.run()
        except ConnectionError:
            pass  # the connection's own task ends it
        except Exception:
            log.exception("reading %s failed", "/".join(link.node.path))
            self._detach(link.handle, LinkRefused(INTERNAL_ERROR, "the hub could not read its journal; see its log"))

    def _detach(self, handle: int, refusal: LinkRefused) -> None:
        """End a link from our side; its handle is free once the peer has detached too."""
        log.warning("a consumer's link is detached: %s", refusal)  # its SDK may keep this to itself, and try again
        self._forget(handle)
        self._links[handle] = None
        self._write(Code.DETACH, [uint(handle), TRUE, error(refusal.condition, refusal.description)])

    def _forget(self, handle: int) -> None:
        link = self._links.get(handle)
        if isinstance(link, Outgoing) and link.node.place is not None:
            self._endpoint.readers.leave(link.node.place, link)
        task = self._tasks.pop(handle, None)
        if task is not None and task is not asyncio.current_task():
            task.cancel()

    def _write(self, code: Code, fields: list[bytes]) -> None:
        self._wire.write(encode(code, fields, self._channel))


def _address(terminus: list[object]) -> str:
    return terminus[0] if terminus and isinstance(terminus[0], str) else ""


def _property(frame: Frame, name: str) -> object:
    properties = frame.get(13)
    return properties.get(name) if isinstance(properties, dict) else None


def _names(capabilities: object) -> list[object]:
    """One symbol may stand for a list of one."""
    return capabilities if isinstance(capabilities, list) else [capabilities]

"""The hub's endpoint for events in a thread of its own, so that blocking clients can be tested too; and a raw peer."""

import asyncio
import contextlib
import os
import socket
import ssl
import threading

from azure.eventhub._client_base import _generate_sas_token

from duco_workbench.iothub.sas import check_token
from duco_workbench.local.hub import amqp
from duco_workbench.local.hub.amqp import codec, frames
from duco_workbench.local.hub.amqp.frames import Code
from duco_workbench.local.hub.identity import EVENTS_POLICY, HUB_NAME, prepare
from duco_workbench.local.hub.journal import Journal

PORT = 5671  # the SDK knows no other: each endpoint has an address of its own
PATIENCE_S = 30  # ends a hang, measures nothing


def free_address():
    """Test runs at the same time begin at different places."""
    for n in range(250):
        address = f"127.0.12.{1 + (os.getpid() + n) % 250}"
        with contextlib.suppress(OSError), socket.create_server((address, PORT)):
            return address
    raise OSError("no address of 127.0.12.x is free")


class EventsEndpoint:
    """Journal and AMQP server. Everything here may be called from any thread but the endpoint's."""

    def __init__(self, folder, **limits):
        self.identity = prepare(folder, free_address())
        self.refusal = None  # a sentence here, and no token is good any more
        self._folder, self._limits = folder, limits
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.start()

    @property
    def address(self):
        return self.identity.address

    @property
    def connection_string(self):
        return self.identity.hub_events

    def client(self, kind, group="$Default", **options):
        """A consumer of the SDK: ``kind`` is its blocking or asyncio class."""
        return kind.from_connection_string(
            options.pop("conn_str", self.connection_string),
            consumer_group=group,
            connection_verify=str(self.identity.ca),
            **options,
        )

    def call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(PATIENCE_S)

    def start(self):
        self.call(self._start())

    async def _start(self):
        self.journal = Journal(self._folder, **self._limits)
        await self.journal.open()
        tls = self.identity.tls()
        self.server = await amqp.serve(self.journal, self.address, PORT, tls, self._check, HUB_NAME)

    def _check(self, token, resource):
        return self.refusal or check_token(token, resource, self.identity.key.encode(), EVENTS_POLICY)

    def stop(self):
        self.call(self._stop())

    async def _stop(self):
        await self.server.close()
        await self.journal.close()

    def close(self):
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_S)

    def append(self, *bodies, device="wl-1", system=None, properties=None):
        """What is stored of each body, one after the other."""

        async def append_each():
            known = device, "638", system or {}, properties or {}
            return [await self.journal.append(*known, body) for body in bodies]

        return self.call(append_each())

    def fill(self, bodies, device="wl-1"):
        """Many at once, in order."""

        async def append_all():
            return await asyncio.gather(*[self.journal.append(device, "638", {}, {}, body) for body in bodies])

        return self.call(append_all())


@contextlib.contextmanager
def events_endpoint(folder, **limits):
    endpoint = EventsEndpoint(folder, **limits)
    try:
        yield endpoint
    finally:
        endpoint.close()


class Peer:
    """A consumer that does what a test tells it, good or bad. Frames are written and read one by one."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.outgoing = 0

    @classmethod
    @contextlib.asynccontextmanager
    async def connected(cls, endpoint, **limits):
        tls = ssl.create_default_context(cafile=endpoint.identity.ca)
        peer = cls(*await asyncio.open_connection(endpoint.address, PORT, ssl=tls, **limits))
        try:
            yield peer
        finally:
            peer.writer.transport.abort()

    async def hello(self, max_frame_bytes=65536, idle_ms=0):
        """SASL and open."""
        self.writer.write(frames.SASL_HEADER)
        self.send(Code.SASL_INIT, codec.symbol("ANONYMOUS"), channel=0, kind=frames.SASL)
        self.writer.write(frames.AMQP_HEADER)
        idle = codec.uint(idle_ms) if idle_ms else codec.NULL
        self.send(
            Code.OPEN, codec.string("peer"), codec.NULL, codec.uint(max_frame_bytes), codec.ushort(255), idle, channel=0
        )
        assert await self.read(8) == frames.SASL_HEADER
        assert (await self.frame()).get(0) == ["MSSBCBS", "ANONYMOUS"]
        assert (await self.frame()).number(0) == 0
        assert await self.read(8) == frames.AMQP_HEADER
        return await self.frame()

    async def begin(self, window=1000):
        self.send(Code.BEGIN, codec.NULL, codec.uint(0), codec.uint(window), codec.uint(1000))
        assert (await self.frame()).code == Code.BEGIN

    async def show_token(self, endpoint, audience):
        """By $cbs on handles 0 and 1; the status of the answer."""
        token = make_token(endpoint, audience)
        self.attach(0, "$cbs", receives=True)
        self.attach(1, "$cbs", receives=False)
        self.flow(0, credit=10)
        self.request(1, {"operation": "put-token", "name": audience}, token)
        while (frame := await self.frame()).code != Code.TRANSFER:
            pass
        return sections(frame.payload)[0x74]["status-code"]

    def attach(self, handle, address, receives, selector=None, properties=()):
        name = "apache.org:selector-filter:string"
        described = b"\x00" + codec.symbol(name) + codec.string(selector or "")
        filters = codec.mapped([(codec.symbol(name), described)]) if selector else codec.NULL
        source = codec.described(0x28, codec.listed([codec.string(address), *[codec.NULL] * 6, filters]))
        target = codec.described(0x29, codec.listed([codec.string(address)]))
        fields = [codec.string(f"link-{handle}"), codec.uint(handle), codec.boolean(receives), codec.NULL, codec.NULL]
        fields += [source, target, *[codec.NULL] * 6]
        pairs = [(codec.symbol(name), codec.long(value)) for name, value in properties]
        self.send(Code.ATTACH, *fields, codec.mapped(pairs))

    def flow(self, handle=None, credit=0, count=0, window=1000, seen=0, drain=False, echo=False):
        link = [codec.NULL] * 4
        if handle is not None:
            link = [codec.uint(handle), codec.uint(count), codec.uint(credit), codec.NULL]
        session = [codec.uint(n) for n in (seen, window, self.outgoing, 1000)]
        self.send(Code.FLOW, *session, *link, codec.boolean(drain), codec.boolean(echo))

    def request(self, handle, properties, body=None):
        pairs = [(codec.string(name), codec.string(value)) for name, value in properties.items()]
        message = codec.described(0x73, codec.listed([codec.string("id")])) + codec.described(0x74, codec.mapped(pairs))
        message += codec.described(0x77, codec.NULL if body is None else codec.string(body))
        self.transfer(handle, message)

    def transfer(self, handle, payload, more=False, delivery=0):
        self.writer.write(frames.transfer(1, handle, delivery, len(payload), more) + payload)
        self.outgoing += 1

    def send(self, code, *fields, channel=1, kind=frames.AMQP, payload=b""):
        body = codec.described(code, codec.listed(fields)) + payload
        self.writer.write((8 + len(body)).to_bytes(4) + bytes((2, kind)) + channel.to_bytes(2) + body)

    async def read(self, size):
        async with asyncio.timeout(PATIENCE_S):
            return await self.reader.readexactly(size)

    async def frame(self, heartbeats=False):
        """The next frame; None for a heartbeat, which are passed over unless they are asked for."""
        while True:
            header = frames.read_header(await self.read(8), 1 << 20)
            body = await self.read(header.size - 8)
            if body:
                return frames.decode(header.channel, body)
            if heartbeats:
                return None

    async def until(self, code):
        """Frames up to the first with this code, which is the last of them."""
        found = [await self.frame()]
        while found[-1].code != code:
            found.append(await self.frame())
        return found


def make_token(endpoint, audience):
    """As azure-eventhub signs: with the text of the key."""
    return _generate_sas_token(audience, EVENTS_POLICY, endpoint.identity.key).token


def sections(payload):
    """The sections of a message by descriptor."""
    reader, found = codec.Reader(bytes(payload)), {}
    while reader:
        section = reader.value()
        found[section.descriptor] = section.value
    return found

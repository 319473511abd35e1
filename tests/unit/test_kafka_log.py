"""What the ends of the log on Kafka share, without a broker."""

from __future__ import annotations

import asyncio

from duco_workbench import kafka_log


class Network:
    """As aiokafka's: who closes it waits for connections that may be closing already."""

    def __init__(self) -> None:
        self.closing = asyncio.get_running_loop().create_future()

    async def close(self) -> None:
        await asyncio.gather(self.closing)


class Client:
    """Whose ``stop`` hangs until it is cancelled, and its closing connections with it."""

    def __init__(self) -> None:
        self._client = Network()

    async def stop(self) -> None:
        await self._client.close()


async def test_a_client_whose_connections_do_not_close_is_left_without_a_word() -> None:
    client = Client()
    await asyncio.wait_for(kafka_log.closed(client, 0.01), 30)
    assert client._client.closing.cancelled()

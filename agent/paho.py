"""What paho-mqtt below 2.0, which azure-iot-device asks for, lacks: to take every socket error for a lost connection.

It knows :class:`ConnectionError` only. Another one, as an end of TLS without a farewell, ends its thread: nothing is
sent or received from then on, and the client above believes itself connected until its next message times out.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from paho.mqtt.client import Client


def mend() -> None:
    """Once per process, before the first client."""
    Client._sock_recv = _reset_if_lost(Client._sock_recv)
    Client._sock_send = _reset_if_lost(Client._sock_send)


def _reset_if_lost(call: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    @functools.wraps(call)
    def mended(client: Any, argument: Any) -> Any:
        try:
            return call(client, argument)
        except (BlockingIOError, ConnectionError):
            raise
        except OSError as error:
            raise ConnectionResetError(str(error)) from error

    return mended

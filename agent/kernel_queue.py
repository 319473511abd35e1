"""The queue of frames that Linux keeps for a bus's socket: made larger, and asked what it had to drop."""

from __future__ import annotations

import os
import socket
import struct
import sys

ROOM = 8 << 20  # bytes; some 10,000 frames as the kernel counts them: 3 s of a full bus at 500 kbit/s
_SO_RCVBUFFORCE, _SO_MEMINFO = 33, 55  # asm-generic/socket.h; the first needs CAP_NET_ADMIN
_DROPS = 8  # the ninth number of SO_MEMINFO (linux/sock_diag.h: SK_MEMINFO_DROPS)


class KernelQueue:
    """Of the socket with this file number; where there is no such thing, it has dropped nothing."""

    def __init__(self, fileno: int) -> None:
        self._socket = _socket_of(fileno) if sys.platform == "linux" and fileno >= 0 else None
        if self._socket is not None:
            self._enlarge(self._socket)

    @staticmethod
    def _enlarge(its: socket.socket) -> None:
        try:
            its.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, ROOM)
        except OSError:
            its.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, ROOM)  # up to net.core.rmem_max

    def dropped(self) -> int:
        """Frames since the socket was opened."""
        if self._socket is None:
            return 0
        try:
            return int(struct.unpack_from("9I", self._socket.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 36))[_DROPS])
        except (OSError, struct.error):  # older than Linux 4.12
            return 0

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()


def _socket_of(fileno: int) -> socket.socket | None:
    """A second handle of the socket; None for what is no socket, e.g. an adapter's event."""
    second = os.dup(fileno)
    try:
        return socket.socket(fileno=second)
    except OSError:
        os.close(second)
        return None

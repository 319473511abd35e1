"""The proxy of the fault matrix does to a link what it says."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
import time
from collections.abc import Iterator

import pytest
from faults.proxy import BLACK_HOLE, CUT, HALF_OPEN, PASS, Proxy, slow

from duco_workbench.testing import PATIENCE_S, until


class _Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        with contextlib.suppress(ConnectionResetError):  # as a cut link does
            while data := self.request.recv(65536):
                self.request.sendall(data)


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Echo) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with Proxy(f"http://127.0.0.1:{server.server_address[1]}/duco") as proxy:
            yield proxy
        server.shutdown()


def connected(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=PATIENCE_S)


def asked(link: socket.socket, data: bytes, seconds: float = PATIENCE_S) -> bytes:
    """What comes back, b"" when nothing does in time."""
    link.settimeout(seconds)
    link.sendall(data)
    try:
        return link.recv(65536)
    except TimeoutError:
        return b""


def test_it_passes_everything_both_ways_in_order(proxy: Proxy) -> None:
    sent = bytes(range(256)) * 4096
    with connected(proxy) as link:
        threading.Thread(target=link.sendall, args=(sent,)).start()
        came = b""
        while len(came) < len(sent):
            came += link.recv(65536)
    assert came == sent
    assert proxy.url == f"http://127.0.0.1:{proxy.port}/duco"


def test_a_cut_link_resets_open_and_new_connections_until_it_is_mended(proxy: Proxy) -> None:
    with connected(proxy) as link:
        assert asked(link, b"one") == b"one"
        proxy.set(CUT)
        with pytest.raises(ConnectionResetError):
            asked(link, b"two")
    with pytest.raises((ConnectionResetError, BrokenPipeError)), connected(proxy) as link:
        asked(link, b"three")
    proxy.set(PASS)
    with connected(proxy) as link:
        assert asked(link, b"four") == b"four"


def test_a_half_open_link_swallows_and_then_has_forgotten(proxy: Proxy) -> None:
    with connected(proxy) as old:
        assert asked(old, b"one") == b"one"
        proxy.set(HALF_OPEN)
        with connected(proxy) as new:
            until(lambda: proxy.taken == 2, "the new connection is not taken")  # else it would begin in the next mode
            assert asked(old, b"two", 0.2) == asked(new, b"two", 0.2) == b""
            proxy.set(PASS)
            for link in (old, new):
                with pytest.raises((ConnectionResetError, BrokenPipeError)):
                    asked(link, b"three")


def test_a_black_hole_gives_everything_back_when_it_ends(proxy: Proxy) -> None:
    with connected(proxy) as link:
        assert asked(link, b"one") == b"one"
        proxy.set(BLACK_HOLE)
        assert asked(link, b"two", 0.2) == b""
        proxy.set(PASS)
        assert asked(link, b" three").startswith(b"two")


def test_a_slow_link_is_late_by_its_latency_and_no_faster_than_its_rate(proxy: Proxy) -> None:
    with connected(proxy) as link:
        proxy.set(slow(latency=0.3))
        begun = time.monotonic()
        assert asked(link, b"one") == b"one"
        assert time.monotonic() - begun >= 0.3
        proxy.set(slow(rate=1000))
        begun = time.monotonic()
        assert asked(link, bytes(300)) == bytes(300)
        assert time.monotonic() - begun >= 0.6  # there and back


def test_a_server_that_is_away_ends_the_connection() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        away = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with Proxy(away) as proxy, contextlib.suppress(ConnectionResetError), connected(proxy) as link:
            assert link.recv(1) == b""  # it may have ended before it was said to be there

"""The apps under plain ``panel serve``, and a real browser's tab that watches what they do."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Page, sync_playwright

from duco_workbench import testing

APPS = Path(__file__).parents[1] / "apps"


@contextmanager
def serving(app: str, settings: Mapping[str, str], seconds: float) -> Iterator[str]:
    """``settings``: DUCO_… variables. ``seconds``: what it may take to answer. Gives the page's URL."""
    port = testing.free_port()
    command = [sys.executable, "-m", "panel", "serve", str(APPS / f"{app}.py"), "--port", str(port)]
    with subprocess.Popen([*command, "--address", "127.0.0.1"], env={**os.environ, **settings}) as server:
        url = f"http://127.0.0.1:{port}/{app}"
        try:
            until(lambda: _answers(url), seconds, "panel serve does not answer")
            yield url
        finally:
            server.terminate()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=10).is_success
    except httpx.TransportError:
        return False


@contextmanager
def watched_tab(chromium_path: str, page_url: str) -> Iterator[Page]:
    """A tab that fails the test for any error, any dialog and any request to another place than the page's own."""
    bad: list[str] = []
    origin = page_url.rpartition("/")[0]
    with sync_playwright() as driver:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = driver.chromium.launch(executable_path=chromium_path, args=arguments)
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.on("console", lambda m: bad.append(f"console: {m.text}") if m.type == "error" else None)
        page.on("pageerror", lambda e: bad.append(f"error: {e}"))
        page.on("dialog", lambda d: bad.append(f"dialog: {d.message}"))
        page.on("request", lambda r: None if _own(r.url, origin) else bad.append(f"request: {r.url}"))
        page.on("response", lambda r: bad.append(f"{r.status}: {r.url}") if r.status >= 400 else None)
        page.on("websocket", lambda w: None if _own(w.url, origin) else bad.append(f"websocket: {w.url}"))
        yield page
        browser.close()
    assert not bad


def _own(url: str, origin: str) -> bool:
    return url.startswith((origin, f"blob:{origin}", "data:", origin.replace("http://", "ws://")))


def until(true: Callable[[], Any], seconds: float, otherwise: str) -> Any:
    """What ``true`` gives once it gives something."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := true():
            return found
        time.sleep(0.1)
    raise AssertionError(otherwise)

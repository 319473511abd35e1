"""The apps under plain ``panel serve``, and a real browser's tab that watches what they do."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import Error, Page, sync_playwright

from duco_workbench import testing

APPS = Path(__file__).parents[1] / "apps"


@contextmanager
def serving(app: str, settings: Mapping[str, str]) -> Iterator[str]:
    """``settings``: DUCO_… variables. Gives the page's URL."""
    port = testing.free_port()
    command = [sys.executable, "-m", "panel", "serve", str(APPS / f"{app}.py"), "--port", str(port)]
    with subprocess.Popen([*command, "--address", "127.0.0.1"], env={**os.environ, **settings}) as server:
        url = f"http://127.0.0.1:{port}/{app}"
        try:
            testing.until(lambda: _answers(url), "panel serve does not answer")
            yield url
        finally:
            server.terminate()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=testing.PATIENCE_S).is_success
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
        page.set_default_timeout(testing.PATIENCE_S * 1000)
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


def models(tab: Page, script: str) -> Any:
    """What ``script``, a function of Bokeh's models, gives; None while there are none, or the page loads."""
    try:
        return tab.evaluate(f"({script})((window.Bokeh?.documents ?? []).flatMap((doc) => [...doc.all_models]))")
    except Error:  # between two pages nothing can be evaluated
        return None


def fits(tab: Page) -> bool:
    """Nothing of the page is beyond the right edge."""
    return bool(tab.evaluate("document.scrollingElement.scrollWidth <= window.innerWidth"))

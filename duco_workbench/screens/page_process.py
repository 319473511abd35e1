"""/health and /metrics of the process that serves the pages: `panel serve --setup` runs this before the first one.

They have a port of their own: routes added to Panel's server would bypass its authentication.
"""

from __future__ import annotations

from contextlib import ExitStack

import httpx
import redis

from duco_workbench.ops import Process
from duco_workbench.settings import Settings

TIMEOUT_S = 2.0
OPEN = ExitStack()  # until the process ends


def begin() -> None:
    settings = Settings.load()
    process = Process("page", settings)
    process.check(lambda: _asked(f"{settings.page_url}/live/metadata", "the pages' server"))
    process.check(lambda: _asked(f"{settings.meta_url}/revision", "the catalog"))
    process.check(lambda: _pinged(settings.live_url))
    OPEN.enter_context(process.open_door())


def _asked(url: str, what: str) -> str | None:
    try:
        httpx.get(url, timeout=TIMEOUT_S, trust_env=False).raise_for_status()
        return None
    except httpx.HTTPError as error:
        return f"{what} at {url} does not answer: {error}"


def _pinged(live_url: str) -> str | None:
    try:
        with redis.Redis.from_url(live_url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S) as client:
            client.ping()
        return None
    except (redis.RedisError, OSError) as error:
        return f"the live server does not answer: {error}"


if __name__ == "panel_setup_module":  # as Panel calls what it runs
    begin()

"""What each process says of itself, asked at the addresses of the setting: /health alone, all at once.

/health has the rates and quantiles of the last minute beside its verdict, since the process measures them anyway; out
of /metrics they would take two scrapes and the arithmetic of a Prometheus server. And it is there when the log is not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx

from ..ops.process import addresses

TIMEOUT_S = 4.0
_NOTHING: dict[str, Any] = {"flows": {}, "figures": {}, "dropped": {}}


def read(ops: str) -> dict[str, dict[str, Any]]:
    """name -> ``url`` and what its /health said: see :meth:`ops.Process.health`; of one that does not answer ``status``
    is "silent". Raises: ConfigError."""
    return asyncio.run(_read(addresses(ops)))


async def _read(doors: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    async with httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False) as client:
        found = await asyncio.gather(*(_ask(client, f"http://{address}") for address in doors.values()))
    return dict(zip(doors, found, strict=True))


async def _ask(client: httpx.AsyncClient, url: str) -> dict[str, Any]:
    try:
        said = (await client.get(f"{url}/health")).json()
        return {"url": url, **{name: said[name] for name in ("status", "wrong", "notes", "rss_mb", *_NOTHING)}}
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        sentence = f"{url}/health does not answer: {error or type(error).__name__}"
        return {"url": url, "status": "silent", "wrong": [sentence], "notes": [], "rss_mb": None, **_NOTHING}

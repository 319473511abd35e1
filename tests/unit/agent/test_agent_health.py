"""The agent's /health, asked over HTTP."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from typing import Any

from agent.config import Health
from agent.health import serving
from duco_workbench import testing

WELL: dict[str, Any] = {"wrong": [], "notes": ["the hub does not answer"], "queue": {"depth": 3}}


def asked(url: str) -> tuple[int, dict[str, Any]]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_it_says_what_is_wrong_and_what_is_not() -> None:
    facts = dict(WELL)
    with serving(Health(port=testing.free_port()), lambda: facts) as url:
        assert asked(f"{url}/health") == (200, {"status": "ok", **WELL})
        facts["wrong"] = ["the disk is full"]
        status, found = asked(f"{url}/health")
        assert (status, found["status"], found["wrong"]) == (503, "failing", ["the disk is full"])
        assert asked(f"{url}/else")[0] == 404


def test_it_is_off_unless_asked_for_and_a_port_in_use_stops_nothing() -> None:
    with serving(Health(), lambda: WELL) as url:
        assert url == ""
    taken = socket.create_server(("127.0.0.1", 0))
    with taken, serving(Health(port=taken.getsockname()[1]), lambda: WELL) as url:
        assert url == ""

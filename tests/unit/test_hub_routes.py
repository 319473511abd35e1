"""The meta API's paths to the IoT hub where there is none: what is asked wrongly, and what is not there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from duco_workbench.api.meta import create_app
from duco_workbench.iothub.service import HubService

DEVICES = "/api/iothubs/ducohub/devices"
METHODS = f"{DEVICES}/m1/methods"
TWIN = f"{DEVICES}/m1/twin"
COMMAND_ID = "5f0c2f4e-1a51-4d1f-9a57-0d2a8c9b7e11"
START: dict[str, Any] = {"action": "start", "reason": "user_action", "commandId": COMMAND_ID}
NOBODY = "HostName=127.0.0.1:9;SharedAccessKeyName=iothubowner;SharedAccessKey=c2VjcmV0"


@pytest.fixture(params=["", NOBODY], ids=["not set", "away"])
async def api(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(f"sqlite:///{tmp_path}/catalog.db", HubService(request.param) if request.param else None)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://meta") as client,
    ):
        yield client


def _call(**payload: object) -> dict[str, Any]:
    return {"methodName": "setRealTimeUpload", "payload": payload}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", DEVICES, None),
        ("GET", TWIN, None),
        ("PATCH", TWIN, {"tags": {"tenant": "demo"}}),
        ("POST", METHODS, _call(**START)),
        ("POST", METHODS, {"methodName": "reboot", "payload": {"any": ["thing"]}}),
        ("POST", METHODS, {"methodName": "reboot"}),
    ],
)
async def test_without_a_hub_it_says_so(api: httpx.AsyncClient, method: str, path: str, body: object) -> None:
    answer = await api.request(method, path, json=body)
    assert answer.status_code == 503
    sentence = answer.json()["detail"]
    assert "set DUCO_HUB" in sentence or "127.0.0.1:9 does not answer" in sentence


@pytest.mark.parametrize("path", ["", "/m1/twin"])
async def test_a_hub_of_another_name(api: httpx.AsyncClient, path: str) -> None:
    answer = await api.get(f"/api/iothubs/other/devices{path}")
    assert answer.status_code == 404
    assert "'other'" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("path", "body", "where"),
    [
        (METHODS, _call(**{**START, "action": "on"}), "payload.action"),
        (METHODS, _call(**{**START, "commandId": "one"}), "payload.commandId"),
        (METHODS, _call(action="start", reason="user_action"), "payload.commandId"),
        (METHODS, _call(action="start", commandId=COMMAND_ID), "payload.reason"),
        (METHODS, _call(**START, seconds=180), "payload.seconds"),
        (METHODS, {"methodName": "setRealTimeUpload"}, "payload"),
        (METHODS, {**_call(**START), "responseTimeoutInSeconds": 300}, "responseTimeoutInSeconds"),
        (METHODS, {"methodName": "", "payload": None}, "methodName"),
        (METHODS, {"payload": START}, "methodName"),
        (METHODS, [], "body"),
        (TWIN, {"properties": {"reported": {"state": "fine"}}}, "reported"),
        (TWIN, {"desired": {"interval": 1}}, "desired"),
        (TWIN, {"tag": {"tenant": "demo"}}, "tag"),
        (TWIN, {"tags": "demo"}, "tags"),
    ],
)
@pytest.mark.parametrize("api", [NOBODY], indirect=True)
async def test_what_is_asked_wrongly_is_named(api: httpx.AsyncClient, path: str, body: object, where: str) -> None:
    answer = await api.request("POST" if path == METHODS else "PATCH", path, json=body)
    assert answer.status_code == 422
    assert where in answer.json()["detail"]


async def test_the_catalog_needs_no_hub(api: httpx.AsyncClient) -> None:
    assert (await api.get("/health")).json()["status"] == "ok"


async def test_requests_are_measured_by_the_path_as_it_is_declared(api: httpx.AsyncClient) -> None:
    await api.get("/tenants/somebody/devices")
    await api.get("/nowhere/somebody")
    text = (await api.get("/metrics")).text
    assert 'duco_requests_total{method="GET",path="/tenants/{tenant}/devices",status="404"} 1.0' in text
    assert 'duco_requests_total{method="other",path="other",status="404"} 1.0' in text
    assert "somebody" not in text

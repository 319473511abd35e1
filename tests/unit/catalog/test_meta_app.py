"""The meta API's answers, without a socket: statuses, sentences, OpenAPI."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from duco_workbench.api import meta
from duco_workbench.api.meta import create_app
from duco_workbench.catalog.engine import Catalog

MACHINE = "/tenants/demo/databases/machine"
SPEED = f"{MACHINE}/signals/EEC1.EngineSpeed"
MANIFEST = "/tenants/demo/devices/m1/manifest"


@pytest.fixture
async def api(bound: Catalog, url: str) -> AsyncIterator[httpx.AsyncClient]:
    """On the catalog with ``machine.dbc`` bound to ``m1``."""
    app = create_app(url)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://meta") as client:
        yield client
    app.state.catalog.close()


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "sentence"),
    [
        ("GET", "/tenants/nobody/devices", None, 404, "tenant 'nobody'"),
        ("GET", "/tenants/demo/devices/m9", None, 404, "device demo/m9"),
        ("GET", "/tenants/demo/databases/none", None, 404, "database 'none'"),
        ("GET", f"{MACHINE}/revisions/999", None, 404, "revision 999"),
        ("POST", "/tenants", {"name": "a b"}, 422, "tenant 'a b'"),
        ("POST", "/tenants/demo/devices", {"chassis_id": "*"}, 422, "chassis id '*'"),
        ("POST", "/tenants/demo/devices", {}, 422, "body.chassis_id"),
        ("PUT", MACHINE, {"text": "BO_ 1 M: 8 X\n SG_ ?\n"}, 422, "line 2"),
        ("PUT", MACHINE, {"text": "x", "fromat": "dbc"}, 422, "fromat"),
        ("PATCH", SPEED, {"scale": 0}, 422, "scale 0"),
        ("PATCH", SPEED, {"factor": 2}, 422, "factor"),
        ("PATCH", SPEED, {"scale": "two"}, 422, "body.scale"),
        ("PATCH", f"{MACHINE}/signals/EEC1.X", {"scale": 2}, 404, "EEC1.X"),
        ("DELETE", SPEED, None, 404, "no override"),
        ("PUT", MANIFEST, {"bindings": {"can0": "none"}}, 404, "database 'none'"),
        ("PUT", MANIFEST, {"bindings": {}, "keep": "some"}, 422, "body.keep"),
        ("PUT", "/tenants/demo/variables/x", {"name": "x", "signal": "y"}, 422, "Message.Signal"),
        ("PUT", "/tenants/demo/devices/m1/chart-groups", [], 422, "1 to 100"),
        ("GET", "/manifests?since=x", None, 422, "query.since"),
    ],
)
async def test_refusals(
    api: httpx.AsyncClient, method: str, path: str, body: object, status: int, sentence: str
) -> None:
    before = (await api.get("/revision")).json()
    answer = await api.request(method, path, json=body)
    assert answer.status_code == status
    assert sentence in answer.json()["detail"]
    assert (await api.get("/revision")).json() == before


async def test_a_chassis_id_of_another_tenant(api: httpx.AsyncClient) -> None:
    await api.post("/tenants", json={"name": "other"})
    answer = await api.post("/tenants/other/devices", json={"chassis_id": "m1"})
    assert answer.status_code == 409


async def test_added_or_there(api: httpx.AsyncClient) -> None:
    for status in (201, 200):
        assert (await api.post("/tenants", json={"name": "new"})).status_code == status
        assert (await api.post("/tenants/new/devices", json={"chassis_id": "n1"})).status_code == status


async def test_a_body_too_large_is_refused(api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meta, "MAX_BODY", 1000)
    for content in (b"x" * 2000, _chunks()):
        answer = await api.put(MACHINE, content=content, headers={"content-type": "application/json"})
        assert answer.status_code == 413
        assert "larger than" in answer.json()["detail"]


async def _chunks() -> AsyncIterator[bytes]:
    for _ in range(20):
        yield b"x" * 100


async def test_texts_go_by_reference(api: httpx.AsyncClient, machine_dbc: str) -> None:
    answer = await api.get("/manifests")
    assert len(answer.content) < 1000 < len(machine_dbc)
    (binding,) = answer.json()["manifests"][0]["bindings"]
    assert len(binding["sha256"]) == 64
    text = await api.get(f"{MACHINE}/revisions/{binding['revision']}/text")
    assert text.text == machine_dbc


async def test_a_manifest_at_an_event_time(api: httpx.AsyncClient) -> None:
    await api.put(MANIFEST, json={"bindings": {}, "valid_from": 1000})
    assert (await api.get(MANIFEST, params={"ts": 999})).json()["bindings"] != []
    assert (await api.get(MANIFEST, params={"ts": 1000})).json()["bindings"] == []
    assert (await api.get(MANIFEST)).json()["valid_from"] == 1000
    assert len((await api.get(f"{MANIFEST}s")).json()) == 2


async def test_the_documentation_is_tidy(api: httpx.AsyncClient) -> None:
    document = (await api.get("/openapi.json")).json()
    operations = [(path, op) for path, methods in document["paths"].items() for op in methods.values()]
    assert len(operations) > 25
    for path, operation in operations:
        assert len(operation["tags"]) == 1, path
        assert len(operation["summary"].split()) > 1, path
    ids = [operation["operationId"] for _, operation in operations]
    assert len(ids) == len(set(ids))

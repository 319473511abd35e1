"""CatalogClient against the meta API as it runs: a process of its own, on a port, on a SQLite file."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from duco_workbench.catalog.client import CatalogClient, ChartGroup
from duco_workbench.errors import ConfigError, ServiceError
from duco_workbench.manifests import choose
from duco_workbench.model import Variable

MACHINE = (Path(__file__).parents[1] / "data" / "catalog" / "machine.dbc").read_text()
SERVE = "import sys; from duco_workbench.api.meta import serve; serve('127.0.0.1', int(sys.argv[1]), sys.argv[2])"
MOST_RSS_MB = 130


class Server:
    """The meta API as a process that can be stopped and started again on the same file and port."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.catalog = f"sqlite:///{folder}/catalog.db"
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", SERVE, str(self.port), self.catalog])
        deadline = time.monotonic() + 60
        while True:
            try:
                httpx.get(f"{self.url}/health", trust_env=False).raise_for_status()
                return
            except httpx.HTTPError:
                assert self.process.poll() is None, "the meta API ended"
                assert time.monotonic() < deadline, "the meta API does not answer"
                time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        return self.process.wait(60)

    def rss_mb(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found
        return int(found[1]) // 1024


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("meta"))
    yield running
    running.stop()


@pytest.fixture
def client(server: Server) -> Iterator[CatalogClient]:
    with CatalogClient(server.url) as opened:
        yield opened


def test_from_nothing_to_charts(client: CatalogClient) -> None:
    assert client.ensure_device("demo", "m1", "Loader", "truck").name == "Loader"
    assert client.ensure_device("demo", "m1").name == "Loader"
    assert ("demo", "m1") in {(d.tenant, d.chassis_id) for d in client.devices()}
    published = client.put_database("demo", "machine", MACHINE)
    assert (published.changed, published.signals, published.skipped) == (True, 13, ())
    number = client.put_manifest("demo", "m1", {"can0": "machine"})
    assert client.put_manifest("demo", "m1", {"can0": "machine"}) == number
    manifest = choose(client.manifests(), "demo", "m1", 0)
    assert manifest
    assert (manifest.revision, manifest.keep) == (number, "changes")
    (binding,) = manifest.bindings
    assert (binding.bus, binding.name, binding.revision) == ("can0", "machine", published.revision)
    assert (binding.text, binding.format, binding.overrides) == (MACHINE, "dbc", {})
    variables = {v.name: v for v in client.variables("demo", "m1")}
    assert variables["Heater mode"].choices == {0: "off", 1: "on", 7: "defrost"}
    groups = client.chart_groups("demo", "m1")
    assert ChartGroup("Engine speed", ("Engine speed",), "1/min") in groups
    assert all(name in variables for group in groups for name in group.variables)


def test_a_factor_reaches_whoever_follows_the_revision(client: CatalogClient) -> None:
    client.ensure_device("factor", "f1")
    client.put_database("factor", "machine", MACHINE)
    client.put_manifest("factor", "f1", {"*": "machine"}, keep="all")
    before = client.revision()
    assert client.revision() == before
    patched = client.patch_signal("factor", "machine", "EEC1.EngineSpeed", scale=0.25, unit="Hz")
    manifest = choose(client.manifests(), "factor", "f1", 0)
    assert manifest
    assert before < manifest.revision == patched.manifests[0] == client.revision()
    assert manifest.bindings[0].overrides == {"EEC1.EngineSpeed": {"scale": 0.25, "unit": "Hz"}}
    assert (manifest.bindings[0].text, manifest.keep) == (MACHINE, "all")
    back = client.unpatch_signal("factor", "machine", "EEC1.EngineSpeed")
    assert back.overrides == {}
    assert [d.revision for d in client.databases("factor")] == [back.revision]


def test_a_text_is_fetched_once(server: Server, client: CatalogClient, monkeypatch: pytest.MonkeyPatch) -> None:
    client.ensure_device("texts", "t1")
    client.put_database("texts", "machine", MACHINE + "\n\n")
    client.put_manifest("texts", "t1", {"*": "machine"})
    client.manifests()
    asked: list[str] = []
    request = client._request
    monkeypatch.setattr(client, "_request", lambda *a, **k: (asked.append(a[1]), request(*a, **k))[1])
    client.patch_signal("texts", "machine", "EEC1.EngineSpeed", offset=1.0)
    assert any(m.tenant == "texts" for m in client.manifests())
    assert not [path for path in asked if path.endswith("/text")]


def test_names_that_need_quoting(client: CatalogClient) -> None:
    client.ensure_device("quoted", "a:b=c,d%2F$'(1)!?")
    client.put_database("quoted", "Ölpumpe 50% v1.2?#", MACHINE)
    client.put_manifest("quoted", "a:b=c,d%2F$'(1)!?", {"can0": "Ölpumpe 50% v1.2?#"})
    assert len(client.variables("quoted", "a:b=c,d%2F$'(1)!?")) == 13
    client.put_manifest("quoted", "*", {"can0": "Ölpumpe 50% v1.2?#"})
    speed = Variable("Speed km/h?", "CCVS.WheelBasedVehicleSpeed", unit="km/h", aliases=("VSS",))
    assert client.put_variable("quoted", speed) == speed
    assert speed in client.variables("quoted")
    groups = [ChartGroup("Mine", ("Speed km/h?",), "km/h")]
    assert client.put_chart_groups("quoted", "*", groups) == groups == client.chart_groups("quoted", "*")


def test_a_text_arrives_byte_by_byte(client: CatalogClient) -> None:
    text = MACHINE.replace("Crankshaft", "°C ¼ Öl 漢字 \u2028").replace("\n", "\r\n")
    client.ensure_device("bytes", "b1")
    client.put_database("bytes", "machine", text)
    client.put_manifest("bytes", "b1", {"*": "machine"})
    (manifest,) = [m for m in client.manifests() if m.tenant == "bytes"]
    assert manifest.bindings[0].text == text


def test_refusals_are_the_servers_sentence(client: CatalogClient) -> None:
    with pytest.raises(ConfigError, match="tenant 'nobody' is not in the catalog"):
        client.devices("nobody")
    client.ensure_tenant("demo")
    with pytest.raises(ConfigError, match=r"broken.*line 2"):
        client.put_database("demo", "broken", "BO_ 1 M: 8 X\n SG_ ?\n")
    with pytest.raises(ConfigError, match="half a character"):
        client.put_database("demo", "broken", "BO_ \ud800")


def test_what_is_published_survives_a_kill(tmp_path: Path) -> None:
    server = Server(tmp_path)
    with CatalogClient(server.url) as client:
        client.ensure_device("demo", "m1")
        client.put_database("demo", "machine", MACHINE)
        client.put_manifest("demo", "m1", {"can0": "machine"})
        client.patch_signal("demo", "machine", "EEC1.EngineSpeed", scale=2.0)
        manifests, at = client.manifests(), client.revision()
        server.stop(signal.SIGKILL)
        with pytest.raises(ServiceError, match="is it running"):
            client.revision()
        server.start()
        assert (client.manifests(), client.revision()) == (manifests, at)
        assert client.put_manifest("demo", "m1", {"can0": "machine"}) == manifests[0].revision
    assert server.stop() == -signal.SIGTERM  # uvicorn drains, then ends by the signal it was sent


def test_it_stays_small(server: Server, client: CatalogClient) -> None:
    """Files are read in a process of their own, so a database put leaves nothing behind."""
    client.ensure_tenant("small")
    client.put_database("small", "machine", MACHINE + "\n")
    assert server.rss_mb() < MOST_RSS_MB


def test_an_address_that_nobody_serves() -> None:
    with CatalogClient("http://127.0.0.1:9") as client, pytest.raises(ServiceError, match=r"127\.0\.0\.1:9"):
        client.revision()
    for wrong in ("127.0.0.1:9", "", "redis://127.0.0.1", "http://[::1"):
        with pytest.raises(ConfigError, match="meta API address"):
            CatalogClient(wrong)

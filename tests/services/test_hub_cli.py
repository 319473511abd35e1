"""``duco hub devices`` on a hub that the environment names, as Azure's is, and on the embedded one of a data folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from azure.iot.device import IoTHubDeviceClient
from hub_kit import HubThread, free_address, running_hub
from meta_kit import running_meta

from duco_workbench import cli
from duco_workbench.catalog.client import CatalogClient


class Done(NamedTuple):
    code: int
    out: str
    err: str


Duco = Callable[..., Done]


class Site(NamedTuple):
    data: Path
    hub: HubThread
    meta_url: str


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A hub with its state where an embedded stack has it, and a meta API."""
    data = tmp_path_factory.mktemp("site")
    with running_hub(data / "hub", free_address(17)) as hub, running_meta(data) as meta_url:
        yield Site(data, hub, meta_url)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Duco:
    """``duco hub devices ARGUMENTS``."""

    def run(*arguments: str) -> Done:
        monkeypatch.setattr("sys.argv", ["duco", "hub", "devices", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return Done(int(ended.value.code or 0), said.out, said.err)

    return run


@pytest.fixture
def duco(site: Site, run: Duco, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Duco:
    """Where the environment says which hub."""
    monkeypatch.setenv("DUCO_META_URL", site.meta_url)
    monkeypatch.setenv("DUCO_HUB", site.hub.identity.hub)
    monkeypatch.setenv("DUCO_HUB_CA", str(site.hub.identity.ca))
    monkeypatch.chdir(tmp_path)
    return run


def test_a_machine_is_added_connects_and_is_removed(site: Site, duco: Duco) -> None:
    added = duco("add", "cli-1", "--tenant", "quarry")
    (text,) = added.out.splitlines()  # nothing else: it can be piped
    assert added.code == 0
    assert text.startswith(f"HostName={site.hub.identity.address};DeviceId=cli-1;SharedAccessKey=")
    assert "a machine of quarry in the catalog" in added.err
    assert str(site.hub.identity.ca) in added.err
    with CatalogClient(site.meta_url) as catalog:
        assert "cli-1" in {device.chassis_id for device in catalog.devices("quarry")}
    _send(site, text)
    (message,) = site.hub.messages("cli-1")
    assert message.properties["tenant"] == "quarry"
    assert duco("add", "cli-1", "--tenant", "quarry").out == added.out == duco("key", "cli-1").out
    assert duco("remove", "cli-1").code == 0
    gone = duco("key", "cli-1")
    assert (gone.code, gone.out) == (1, "")
    assert "no device 'cli-1'" in gone.err


def _send(site: Site, text: str) -> None:
    machine = IoTHubDeviceClient.create_from_connection_string(text, server_verification_cert=site.hub.ca_text)
    machine.send_message("{}")
    machine.shutdown()


def test_the_list(site: Site, duco: Duco) -> None:
    strange, long = "a:truck:*", "m" * 128  # neither made a picture nor cut
    for name in (strange, long):
        assert duco("add", name).code == 0
    site.hub.add("without-tenant")
    text = duco("add", "connected-1").out.strip()
    machine = IoTHubDeviceClient.create_from_connection_string(text, server_verification_cert=site.hub.ca_text)
    machine.connect()
    lines = [line.split() for line in duco("list").out.splitlines()]
    machine.shutdown()
    assert lines[0] == ["device", "tenant", "connected", "last", "activity"]
    found = {line[0]: line[1:] for line in lines[1:]}
    assert found[strange] == found[long] == ["demo", "no", "never"]
    assert found["without-tenant"][0] == "none!"
    assert found["connected-1"][:2] == ["demo", "yes"]
    assert found["connected-1"][2].startswith("20")


def test_the_embedded_hub_of_a_data_folder(
    site: Site, run: Duco, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its addresses are in the folder; the environment names no hub."""
    addresses = {"meta_url": site.meta_url, "hub_address": site.hub.identity.address}
    (site.data / "stack.json").write_text(json.dumps(addresses))
    monkeypatch.chdir(tmp_path)
    text = run("add", "embedded-1", "--data", str(site.data)).out
    assert text == run("key", "embedded-1", "--data", str(site.data)).out != ""
    assert "embedded-1" in run("list", "--data", str(site.data)).out
    assert run("remove", "embedded-1", "--data", str(site.data)).code == 0


def test_what_cannot_be_added_is_nowhere(site: Site, duco: Duco) -> None:
    assert duco("add", "taken", "--tenant", "quarry").code == 0
    for name, said in (("taken", "belongs to another tenant"), ("no space", "chassis id")):
        refused = duco("add", name, "--tenant", "demo")
        assert (refused.code, refused.out) == (1, "")
        assert said in refused.err
    assert site.hub.call(site.hub.hub.registry.find, "no space") is None
    assert site.hub.call(site.hub.hub.registry.device, "taken").tags == {"tenant": "quarry"}


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("DUCO_HUB", "", "DUCO_HUB is not set"),
        ("DUCO_HUB", "HostName=h", "DUCO_HUB: the connection string lacks"),
        ("DUCO_HUB", "HostName=127.0.0.1:9;SharedAccessKeyName=p;SharedAccessKey=YQ==", "127.0.0.1:9 does not answer"),
        ("DUCO_HUB_CA", "none.pem", "DUCO_HUB_CA = 'none.pem' cannot be used"),
        ("DUCO_HUB_CA", "", "DUCO_HUB_CA takes the PEM file"),
    ],
)
def test_a_wrong_setting_is_one_sentence(
    duco: Duco, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    monkeypatch.setenv(variable, value)
    for command in (["list"], ["key", "m1"], ["remove", "m1"]):
        done = duco(*command)
        assert (done.code, done.out, len(done.err.splitlines())) == (1, "", 1)
        assert said in done.err


def test_without_a_catalog_nothing_is_added(site: Site, duco: Duco, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that the catalog does not know sends dead letters."""
    monkeypatch.setenv("DUCO_META_URL", "http://127.0.0.1:9")
    done = duco("add", "unknown-1")
    assert (done.code, done.out) == (1, "")
    assert "meta API at http://127.0.0.1:9 does not answer" in done.err
    assert site.hub.call(site.hub.hub.registry.find, "unknown-1") is None

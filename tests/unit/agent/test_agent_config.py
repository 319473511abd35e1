"""The agent's one file: what it may say, and what is said of one that is wrong."""

from __future__ import annotations

import base64
from pathlib import Path

import msgspec
import pytest
import trustme

from agent.config import VARIABLE, Config, load, without_secrets
from duco_workbench.errors import ConfigError

KEY = base64.b64encode(b"secret" * 5).decode()
CONNECTION = f"HostName=hub.example;DeviceId=TRUCK-1;SharedAccessKey={KEY}"
HEAD = f'[machine]\nchassis_id = "TRUCK-1"\n[hub]\nconnection_string = "{CONNECTION}"\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "agent.toml"


def loaded(file: Path, text: str, **environment: str) -> Config:
    file.write_text(text, "utf-8")
    return load(file, environment)


def test_the_shortest_file_and_what_holds_then(file: Path) -> None:
    config = loaded(file, HEAD)
    assert (config.machine.chassis_id, config.hub.connection_string) == ("TRUCK-1", CONNECTION)
    assert (config.upload.seal_s, config.upload.realtime_seal_s, config.upload.in_flight) == (10, 1, 8)
    assert (config.queue.max_batches, config.queue.max_bytes, config.queue.max_age_days) == (10_000, 1 << 30, 400)
    assert (config.upload.retry_first_s, config.upload.retry_last_s, config.upload.send_timeout_s) == (1, 60, 30)
    assert (config.bus, config.key.source, config.gnss.source) == ([], "always", "can")


def test_everything_may_be_said(file: Path) -> None:
    text = (
        HEAD
        + """
        [[bus]]
        name = "can0"
        interface = "socketcan"
        channel = "can0"
        options = { bitrate = 500000, fd = true }
        [[bus]]
        name = "can1"
        interface = "pcan"
        channel = 2
        [queue]
        path = "/data/queue.db"
        max_bytes = 100_000_000
        [upload]
        seal_s = 5
        [gnss]
        source = "gpsd"
        sets_clock = false
        [key]
        source = "file"
        path = "/sys/class/gpio/gpio17/value"
        """
    )
    config = loaded(file, text)
    assert [(bus.name, bus.channel, bus.options) for bus in config.bus] == [
        ("can0", "can0", {"bitrate": 500000, "fd": True}),
        ("can1", 2, {}),
    ]
    assert (config.queue.max_bytes, config.upload.seal_s, config.gnss.sets_clock) == (100_000_000, 5, False)


def test_the_key_need_not_stand_in_the_file(file: Path) -> None:
    config = loaded(file, '[machine]\nchassis_id = "TRUCK-1"\n', **{VARIABLE: CONNECTION})
    assert config.hub.connection_string == CONNECTION


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[machine", ["TOML"]),
        ("", ["machine"]),
        ('[machine]\nchassis_id = 3\n[hub]\nconnection_string = ""', ["machine.chassis_id", "str"]),
        ('[machine]\nchassis_id = "a b"', ["machine.chassis_id", "letters"]),
        (HEAD + "[upload]\nseal = 3", ["upload", "`seal`", "seal_s", "realtime_seal_s"]),
        (HEAD + "[uplod]\nseal_s = 3", ["uplod", "upload"]),
        (HEAD + '[[bus]]\nname = "can0"\nbitrate = 5', ["bus[0]", "`bitrate`", "options"]),
        (HEAD + "[[bus]]\nchannel = 1", ["bus[0]", "name"]),
        (HEAD + '[[bus]]\nname = "can0"\n[[bus]]\nname = "can0"', ["can0", "name of its own"]),
        (HEAD + '[queue]\nmax_bytes = "a lot"', ["queue.max_bytes", "int"]),
        (HEAD + "[upload]\nseal_s = 0", ["upload.seal_s"]),
        (HEAD + '[key]\nsource = "remote"', ["key.source", "remote"]),
        ('[machine]\nchassis_id = "TRUCK-1"', ["hub.connection_string", VARIABLE, "HostName"]),
        (HEAD.replace("HostName=hub.example;", ""), ["hub.connection_string", "HostName"]),
        (HEAD.replace(KEY, "no base64!"), ["SharedAccessKey", "base64"]),
        (HEAD.replace('chassis_id = "TRUCK-1"', 'chassis_id = "TRUCK-2"'), ["TRUCK-1", "TRUCK-2", "same"]),
        (HEAD + 'ca_file = "/nowhere/ca.pem"', ["hub.ca_file", "/nowhere/ca.pem"]),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence_with_file_and_key(file: Path, text: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(file, text)
    sentence = str(caught.value)
    assert sentence.startswith(f"{file}: ")
    assert "\n" not in sentence
    for word in words:
        assert word in sentence


def test_a_file_that_is_not_there_or_no_text(file: Path) -> None:
    with pytest.raises(ConfigError, match="configuration file"):
        load(file, {})
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="UTF-8"):
        load(file, {})


def test_a_ca_file_must_hold_a_certificate(file: Path, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("hello")
    with pytest.raises(ConfigError, match="PEM"):
        loaded(file, HEAD + f'ca_file = "{tmp_path / "ca.pem"}"')


def test_a_ca_file_that_lost_its_end_is_refused_before_it_is_used(file: Path, tmp_path: Path) -> None:
    whole = trustme.CA().cert_pem.bytes()
    (tmp_path / "ca.pem").write_bytes(whole)
    assert loaded(file, HEAD + f'ca_file = "{tmp_path / "ca.pem"}"').hub.ca_file
    (tmp_path / "ca.pem").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ConfigError, match="copy the file again"):
        loaded(file, HEAD + f'ca_file = "{tmp_path / "ca.pem"}"')


def test_the_mirror_shows_everything_but_keys(file: Path) -> None:
    text = HEAD + '[[bus]]\nname = "can0"\noptions = { bitrate = 500000 }\n'
    shown = without_secrets(loaded(file, text))
    assert KEY not in msgspec.json.encode(shown).decode()
    assert shown["hub"]["connection_string"] == "HostName=hub.example;DeviceId=TRUCK-1"
    assert shown["bus"] == {
        "can0": {
            "interface": "socketcan",
            "channel": "",
            "options": {"bitrate": "500000"},
            "speed": 1.0,
            "repeat": False,
        }
    }
    assert shown["upload"]["seal_s"] == 10


def test_what_the_readme_shows_is_a_configuration(file: Path) -> None:
    readme = (Path(__file__).parents[3] / "agent" / "README.md").read_text()
    shown = readme.partition("```toml\n")[2].partition("```")[0]
    config = loaded(file, shown.replace("HostName=…", "HostName=a-hub").replace("Key=…", "Key=a2V5"))
    assert [bus.interface for bus in config.bus] == ["socketcan", "pcan"]

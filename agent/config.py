"""The agent's one configuration file, TOML: what it may say, what holds when it is silent, what is wrong with it."""

from __future__ import annotations

import binascii
import os
import ssl
import tomllib
from base64 import b64decode
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_type_hints

import msgspec
from msgspec import Meta

from duco_workbench.errors import ConfigError

VARIABLE = "DUCO_DEVICE_CONNECTION_STRING"  # so that the key need not stand in the file

Name = Annotated[str, Meta(min_length=1, max_length=96, pattern=r"^[A-Za-z0-9._:=@%!,()*?$'+#-]+$")]
Seconds = Annotated[float, Meta(gt=0, le=600)]
Port = Annotated[int, Meta(ge=1, le=65535)]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the file; a key that it does not know is an error."""


class Machine(Section, frozen=True):
    chassis_id: Name


class Hub(Section, frozen=True):
    """``connection_string``: the device's, as ``duco hub devices key`` or the portal gives it; ``ca_file``: PEM."""

    connection_string: str = ""
    ca_file: str = ""
    keep_alive_s: Annotated[int, Meta(ge=5, le=600)] = 25


class Queue(Section, frozen=True):
    """Where messages wait; beyond any of the limits the oldest are dropped, and told of.

    ``max_batches``: what is stored at once is one batch, whatever messages are in it: each ``upload.seal_s``, 28 hours
    of it. ``max_bytes``: of messages, packed; the file may grow to twice that. ``max_age_days``: as the cloud's limit.
    """

    path: str = "agent-queue.db"
    max_batches: Annotated[int, Meta(ge=100)] = 10_000
    max_bytes: Annotated[int, Meta(ge=1 << 20)] = 1 << 30
    max_age_days: Annotated[int, Meta(ge=1)] = 400


class Upload(Section, frozen=True):
    """``seal_s``: seconds of bus time an envelope holds.

    ``in_flight``: messages sent before the first is confirmed; ``realtime_in_flight``: realtime ones besides, whatever
    waits before them. ``backlog_bytes``: of the others, in flight at once: a realtime message waits behind no more.
    ``retry_first_s`` … ``retry_last_s``: between two attempts to connect, each twice the one before, less up to half.
    """

    seal_s: Seconds = 10
    realtime_seal_s: Seconds = 1
    in_flight: Annotated[int, Meta(ge=1, le=20)] = 8
    realtime_in_flight: Annotated[int, Meta(ge=1, le=20)] = 4
    backlog_bytes: Annotated[int, Meta(ge=1)] = 256 << 10
    send_timeout_s: Seconds = 30
    retry_first_s: Seconds = 1
    retry_last_s: Seconds = 60


class Bus(Section, frozen=True):
    """One bus, or a log that plays as one or several (``interface = "file"``, ``channel`` = its path).

    ``options`` go to python-can as they are (``bitrate``, ``fd``, ``app_name`` …). For a log, ``speed`` 0 is as fast as
    it can be read.
    """

    name: Annotated[str, Meta(min_length=1, max_length=32)]
    interface: str = "socketcan"
    channel: str | int = ""
    options: dict[str, Any] = {}
    speed: Annotated[float, Meta(ge=0)] = 1.0
    repeat: bool = False


class Gnss(Section, frozen=True):
    """``source``: ``can`` (frames on any bus), ``gpsd`` (at ``host:port``), ``none``. ``sets_clock``: its time is the
    agent's when the system's is wrong; not for a log that plays, whose satellites tell of another day."""

    source: Literal["can", "gpsd", "none"] = "can"
    host: str = "127.0.0.1"
    port: Port = 2947
    interval_s: Seconds = 1
    sets_clock: bool = True


class Dtc(Section, frozen=True):
    """Trouble codes of DM1: told when they change, and again each ``repeat_s``."""

    enabled: bool = True
    repeat_s: Annotated[float, Meta(gt=0, le=86_400)] = 60


class Performance(Section, frozen=True):
    """The agent's own load, as ``client_raw_data``."""

    enabled: bool = True
    interval_s: Seconds = 10


class Intake(Section, frozen=True):
    """Where the machine's application hands over its own numbers; ``port`` 0 is off."""

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 0


class Key(Section, frozen=True):
    """How the agent knows that the key is on: ``always``, ``traffic`` (frames within ``off_after_s``), or a ``file``
    (e.g. a GPIO's ``value``) whose text is ``on``."""

    source: Literal["always", "traffic", "file"] = "always"
    off_after_s: Seconds = 60
    path: str = ""
    on: str = "1"


class Health(Section, frozen=True):
    """Where the agent says whether it does its work; ``port`` 0 is off."""

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 0


class Config(Section, frozen=True):
    machine: Machine
    hub: Hub = Hub()
    bus: list[Bus] = []
    queue: Queue = Queue()
    upload: Upload = Upload()
    gnss: Gnss = Gnss()
    dtc: Dtc = Dtc()
    performance: Performance = Performance()
    intake: Intake = Intake()
    key: Key = Key()
    health: Health = Health()


def load(path: Path, environment: Mapping[str, str] = os.environ) -> Config:
    """Raises: ConfigError naming the file, the key and what to write."""
    try:
        config = parse(path.read_text("utf-8"), str(path), environment)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; give the agent's configuration file") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: it is no UTF-8 text; TOML is") from None
    check(config, str(path))
    return config


def parse(text: str, name: str, environment: Mapping[str, str] = os.environ) -> Config:
    """As :func:`load`, without a look at what the configuration refers to."""
    try:
        config = msgspec.convert(tomllib.loads(text), Config)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name}: it is no TOML: {error}") from None
    except msgspec.ValidationError as error:
        raise ConfigError(f"{name}: {_in_words(str(error))}") from None
    if environment.get(VARIABLE):
        hub = msgspec.structs.replace(config.hub, connection_string=environment[VARIABLE])
        config = msgspec.structs.replace(config, hub=hub)
    return config


def _in_words(text: str) -> str:
    """msgspec's ``Expected `int`, got `str` - at `$.queue.max_bytes``` with the key first, as it stands in the file."""
    what, _, where = text.partition(" - at `$")
    key = where.rstrip("`").lstrip(".")
    if "unknown field" in what:
        what += f"; it may hold {', '.join(_known(key.partition('[')[0]))}"
    elif "regex" in what:
        what = "letters, digits and . _ : = @ % ! , ( ) * ? $ ' + # - only, as IoT Hub wants the name of a device"
    what = what[0].lower() + what[1:]
    return f"{key}: {what}" if key else what


def _known(key: str) -> tuple[str, ...]:
    """The keys of a table."""
    if not key:
        return Config.__struct_fields__
    kind = get_type_hints(Config)[key]
    fields: tuple[str, ...] = (get_args(kind) or (kind,))[0].__struct_fields__
    return fields


def check(config: Config, name: str) -> None:
    """What no type can say. Raises: ConfigError."""
    _check_identity(config, name)
    names = [bus.name for bus in config.bus]
    if doubled := sorted({bus for bus in names if names.count(bus) > 1}):
        raise ConfigError(f"{name}: bus: two are named {doubled[0]!r}; give each [[bus]] a name of its own")
    if config.hub.ca_file:
        read_ca(config.hub.ca_file, name)


def _check_identity(config: Config, name: str) -> None:
    where = f"{name}: hub.connection_string (or {VARIABLE})"
    if not config.hub.connection_string:
        raise ConfigError(f'{where}: it is missing; write "HostName=…;DeviceId=…;SharedAccessKey=…"')
    parts = connection_parts(config.hub.connection_string)
    for part in ("HostName", "DeviceId", "SharedAccessKey"):
        if not parts.get(part):
            raise ConfigError(f"{where}: it has no {part}; copy the device's whole connection string")
    try:
        b64decode(parts["SharedAccessKey"], validate=True)
    except binascii.Error:
        raise ConfigError(f"{where}: SharedAccessKey is no base64; copy it whole") from None
    if parts["DeviceId"] != config.machine.chassis_id:
        raise ConfigError(
            f"{where}: it is of device {parts['DeviceId']!r}, machine.chassis_id is {config.machine.chassis_id!r}; "
            "they must be the same"
        )


def connection_parts(text: str) -> dict[str, str]:
    """``HostName``, ``DeviceId`` … of a connection string; values may hold ``=``."""
    pairs = (part.partition("=") for part in text.split(";"))
    return {key.strip(): value for key, _, value in pairs if value}


def read_ca(path: str, name: str = "hub.ca_file") -> str:
    """The PEM text. Raises: ConfigError."""
    try:
        text = Path(path).read_text("ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{name}: hub.ca_file = {path!r} cannot be read: {error}") from None
    if "BEGIN CERTIFICATE" not in text:
        raise ConfigError(f"{name}: hub.ca_file = {path!r} holds no certificate in PEM form")
    try:
        ssl.create_default_context(cadata=text)
    except ssl.SSLError as error:
        raise ConfigError(
            f"{name}: hub.ca_file = {path!r} holds a certificate that cannot be read ({error.reason or error}); "
            "copy the file again, whole"
        ) from None
    return text


def without_secrets(config: Config) -> dict[str, Any]:
    """As the reported twin shows it: everything but keys."""
    shown: dict[str, Any] = msgspec.to_builtins(config)
    parts = connection_parts(config.hub.connection_string)
    shown["hub"]["connection_string"] = f"HostName={parts.get('HostName', '')};DeviceId={parts.get('DeviceId', '')}"
    shown["bus"] = {bus.pop("name"): bus for bus in shown["bus"]}  # a twin holds no long lists
    for bus in shown["bus"].values():
        bus["options"] = {key: str(value) for key, value in bus["options"].items()}
    return shown

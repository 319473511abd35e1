"""Where the log is: ``redis://host:port/db`` with the bytes it may hold, or ``kafka://host:port[,host:port]``."""

from __future__ import annotations

import string
from dataclasses import dataclass

from .errors import ConfigError

REDIS = ("redis://", "rediss://", "unix://")
KAFKA = "kafka://"
SECURITY = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
_NAME = frozenset(string.ascii_letters + string.digits + "._-")  # what Kafka takes
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


@dataclass(frozen=True, slots=True)
class KafkaAccess:
    """How a Kafka cluster lets us in, and what is ours there.

    Attributes:
        prefix: of the names of our topics and groups.
        replication: copies of a topic that we make; -1 as many as the brokers' default says.
        security, mechanism: as Kafka's clients call them.
        ca, cert, key: PEM files; "" for the authorities the system knows, and for no certificate of our own.
    """

    prefix: str = "duco."
    replication: int = -1
    security: str = "PLAINTEXT"
    ca: str = ""
    cert: str = ""
    key: str = ""
    mechanism: str = "PLAIN"
    user: str = ""
    password: str = ""


@dataclass(frozen=True, slots=True)
class LogAddress:
    """Raises: ConfigError for an address no log has, naming the setting.

    Attributes:
        memory: of Redis: bytes the whole log may hold before writers wait.
        instance: the name under which this process reads. It has its own place in a group at once when it comes back
            after a kill; who has none ("") takes part after the group has noticed that somebody is gone.
    """

    url: str
    memory: int = 512 << 20
    instance: str = ""
    kafka: KafkaAccess = KafkaAccess()

    def __post_init__(self) -> None:
        if not self.url.startswith((*REDIS, KAFKA)):
            raise ConfigError(f"DUCO_LOG_URL = {self.url!r}: the log's address starts with redis:// or kafka://")
        if not set(self.instance) <= _NAME:
            raise ConfigError(f"DUCO_INSTANCE = {self.instance!r}: write it with letters, digits, '.', '_' and '-'")
        if self.is_kafka:
            _check(self)

    @property
    def is_kafka(self) -> bool:
        return self.url.startswith(KAFKA)

    @property
    def servers(self) -> list[str]:
        """Kafka's, as host:port."""
        return self.url.removeprefix(KAFKA).rstrip("/").split(",")


def _check(address: LogAddress) -> None:
    for server in address.servers:
        host, _, port = server.rpartition(":")
        if not host or not port.isdigit():
            raise ConfigError(f"DUCO_LOG_URL = {address.url!r}: write kafka://host:port, and others after commas")
    access = address.kafka
    if access.security not in SECURITY:
        raise ConfigError(f"DUCO_KAFKA_SECURITY = {access.security!r}: there are {', '.join(SECURITY)}")
    if access.security.startswith("SASL") and access.mechanism not in MECHANISMS:
        raise ConfigError(f"DUCO_KAFKA_MECHANISM = {access.mechanism!r}: there are {', '.join(MECHANISMS)}")
    if access.security.startswith("SASL") and not access.user:
        raise ConfigError(f"DUCO_KAFKA_SECURITY = {access.security} needs DUCO_KAFKA_USER and DUCO_KAFKA_PASSWORD")

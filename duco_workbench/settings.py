"""The only reader of the environment: addresses, and the few numbers a site may want to change.

Every field is an environment variable with the prefix ``DUCO_`` (``DUCO_LOG_URL``, ``DUCO_STORE_URL`` …).
Laptop and cluster differ here, never in code.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Literal

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from .errors import ConfigError
from .log_address import KafkaAccess, LogAddress


class Settings(BaseSettings):
    """Addresses default to the embedded stack's. Raises (``Settings.load``): ConfigError naming the variable."""

    model_config = SettingsConfigDict(env_prefix="DUCO_", frozen=True)

    log_url: str = "redis://127.0.0.1:6390/0"  # or kafka://host:port[,host:port]
    state_url: str = ""  # Redis that keeps checkpoints, pulses and notes of hops; "" where the log is Redis itself
    live_url: str = "redis://127.0.0.1:6391/0"
    store_url: str = "http://127.0.0.1:8123/duco"  # the path is the database
    meta_url: str = "http://127.0.0.1:8600"
    page_url: str = "http://127.0.0.1:5006"
    lab_url: str = "http://127.0.0.1:8888"
    catalog_url: str = "sqlite:///var/catalog.db"  # only the meta API opens it

    # IoT Hub, as the portal gives it: the service's connection string, and the Event Hubs-compatible endpoint's.
    hub: str = ""
    hub_events: str = ""
    hub_group: str = "$Default"  # consumer group of the ingestors
    hub_checkpoints: str = ""  # "" keeps them beside the log; else a Blob connection string with ;Container=NAME
    hub_ca: str = ""  # PEM file of who signed the hub's certificate; "" for Azure's, which the system knows
    hub_address: str = "127.0.0.1"  # of the embedded hub, whose ports Azure fixes: 8883, 5671, and 8443

    # A log on Kafka: names of ours, copies of a topic (-1: the brokers' default), and how its brokers let us in.
    kafka_prefix: str = "duco."
    kafka_replication: int = -1
    kafka_security: str = "PLAINTEXT"  # SSL, SASL_SSL, SASL_PLAINTEXT
    kafka_ca: str = ""  # PEM files
    kafka_cert: str = ""
    kafka_key: str = ""
    kafka_mechanism: str = "PLAIN"  # SCRAM-SHA-256, SCRAM-SHA-512
    kafka_user: str = ""
    kafka_password: str = ""

    instance: str = ""  # a name no other process has, the same after a restart: one that was killed is followed at once

    tenant: str = "demo"
    data: Path = Path("var")  # where the embedded stack keeps its state
    log_memory: int = 512 << 20  # bytes a log on Redis may hold before writers wait
    max_age_days: int = 400  # an envelope older than this when it was enqueued is a dead letter

    ops: str = ""  # where processes serve /health and /metrics: "processor=127.0.0.1:9602 distributor=127.0.0.1:9603"
    log_format: Literal["text", "json"] = "text"
    log_level: Literal["debug", "info", "warning"] = "info"

    @classmethod
    def load(cls) -> Settings:
        try:
            return cls()
        except ValidationError as error:
            first = error.errors()[0]
            name = "DUCO_" + "_".join(str(part) for part in first["loc"]).upper()
            raise ConfigError(f"{name} = {first['input']!r}: {first['msg']}; set it right or unset it") from None

    @property
    def log(self) -> LogAddress:
        """Raises: ConfigError."""
        access = {field.name: getattr(self, f"kafka_{field.name}") for field in fields(KafkaAccess)}
        return LogAddress(self.log_url, self.log_memory, self.instance, KafkaAccess(**access))

    @property
    def state(self) -> str:
        """The Redis beside the log. Raises: ConfigError."""
        if not self.state_url and self.log.is_kafka:
            raise ConfigError(
                "DUCO_STATE_URL is not set: with a log on Kafka it names the Redis that keeps what stands beside the "
                "log (the hub's checkpoints, pulses), which must outlive a restart"
            )
        return self.state_url or self.log_url

"""The only reader of the environment: addresses, and the few numbers a site may want to change.

Every field is an environment variable with the prefix ``DUCO_`` (``DUCO_LOG_URL``, ``DUCO_STORE_URL`` …).
Laptop and cluster differ here, never in code.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from .errors import ConfigError


class Settings(BaseSettings):
    """Addresses default to the embedded stack's. Raises (``Settings.load``): ConfigError naming the variable."""

    model_config = SettingsConfigDict(env_prefix="DUCO_", frozen=True)

    log_url: str = "redis://127.0.0.1:6390/0"
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

    tenant: str = "demo"
    data: Path = Path("var")  # where the embedded stack keeps its state
    log_memory: int = 512 << 20  # bytes the log may hold before writers wait
    max_age_days: int = 400  # an envelope older than this when it was enqueued is a dead letter

    @classmethod
    def load(cls) -> Settings:
        try:
            return cls()
        except ValidationError as error:
            first = error.errors()[0]
            name = "DUCO_" + "_".join(str(part) for part in first["loc"]).upper()
            raise ConfigError(f"{name} = {first['input']!r}: {first['msg']}; set it right or unset it") from None

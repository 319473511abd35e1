"""Where the processes of the embedded stack serve /health and /metrics: each on a free port of loopback."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from urllib.parse import urlsplit

from ..settings import Settings

OWN = ("hub", "store", "processor", "distributor", "ingestor", "machines", "page")  # the meta API has them itself


def with_doors(settings: Settings) -> Settings:
    """The settings with ``ops`` set, unless a person has."""
    if settings.ops:
        return settings
    with ExitStack() as held:
        ports = [held.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1] for _ in OWN]
    doors = [f"{name}=127.0.0.1:{port}" for name, port in zip(OWN, ports, strict=True)]
    meta = urlsplit(settings.meta_url).netloc
    return settings.model_copy(update={"ops": " ".join([*doors, f"meta={meta}"])})

"""``python -m duco_workbench.api``: the meta API on the address of the settings."""

from __future__ import annotations

import sys
from urllib.parse import urlsplit

from ..errors import DucoError
from ..ops import logs
from ..runtime import slim
from ..settings import Settings
from .meta import serve


def main() -> None:
    slim()
    try:
        settings = Settings.load()
        logs.set_up("meta", settings.log_format, settings.log_level)
        address = urlsplit(settings.meta_url)
        host, port = address.hostname or "127.0.0.1", address.port or 8600
        serve(host, port, settings.catalog_url, settings.hub, settings.hub_ca)
    except DucoError as error:
        sys.exit(f"duco: {error}")


if __name__ == "__main__":
    main()

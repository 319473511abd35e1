"""The ClickHouse schema: numbered SQL files in ``sql/``, applied once each, in order, by :func:`migrate`."""

from .migrate import LATEST, migrate

__all__ = ["LATEST", "migrate"]

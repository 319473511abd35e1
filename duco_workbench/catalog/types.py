"""What the catalog hands out besides manifests and variables (those are in ``duco_workbench.model``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Device:
    """A machine; ``chassis_id`` is unique per hub, so in the whole catalog. ``created`` is microseconds UTC."""

    tenant: str
    chassis_id: str
    name: str = ""
    kind: str = ""
    created: int = 0


@dataclass(frozen=True, slots=True)
class ChartGroup:
    """Variables drawn on one chart.

    Attributes:
        unit: of the axis; "" where its variables have no unit or several.
        variables: names, in the order drawn.
    """

    name: str
    variables: tuple[str, ...]
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Signal:
    """One signal as its database file describes it, before any override.

    Attributes:
        length: bits.
        choices: names of raw values.
        is_multiplexer: it says which other signals are in the frame.
    """

    message: str
    name: str
    unit: str = ""
    spn: int | None = None
    comment: str = ""
    long_name: str = ""
    minimum: float | None = None
    maximum: float | None = None
    length: int = 0
    choices: Mapping[int, str] = field(default_factory=dict)
    is_multiplexer: bool = False

    @property
    def key(self) -> str:
        """``Message.Signal``, as series are stored."""
        return f"{self.message}.{self.name}"


@dataclass(frozen=True, slots=True)
class Contents:
    """What was read of a database file; ``skipped`` says ``where: why`` of what was not."""

    messages: int
    signals: tuple[Signal, ...]
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DatabaseRevision:
    """One immutable revision of a database. ``changed``: whether the call that returned it published it."""

    tenant: str
    name: str
    revision: int
    format: str
    sha256: str
    overrides: Mapping[str, Mapping[str, Any]]
    created: int
    messages: int
    signals: int
    skipped: tuple[str, ...] = ()
    changed: bool = False
    manifests: tuple[int, ...] = ()  # published with it

"""Which machines an embedded stack plays: simulated ones, and logs played again; how they get into the catalog."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..catalog.client import CatalogClient
from ..errors import ConfigError
from ..iothub.devices import ensure_device
from ..iothub.service import HubService
from ..manifests import choose
from ..model import SECOND
from ..parsing.database import read_file
from ..settings import Settings
from ..sources.own import now
from .machines import plan
from .simulation import PROFILES

MAX_TIME = 1 << 62  # any manifest is valid by then


@dataclass(frozen=True, slots=True)
class Replay:
    """A log that plays as a machine of its own, named after its file."""

    path: Path
    bindings: Mapping[str, Sequence[Path]] = field(default_factory=dict)  # bus -> database files

    @property
    def chassis_id(self) -> str:
        stem = self.path.name.split(".")[0]
        return "replay-" + (re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-") or "log")


@dataclass(frozen=True, slots=True)
class Fleet:
    """``history_s``: seconds of the past to have written; ``speed`` and ``once`` are for replays."""

    machines: int = 10
    profile: str = "quarry"
    replays: tuple[Replay, ...] = ()
    history_s: int = 600
    speed: float = 1.0
    once: bool = False

    def names(self) -> list[str]:
        """Of the simulated machines."""
        prefix = "demo" if self.profile == "quarry" else self.profile
        return [f"{prefix}-{i + 1:02d}" for i in range(self.machines)]

    def chassis_ids(self) -> list[str]:
        return [*self.names(), *(replay.chassis_id for replay in self.replays)]


def make_plan(settings: Settings, fleet: Fleet) -> None:
    """Make every machine known to the catalog and the hub, and write down what their processes are to do."""
    register(CatalogClient(settings.meta_url), settings.tenant, fleet)
    folder, begin = settings.data / "machines", now() // SECOND * SECOND
    with HubService(settings.hub, settings.hub_ca) as hub:
        keys = {name: ensure_device(hub, name, settings.tenant) for name in fleet.chassis_ids()}
    simulated = [_simulated(folder, name, keys[name], fleet, begin) for name in fleet.names()]
    lead = min(fleet.history_s, 120) * SECOND  # a page shows two minutes
    played = [_played(replay, keys[replay.chassis_id], fleet, begin - lead) for replay in fleet.replays]
    plan.write(folder, plan.Plan(settings.tenant, settings.hub_ca, (*simulated, *played)))


def _simulated(folder: Path, name: str, key: str, fleet: Fleet, begin: int) -> plan.Machine:
    pieces = plan.pieces(begin, fleet.history_s * SECOND, plan.earlier(folder, name, begin))
    return plan.Machine(name, key, begin, profile=fleet.profile, past=pieces)


def _played(replay: Replay, key: str, fleet: Fleet, begin: int) -> plan.Machine:
    log = str(replay.path.resolve())
    return plan.Machine(replay.chassis_id, key, begin, log=log, speed=fleet.speed, once=fleet.once)


def register(catalog: CatalogClient, tenant: str, fleet: Fleet) -> None:
    """Put every machine of the fleet into the catalog with the databases of its buses; what is there stays."""
    bindings = PROFILES[fleet.profile].bindings()
    for name in fleet.names():
        bind(catalog, tenant, name, {bus: [path] for bus, path in bindings.items()})
    for replay in fleet.replays:
        bind(catalog, tenant, replay.chassis_id, replay.bindings)


def bind(
    catalog: CatalogClient,
    tenant: str,
    chassis_id: str,
    bindings: Mapping[str, Sequence[Path]],
    keep: str | None = None,
) -> int:
    """Upload the database files and bind them to the machine's buses; returns the catalog's revision after it.

    Without bindings the machine keeps the manifest it has.

    Raises: ConfigError for a file that cannot be read, and for a machine that would have no database at all.
    """
    if not bindings and choose(catalog.manifests(), tenant, chassis_id, MAX_TIME) is None:
        raise ConfigError(f"nothing says how to decode {chassis_id}: give its databases, --dbc BUS=FILE")
    catalog.ensure_device(tenant, chassis_id)
    names = {bus: [_upload(catalog, tenant, path) for path in paths] for bus, paths in bindings.items()}
    if names:
        catalog.put_manifest(tenant, chassis_id, names, keep=keep)
    return catalog.revision()


def _upload(catalog: CatalogClient, tenant: str, path: Path) -> str:
    """The database's name in the catalog: its file's, so that a new version of a file is a new revision of it."""
    text, kind, _ = read_file(path)
    catalog.put_database(tenant, path.stem, text, kind)
    return path.stem

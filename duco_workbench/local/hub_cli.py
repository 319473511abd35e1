"""``duco hub``: the devices of an IoT hub, the embedded one or Azure's, whichever the settings name."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from ..iothub.service import HubService
    from ..settings import Settings

app = typer.Typer(no_args_is_help=True, help="The IoT hub that machines send to.")
devices = typer.Typer(no_args_is_help=True, help="The machines that may connect, and their keys.")
app.add_typer(devices, name="devices")

# Ids are printed as they are, whatever rich could read in them, and never cut.
console = Console(highlight=False, markup=False, emoji=False, width=500)

Name = Annotated[str, typer.Argument(help="the machine's chassis id, which is its device id")]
DataOption = Annotated[Path, typer.Option("--data", help="where the stack keeps its state")]
TenantOption = Annotated[str, typer.Option(help="whose it is; by default the settings' tenant")]


@devices.command()
def add(name: Name, tenant: TenantOption = "", data: DataOption = Path("var")) -> None:
    """Register a machine at the hub and in the catalog, and print the connection string its agent needs."""
    from ..catalog.client import CatalogClient
    from ..iothub.devices import ensure_device

    settings = _settings(data)
    tenant = tenant or settings.tenant
    with _hub(settings) as hub, CatalogClient(settings.meta_url) as catalog:
        catalog.ensure_device(tenant, name)  # first: it refuses names, and machines that are another tenant's
        typer.echo(ensure_device(hub, name, tenant))
    _note(f"{name} is a device of the hub and a machine of {tenant} in the catalog")
    if settings.hub_ca:
        _note(f"its agent needs the certificate of the hub's authority too: {settings.hub_ca}")


@devices.command("list")
def list_(data: DataOption = Path("var")) -> None:
    """Every device of the hub: its tenant, whether it is connected, when it was last active."""
    from ..iothub.devices import listed

    with _hub(_settings(data)) as hub:
        found = listed(hub)
    table = Table("device", "tenant", "connected", "last activity", box=None)
    for device in found:
        connected = "yes" if device.connected else "no"
        table.add_row(device.chassis_id, device.tenant or "none!", connected, _when(device.last_activity))
    console.print(table)


@devices.command()
def key(name: Name, data: DataOption = Path("var")) -> None:
    """Print the connection string of a device again."""
    from ..iothub.devices import connection_string_of

    with _hub(_settings(data)) as hub:
        typer.echo(connection_string_of(hub, hub.device(name)))


@devices.command()
def remove(name: Name, data: DataOption = Path("var")) -> None:
    """Take a device and its key from the hub; its data and its place in the catalog stay."""
    with _hub(_settings(data)) as hub:
        hub.delete_device(name)
    _note(f"{name} can no longer connect; what it sent stays")


def _settings(data: Path) -> Settings:
    from .stack import settings_of

    return settings_of(data)


def _hub(settings: Settings) -> HubService:
    from ..iothub.service import HubService

    return HubService(settings.hub, settings.hub_ca)


def _note(sentence: str) -> None:
    """What a person wants to know besides; stdout holds what a program would read."""
    typer.echo(sentence, err=True)


def _when(instant: int | None) -> str:
    """Local time of the reader, to the second."""
    return "never" if instant is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(instant / 1e6))

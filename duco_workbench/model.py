"""The things that travel: units and time are stated here, once.

Time is int64 microseconds since 1970-01-01 UTC everywhere inside the package (``ts``: device time,
``ts_enqueued``: when the hub took it, ``ts_ingested``: when the ingestor took it) and timezone-aware
at the edges. Names follow DESIGN: Python says ``chassis_id``, the wire says ``chassisId``.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

MSG_TYPES = ("vehicle_can", "vehicle_dtc", "vehicle_position", "vehicle_log", "vehicle_event", "client_raw_data")
SECOND = 1_000_000  # in our time unit, microseconds

EXTENDED, REMOTE, ERROR = 0x8000_0000, 0x4000_0000, 0x2000_0000  # SocketCAN's bits of an arbitration id
ID_MASK = 0x1FFF_FFFF


class Flag(enum.IntFlag):
    """Bits of ``FrameBatch.flags``."""

    FD = 1
    BRS = 2
    ESI = 4
    REMOTE = 8
    ERROR = 16
    TX = 32


class Status(enum.IntEnum):
    """What a reading is worth; the numbers are those of ClickHouse's Enum8."""

    OK = 0
    NOT_AVAILABLE = 1
    ERROR = 2
    OUT_OF_RANGE = 3


STATUS_NAMES = ("ok", "not_available", "error", "out_of_range")


@dataclass(frozen=True, slots=True, eq=False)
class FrameBatch:
    """Frames as columns; all arrays have the same first length ``n``.

    Attributes:
        ts: int64 (n), microseconds UTC.
        arbitration_id: uint32 (n), as SocketCAN writes it: bit 31 extended, 30 remote, 29 error.
        dlc: uint8 (n), length of the data in bytes (0..8, or up to 64 for CAN FD).
        flags: uint8 (n), bits of :class:`Flag`.
        data: uint8 (n, 8), or (n, 64) when a frame is CAN FD; zero past ``dlc``.
        channel: uint8 (n), index into ``channels``.
        channels: names of the buses, e.g. ``("can0", "can1")``.
        machine: uint16 (n), index into ``machines``; None where all frames are of one machine that nobody names.
        machines: their names, when a batch holds the frames of several.
    """

    ts: NDArray[np.int64]
    arbitration_id: NDArray[np.uint32]
    dlc: NDArray[np.uint8]
    flags: NDArray[np.uint8]
    data: NDArray[np.uint8]
    channel: NDArray[np.uint8]
    channels: tuple[str, ...] = ("can0",)
    machine: NDArray[np.uint16] | None = None
    machines: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ts)

    def __getitem__(self, rows: slice | NDArray[Any]) -> Self:
        """The frames of a slice, a mask or an index array."""
        return type(self)(
            self.ts[rows],
            self.arbitration_id[rows],
            self.dlc[rows],
            self.flags[rows],
            self.data[rows],
            self.channel[rows],
            self.channels,
            None if self.machine is None else self.machine[rows],
            self.machines,
        )

    def of(self, channel: str) -> Self:
        """The frames of one bus."""
        wanted = self.channels.index(channel) if channel in self.channels else -1
        return self[np.flatnonzero(self.channel == wanted)]  # a third of what a mask costs

    def machine_of(self, rows: Any) -> NDArray[np.uint16]:
        """Index into ``machines`` of each of these rows, 0 where the batch names none."""
        return np.zeros(len(rows), np.uint16) if self.machine is None else self.machine[rows]

    def machine_name(self, index: int) -> str:
        """ "" where the batch names none."""
        return self.machines[index] if self.machines else ""

    def data_rows(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Those of ``rows`` whose flags say neither remote nor error."""
        data: NDArray[Any] = rows[self.flags[rows] & np.uint8(Flag.REMOTE | Flag.ERROR) == 0]
        return data

    @classmethod
    def empty(cls, width: int = 8, channels: tuple[str, ...] = ("can0",)) -> Self:
        return cls(
            np.empty(0, np.int64),
            np.empty(0, np.uint32),
            np.empty(0, np.uint8),
            np.empty(0, np.uint8),
            np.empty((0, width), np.uint8),
            np.empty(0, np.uint8),
            channels,
        )

    @classmethod
    def concat(cls, batches: Sequence[FrameBatch]) -> Self:
        """All frames in the order given; bus names are merged, data is as wide as the widest; machines are left out."""
        batches = [b for b in batches if len(b)] or list(batches[:1])
        if not batches:
            return cls.empty()
        names = tuple(dict.fromkeys(name for b in batches for name in b.channels))
        width = max(b.data.shape[1] for b in batches)
        renumber = [np.array([names.index(name) for name in b.channels] or [0], np.uint8) for b in batches]
        return cls(
            np.concatenate([b.ts for b in batches]),
            np.concatenate([b.arbitration_id for b in batches]),
            np.concatenate([b.dlc for b in batches]),
            np.concatenate([b.flags for b in batches]),
            np.concatenate([_widen(b.data, width) for b in batches]),
            np.concatenate([code[b.channel] for code, b in zip(renumber, batches, strict=True)]),
            names,
        )

    def sorted(self) -> Self:
        """By time; frames of one microsecond keep their order."""
        return self if len(self) < 2 or (np.diff(self.ts) >= 0).all() else self[np.argsort(self.ts, kind="stable")]


def _widen(data: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    return data if data.shape[1] == width else np.pad(data, ((0, 0), (0, width - data.shape[1])))


def bus_name(channel: str | int) -> str:
    """``1`` and ``"1"`` are ``"can1"``; a name stays as it is."""
    text = str(channel).strip()
    return f"can{int(text)}" if text.isdigit() else text


Micros = Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)]  # a time on the wire, microseconds since 1970 UTC


class Clock(msgspec.Struct, frozen=True):
    """Where the device's time came from, and how far it was off when last compared (ms)."""

    source: str = "none"  # gnss | ntp | rtc | none
    offset_ms: float = 0.0


class Envelope(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One message as a machine sends it (DESIGN §4); ``payload`` is typed by ``msg_type`` in wire.py."""

    v: int = 1
    msg_type: str
    chassis_id: str
    message_id: str
    ts: Micros
    realtime: bool = False
    clock: Clock = Clock()
    payload: Any


class MessageId(NamedTuple):
    """``"{chassis_id}:{epoch}:{seq}"``, minted where the message is born; (epoch, seq) order messages of a machine."""

    chassis_id: str
    epoch: int
    seq: int

    def __str__(self) -> str:
        return f"{self.chassis_id}:{self.epoch}:{self.seq}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises: ValueError when the text is not of that form."""
        chassis_id, epoch, seq = text.rsplit(":", 2)
        return cls(chassis_id, int(epoch), int(seq))


class Replay(NamedTuple):
    """A record's second life: the dead letter it was put back on the raw log for, and when (microseconds UTC)."""

    letter: str
    at: int


@dataclass(frozen=True, slots=True)
class Record:
    """One message on the ``raw`` log: the body verbatim, and what is known of it without judging it.

    ``ts`` and ``message_id`` are the envelope's own when it could be read, else ``ts_enqueued`` and the hub's
    ``partition:sequence``. ``chassis_id`` is the authenticated device's, ``tenant`` the hub's, never the payload's.
    ``replay`` is None as it comes from the hub.
    """

    tenant: str
    chassis_id: str
    msg_type: str
    message_id: str
    ts: int
    ts_enqueued: int
    ts_ingested: int
    body: bytes
    hub_partition: int = 0
    hub_sequence: int = 0
    v: int = 1
    replay: Replay | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """A record whose body was read and found in order."""

    record: Record
    envelope: Envelope


PASSED = ""  # the reason of no refusal


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One message, or part of one, that could not be used, with enough to find and replay it.

    ``reason`` is :data:`PASSED` where a replayed record was good: that closes the letter it was replayed for.
    """

    record: Record
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Dtc:
    """One diagnostic trouble code as one message reported it; lamps as on/off/flash words."""

    ts: int
    source: str
    spn: int
    fmi: int
    oc: int | None
    cm: int
    lamps: str = ""
    machine: str = ""  # where it came from a batch of several


@dataclass(frozen=True, slots=True)
class Binding:
    """A database bound to a bus: its name and revision in the catalog, its text, and per-signal changes.

    Attributes:
        bus: ``"can0"``, or ``"*"`` for every bus that has no binding of its own.
        text: the database file's text.
        format: ``dbc``, ``kcd``, ``sym`` or ``arxml``: what cantools calls it.
        overrides: ``{"Message.Signal": {"scale": 2.0, "offset": 0, "unit": ...}}``, applied after loading.
    """

    bus: str
    name: str
    revision: int
    text: str
    format: str = "dbc"
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Manifest:
    """A decoder manifest: which databases decode which bus of a device, from which event time on.

    Attributes:
        revision: catalog-wide and ever rising; stored on every row as ``logic_version``.
        chassis_id: one device, or ``"*"`` for all of the tenant.
        valid_from: first event time (microseconds UTC) it decodes.
        keep: ``"changes"`` thins (DESIGN §4), ``"all"`` stores every sample.
    """

    revision: int
    tenant: str
    chassis_id: str
    bindings: tuple[Binding, ...]
    valid_from: int = 0
    keep: str = "changes"


@dataclass(frozen=True, slots=True)
class Variable:
    """The friendly name of a series, resolved when data is read.

    Attributes:
        name: unique in its tenant, e.g. ``"Engine speed"``.
        signal: ``Message.Signal`` as the database has it.
        source: preferred source (``"can0:00"``), or ``""`` for whichever has data.
        unit: normalised (``degC``, ``km/h``, ``1/min``), or ``""``.
        kind: ``gauge`` | ``additive`` | ``increasing`` | ``state``: decides how it is resampled.
        spn: J1939 suspect parameter number, or None.
    """

    name: str
    signal: str
    source: str = ""
    unit: str = ""
    kind: str = "gauge"
    spn: int | None = None
    description: str = ""
    aliases: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    choices: Mapping[int, str] = field(default_factory=dict)

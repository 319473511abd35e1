"""Parsing logic: a message and the manifest that applies to it become samples, texts and codes.

The only state is the catalog's newest snapshot and the decoders compiled from it; neither changes within a batch,
so a batch never mixes two versions, and no decoder state crosses envelopes.
"""

from __future__ import annotations

import json
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from .. import wire
from ..columns import Event, Parsed, Samples, Text
from ..errors import ConfigError, DataError
from ..judge import check_time, each
from ..manifests import ANY_DEVICE, choose
from ..model import Binding, Dtc, FrameBatch, Manifest, Message, Record
from ..ports import Outcome
from .database import load_text
from .decoder import Decoder
from .thinning import thin
from .together import Content, Part, decode_together

MAX_DECODERS = 256  # compiled decoders kept; a fleet shares a handful
# Values one message may become before it is thinned, some hundred megabytes while it is decoded. Ten seconds of a busy
# machine are a tenth of that; a body of the largest size can be packed to become sixty million.
MAX_VALUES = 1 << 21
COUNTED = 1 << 13  # frames at a time while they are counted


@dataclass(frozen=True)
class Knowledge:
    """What the catalog knows at one revision: the devices there are, and every manifest."""

    revision: int = 0
    devices: frozenset[tuple[str, str]] = frozenset()  # (tenant, chassis_id)
    manifests: tuple[Manifest, ...] = ()

    def manifest(self, record: Record) -> Manifest | None:
        """The one that applies, looked for among the device's own and those for all: a fleet has thousands."""
        tenant, chassis_id = record.tenant, record.chassis_id
        own, common = (self._bound.get((tenant, device), ()) for device in (chassis_id, ANY_DEVICE))
        return choose((*own, *common), tenant, chassis_id, record.ts)

    @cached_property
    def _bound(self) -> Mapping[tuple[str, str], Sequence[Manifest]]:
        found: defaultdict[tuple[str, str], list[Manifest]] = defaultdict(list)
        for manifest in self.manifests:
            found[manifest.tenant, manifest.chassis_id].append(manifest)
        return dict(found)


class ManifestLogic:
    """A :class:`~duco_workbench.ports.ParsingLogic` that decodes by manifests; ``use`` swaps them between batches."""

    def __init__(self, knowledge: Knowledge | None = None, max_age_days: int = 400) -> None:
        self.knowledge = knowledge or Knowledge()
        self._max_age_days = max_age_days
        self._decoders: OrderedDict[tuple[str, str, int], Decoder | str] = OrderedDict()  # or why there is none
        self._parsers: dict[str, Callable[[Message], Parsed | _Can]] = {
            "vehicle_can": self._can,
            "vehicle_dtc": _dtc,
            "vehicle_position": _position,
            "vehicle_log": _log,
            "vehicle_event": _event,
            "client_raw_data": _client,
        }

    def use(self, knowledge: Knowledge) -> None:
        self.knowledge = knowledge

    def parse(self, messages: Sequence[Message]) -> Outcome[Parsed]:
        """One :class:`Parsed` a message.

        Reasons for a dead letter: ``unknown_device``, ``no_manifest``, those of :func:`wire.unpack_blocks`,
        ``clock_future``, ``too_old``, ``bad_database``, ``too_large``.
        """
        read = each(messages, lambda message: message.record, self._parse)
        try:
            parsed = _decoded(read.ok)
        except Exception:  # a fault of ours in one of them: which one shows when each is decoded alone
            found = each(read.ok, lambda item: item.record, _alone)
            return Outcome(found.ok, [*read.failed, *found.failed])
        return Outcome(parsed, read.failed)

    def _parse(self, message: Message) -> Parsed | _Can:
        record = message.record
        if (record.tenant, record.chassis_id) not in self.knowledge.devices:
            where = f"{record.tenant}/{record.chassis_id}"
            raise DataError("unknown_device", f"{where} is not in the catalog; add it, then replay the dead letter")
        return self._parsers[record.msg_type](message)

    def _can(self, message: Message) -> _Can:
        record = message.record
        frames = wire.unpack_blocks(message.envelope.payload.blocks)
        if len(frames):
            check_time(int(frames.ts.min()), int(frames.ts.max()), record.ts_enqueued, self._max_age_days)
        manifest = self.knowledge.manifest(record)
        if manifest is None:
            raise DataError(
                "no_manifest", f"no decoder manifest binds a database to {record.tenant}/{record.chassis_id}"
            )
        decoders = {bus: self._decoders_of(manifest, bus) for bus in frames.channels}
        _check_values(frames, decoders)
        return _Can(message, frames, manifest, decoders)

    def _decoders_of(self, manifest: Manifest, bus: str) -> list[Decoder]:
        """Of the bus' own databases, else of those bound to ``*``, else none."""
        bound = [b for b in manifest.bindings if b.bus == bus] or [b for b in manifest.bindings if b.bus == "*"]
        return [self._decoder(manifest.tenant, binding) for binding in bound]

    def _decoder(self, tenant: str, binding: Binding) -> Decoder:
        key = (tenant, binding.name, binding.revision)
        if key not in self._decoders:
            self._decoders[key] = _compile(binding)
            if len(self._decoders) > MAX_DECODERS:
                self._decoders.popitem(last=False)
        self._decoders.move_to_end(key)
        found = self._decoders[key]
        if isinstance(found, str):
            raise DataError("bad_database", found)
        return found


def _check_values(frames: FrameBatch, decoders: Mapping[str, Sequence[Decoder]]) -> None:
    """They are counted only where there could be so many. Raises: DataError ``too_large``."""
    room = MAX_VALUES
    if len(frames) * max((sum(d.most_values for d in found) for found in decoders.values()), default=0) <= room:
        return
    for bus, found in decoders.items():
        for decoded in (part for decoder in found for part in decoder.stream(frames.of(bus), COUNTED)):
            room -= len(decoded.samples)
            if room < 0:
                raise DataError("too_large", f"its {len(frames):,} frames become more than {MAX_VALUES:,} values")


@dataclass(frozen=True, slots=True)
class _Can:
    """A ``vehicle_can`` message whose frames are read, and what decodes each bus."""

    message: Message
    frames: FrameBatch
    manifest: Manifest
    decoders: Mapping[str, Sequence[Decoder]]

    @property
    def record(self) -> Record:
        return self.message.record

    @property
    def is_thinned(self) -> bool:
        return self.manifest.keep != "all"

    def part(self) -> Part | None:
        """To be decoded together with others, unless a bus has several databases: their series may be the same."""
        if any(len(decoders) > 1 for decoders in self.decoders.values()):
            return None
        return Part(self.frames, {bus: only[0] for bus, only in self.decoders.items() if only}, self.is_thinned)

    def became(self, content: Content) -> Parsed:
        dtcs = tuple(_first_reports(content.dtcs)) if self.is_thinned else content.dtcs
        return _parsed(self.message, content.samples, self.manifest.revision, content.texts, dtcs)


def _decoded(items: Sequence[Parsed | _Can]) -> list[Parsed]:
    """Every message parsed, in the order given."""
    parts = [item.part() if isinstance(item, _Can) else None for item in items]
    contents = iter(decode_together([part for part in parts if part is not None]))
    return [
        item if isinstance(item, Parsed) else item.became(next(contents)) if part is not None else _alone(item)
        for item, part in zip(items, parts, strict=True)
    ]


def _alone(item: Parsed | _Can) -> Parsed:
    """Each bus by its own databases, each for itself; thinned apart, since rows of one decoder are in order."""
    if isinstance(item, Parsed):
        return item
    decoded = [d.decode_all(item.frames.of(bus)) for bus, decoders in item.decoders.items() for d in decoders]
    samples = [thin(d.samples) if item.is_thinned else d.samples for d in decoded]
    texts = dict.fromkeys(text for d in decoded for text in d.texts)
    dtcs = dict.fromkeys(dtc for d in decoded for dtc in d.dtcs)
    return item.became(Content(Samples.concat(samples), tuple(texts), tuple(dtcs)))


def _compile(binding: Binding) -> Decoder | str:
    """Why it cannot be read, else: a large file that is damaged at its end would hold up others with every message."""
    try:
        return Decoder(load_text(binding.text, binding.format, binding.name, binding.overrides))
    except ConfigError as error:
        return str(error)


def _first_reports(dtcs: Iterable[Dtc]) -> dict[Dtc, None]:
    """A code is repeated every second; of one envelope the first report of each state is kept."""
    first: dict[tuple[Any, ...], Dtc] = {}
    for dtc in dtcs:
        first.setdefault((dtc.source, dtc.spn, dtc.fmi, dtc.oc, dtc.lamps), dtc)
    return dict.fromkeys(first.values())


def _parsed(
    message: Message,
    samples: Samples,
    logic_version: int = 0,
    texts: tuple[Text, ...] = (),
    dtcs: tuple[Dtc, ...] = (),
    events: tuple[Event, ...] = (),
) -> Parsed:
    return Parsed(message.record, message.envelope.realtime, logic_version, samples, texts, dtcs, events)


def _samples(ts: int, group: str, source: str, fields: dict[str, float], units: dict[str, str]) -> Samples:
    """One row a field, all of one time."""
    n = len(fields)
    return Samples(
        tuple(f"{group}.{name}" for name in fields),
        (source,) * n,
        tuple(units.get(name, "") for name in fields),
        np.arange(n, dtype=np.int32),
        np.full(n, ts, np.int64),
        np.array(list(fields.values()), np.float64),
        np.zeros(n, np.uint8),
    )


POSITION_UNITS = {"lat": "deg", "lon": "deg", "alt": "m", "speed": "km/h", "heading": "deg"}


def _position(message: Message) -> Parsed:
    p: wire.Position = message.envelope.payload
    fields = {f: getattr(p, f) for f in p.__struct_fields__ if getattr(p, f) is not None}
    return _parsed(message, _samples(message.record.ts, "Position", "gnss", fields, POSITION_UNITS))


def _client(message: Message) -> Parsed:
    payload: wire.Client = message.envelope.payload
    numbers = {name: float(value) for name, value in payload.fields.items() if not isinstance(value, str)}
    words = {name: value for name, value in payload.fields.items() if isinstance(value, str)}
    ts = message.record.ts
    texts = tuple(Text(ts, f"Client.{name}", "client", value) for name, value in words.items())
    return _parsed(message, _samples(ts, "Client", "client", numbers, {}), texts=texts)


def _dtc(message: Message) -> Parsed:
    payload: wire.Dtcs = message.envelope.payload
    lamps = ",".join(f"{lamp}:{state}" for lamp, state in payload.lamps.items())
    dtcs = tuple(Dtc(message.record.ts, payload.source, c.spn, c.fmi, c.oc, c.cm, lamps) for c in payload.dtcs)
    return _parsed(message, Samples.empty(), dtcs=dtcs)


def _event(message: Message) -> Parsed:
    payload: wire.EventBody = message.envelope.payload
    data = json.dumps(payload.data, sort_keys=True)
    return _parsed(message, Samples.empty(), events=(Event(message.record.ts, payload.name, payload.severity, data),))


def _log(message: Message) -> Parsed:
    line: wire.LogLine = message.envelope.payload
    return _parsed(message, Samples.empty(), events=(Event(message.record.ts, line.logger, line.level, line.text),))
